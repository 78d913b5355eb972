"""Which client's turn it is."""

from __future__ import annotations

from lutmac.engine.running.client_turns import LEAD, MOST_REMEMBERED, ClientTurns


def test_a_newcomer_goes_first_with_so_many_tokens_and_then_takes_turns() -> None:
    turns = ClientTurns()
    turns.enter({"old"})
    turns.serve("old", 100_000)
    turns.enter({"old"})
    turns.enter({"old", "new"})
    assert turns.served("old") - turns.served("new") == LEAD


def test_whoever_had_the_machine_alone_does_not_have_to_make_up_for_it() -> None:
    turns = ClientTurns()
    turns.enter({"first"})
    turns.serve("first", 100_000)
    turns.enter({"first"})
    turns.enter({"second"})
    turns.serve("second", 10)
    turns.enter({"first", "second"})
    assert 0 <= turns.served("first") - turns.served("second") <= LEAD


def test_the_lead_is_not_given_again_to_whoever_comes_back() -> None:
    turns = ClientTurns()
    turns.enter({"old"})
    turns.serve("old", 100_000)
    turns.enter({"old"})
    for _ in range(3):
        turns.enter({"old", "short"})
        turns.serve("short", 1000)
        turns.enter({"old"})
    turns.enter({"old", "short"})
    assert turns.served("short") > turns.served("old")


def test_no_more_clients_are_remembered_than_so_many() -> None:
    turns = ClientTurns()
    for place in range(3 * MOST_REMEMBERED):
        turns.enter({f"client {place}"})
        turns.serve(f"client {place}", 5)
        assert len(turns._served) <= MOST_REMEMBERED + 1
