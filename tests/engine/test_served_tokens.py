"""Tokens that clients have had, and which client is next."""

from __future__ import annotations

from lutmac.engine.running.served_tokens import LEAD, MOST_REMEMBERED, ServedTokens


def test_a_newcomer_goes_first_with_so_many_tokens_and_then_takes_turns() -> None:
    tokens = ServedTokens()
    tokens.enter({"old"})
    tokens.serve("old", 100_000)
    tokens.enter({"old"})
    tokens.enter({"old", "new"})
    assert tokens.of("old") - tokens.of("new") == LEAD


def test_whoever_had_the_machine_alone_does_not_have_to_make_up_for_it() -> None:
    tokens = ServedTokens()
    tokens.enter({"first"})
    tokens.serve("first", 100_000)
    tokens.enter({"first"})
    tokens.enter({"second"})
    tokens.serve("second", 10)
    tokens.enter({"first", "second"})
    assert 0 <= tokens.of("first") - tokens.of("second") <= LEAD


def test_the_lead_is_not_given_again_to_whoever_comes_back() -> None:
    tokens = ServedTokens()
    tokens.enter({"old"})
    tokens.serve("old", 100_000)
    tokens.enter({"old"})
    for _ in range(3):
        tokens.enter({"old", "short"})
        tokens.serve("short", 1000)
        tokens.enter({"old"})
    tokens.enter({"old", "short"})
    assert tokens.of("short") > tokens.of("old")


def test_no_more_clients_are_remembered_than_so_many() -> None:
    tokens = ServedTokens()
    for place in range(3 * MOST_REMEMBERED):
        tokens.enter({f"client {place}"})
        tokens.serve(f"client {place}", 5)
        assert len(tokens._served) <= MOST_REMEMBERED + 1
