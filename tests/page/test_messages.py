"""What a person does with the messages of a conversation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from page.replies import ByHand, ask
from serving import Served

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
Open = Callable[..., playwright.Page]


def asked_and_answered(page, reply: ByHand, question: str, answer: str, reason: str = "stop") -> None:
    ask(page, question)
    reply.send(answer)
    reply.end(reason)
    expect(page.locator("#status")).to_contain_text("Reply complete.")


def texts(page) -> list[str]:
    return page.locator(".message > .text").all_inner_texts()


def roles(request: dict) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in request["messages"]]


def press(page, name: str, at: int = -1) -> None:
    page.locator(".message").nth(at).get_by_role("button", name=name, exact=True).click()


def hover(page, at: int) -> None:
    page.locator(".message").nth(at).hover()


def test_a_message_is_edited(open_page: Open, talker: Served) -> None:
    """The edited one is a variant, from which the conversation goes on; the other is not lost."""
    page = open_page(talker)
    reply = ByHand(page)
    asked_and_answered(page, reply, "One?", "1")
    asked_and_answered(page, reply, "Two?", "2")
    hover(page, 0)
    press(page, "Edit", 0)
    page.get_by_role("textbox", name="Edit the message").fill("Three?")
    page.keyboard.press("Enter")
    reply.send("3")
    reply.end()
    expect(page.locator(".message > .text")).to_have_text(["Three?", "3"])
    assert roles(reply.asked()[-1]) == [("user", "Three?")]
    press(page, "Previous variant", 0)
    assert texts(page) == ["One?", "1", "Two?", "2"]
    page.reload()
    assert texts(page) == ["One?", "1", "Two?", "2"]
    hover(page, 0)
    press(page, "Next variant", 0)
    assert texts(page) == ["Three?", "3"]


def test_a_reply_is_edited_in_its_place(open_page: Open, talker: Served) -> None:
    page = open_page(talker)
    reply = ByHand(page)
    asked_and_answered(page, reply, "One?", "1")
    asked_and_answered(page, reply, "Two?", "2")
    press(page, "Edit", 1)
    page.get_by_role("textbox", name="Edit the message").fill("eins")
    page.get_by_role("button", name="Save").click()
    assert texts(page) == ["One?", "eins", "Two?", "2"]
    page.get_by_role("button", name="Undo").click()
    assert texts(page) == ["One?", "1", "Two?", "2"]


def test_deleting_can_be_undone(open_page: Open, talker: Served) -> None:
    page = open_page(talker)
    reply = ByHand(page)
    asked_and_answered(page, reply, "One?", "1")
    asked_and_answered(page, reply, "Two?", "2")
    hover(page, 2)
    press(page, "Delete", 2)
    assert texts(page) == ["One?", "1"]
    page.get_by_role("button", name="Undo").click()
    assert texts(page) == ["One?", "1", "Two?", "2"]
    press(page, "Delete", 3)
    expect(page.get_by_role("group", name="Notice")).to_contain_text("no reply yet")
    page.reload()
    assert texts(page) == ["One?", "1", "Two?"]


def test_regenerating_keeps_what_was(open_page: Open, talker: Served) -> None:
    page = open_page(talker)
    reply = ByHand(page)
    asked_and_answered(page, reply, "One?", "1")
    press(page, "Regenerate")
    reply.asked()
    assert texts(page) == ["One?", "1"]  # until the new one begins
    reply.send("uno")
    assert texts(page) == ["One?", "uno"]
    reply.end()
    press(page, "Previous variant")
    assert texts(page) == ["One?", "1"]
    asked_and_answered(page, reply, "Two?", "2")
    assert roles(reply.asked()[-1]) == [("user", "One?"), ("assistant", "1"), ("user", "Two?")]


def test_trying_again_keeps_the_partial_reply(open_page: Open, talker: Served) -> None:
    page = open_page(talker)
    reply = ByHand(page)
    ask(page, "Count.")
    reply.send("one two")
    reply.break_off()
    expect(page.get_by_role("alert")).to_contain_text("broke off")
    page.get_by_role("button", name="Try again").click()
    assert texts(page) == ["Count.", "one two"]
    expect(page.get_by_role("alert")).to_have_count(0)
    reply.break_off()  # before the new one began
    expect(page.get_by_role("alert")).to_contain_text("broke off")
    assert texts(page) == ["Count.", "one two"]
    page.get_by_role("button", name="Try again").click()
    reply.send("1 2 3")
    reply.end()
    expect(page.locator(".message > .text")).to_have_text(["Count.", "1 2 3"])


def test_a_cut_reply_is_continued(open_page: Open, talker: Served) -> None:
    page = open_page(talker)
    reply = ByHand(page)
    asked_and_answered(page, reply, "Count.", "one two", "length")
    press(page, "Continue")
    reply.send(" three")
    reply.end()
    assert texts(page) == ["Count.", "one two three"]
    assert roles(reply.asked()[-1]) == [("user", "Count."), ("assistant", "one two")]
    expect(page.get_by_role("button", name="Continue")).to_have_count(0)


def test_the_server_continues(open_page: Open, talker: Served) -> None:
    page = open_page(talker)
    page.get_by_role("button", name="Settings").click()
    page.locator("#max_tokens").fill("6")
    page.locator("#temperature").fill("0")
    page.get_by_role("button", name="Close").click()
    ask(page, "Count from one to twenty in words.")
    expect(page.locator(".note")).to_contain_text("cut at the longest reply")
    before = texts(page)[-1]
    press(page, "Continue")
    expect(page.locator("#status")).to_contain_text("Reply complete.")
    grown = "(before) => document.querySelector('.message.assistant > .text').innerText.length > before"
    page.wait_for_function(grown, arg=len(before))
    assert texts(page)[-1].startswith(before)


def test_a_branch_is_a_conversation(open_page: Open, talker: Served) -> None:
    page = open_page(talker)
    reply = ByHand(page)
    asked_and_answered(page, reply, "One?", "1")
    asked_and_answered(page, reply, "Two?", "2")
    press(page, "Branch off", 1)
    expect(page.locator("#conversations > li")).to_have_count(2)
    assert texts(page) == ["One?", "1"]
    asked_and_answered(page, reply, "Four?", "4")
    page.locator("#conversations a").nth(1).click()
    expect(page.locator(".message > .text")).to_have_text(["One?", "1", "Two?", "2"])


def test_a_refused_message_is_not_read_again(open_page: Open, talker: Served) -> None:
    page = open_page(talker)
    ask(page, "word " * 9000)
    expect(page.get_by_role("alert")).to_contain_text("longer than the model can read")
    reply = ByHand(page)
    asked_and_answered(page, reply, "Short?", "Yes.")
    assert roles(reply.asked()[-1]) == [("user", "Short?")]


def test_text_files(open_page: Open, talker: Served, tmp_path: Path) -> None:
    page = open_page(talker)
    reply = ByHand(page)
    (tmp_path / "notes.md").write_text("a\n```\nb\n```\n", encoding="utf-8")
    (tmp_path / "picture.bin").write_bytes(b"\x00\xff\xfe")
    page.locator("#file").set_input_files([tmp_path / "notes.md", tmp_path / "picture.bin"])
    expect(page.locator("#notices")).to_contain_text("picture.bin is no text file")
    expect(page.locator("#draft-files")).to_have_text("notes.md")
    page.wait_for_timeout(500)
    page.reload()  # a draft's files outlive it
    reply = ByHand(page)
    expect(page.locator("#draft-files")).to_have_text("notes.md")
    asked_and_answered(page, reply, "What is this?", "Notes.")
    assert roles(reply.asked()[-1]) == [("user", "notes.md:\n\n````\na\n```\nb\n```\n````\n\nWhat is this?")]
    expect(page.locator("#draft-files")).to_be_hidden()
    page.locator(".file summary").click()
    expect(page.locator(".file pre")).to_contain_text("b")


def test_the_gauge_counts_what_is_written(open_page: Open, talker: Served) -> None:
    page = open_page(talker)
    page.get_by_role("textbox", name="Message", exact=True).fill("one two three four")
    expect(page.locator("#gauge")).to_contain_text("of 8,192 tokens")
    first = page.locator("#meter").evaluate("meter => meter.value")
    page.get_by_role("textbox", name="Message", exact=True).fill("one two three four " * 50)
    page.wait_for_function("(least) => document.querySelector('#meter').value > least", arg=first + 150)


@pytest.mark.parametrize("way", ["stopped", "failed"])
def test_a_reply_that_does_not_come_takes_nothing_away(open_page: Open, talker: Served, way: str) -> None:
    page = open_page(talker)
    reply = ByHand(page)
    asked_and_answered(page, reply, "One?", "1")
    asked_and_answered(page, reply, "Two?", "2")
    press(page, "Regenerate", 1)
    assert texts(page) == ["One?", "1"]
    if way == "stopped":
        page.get_by_role("button", name="Stop").click()
    else:
        reply.break_off()
        expect(page.locator("#notices")).to_contain_text("broke off")
    expect(page.locator(".message > .text")).to_have_text(["One?", "1", "Two?", "2"])
