"""Several conversations, in one tab and in two."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from page.replies import ByHand, ask
from serving import Served

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
Open = Callable[..., playwright.Page]
BLOCKED = """for (const name of ["localStorage", "sessionStorage"])
  Object.defineProperty(window, name, { get() { throw new DOMException("denied", "SecurityError"); } });"""
FULL = "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); };"


def converse(page, question: str, answer: str) -> None:
    reply = ByHand(page)
    ask(page, question)
    reply.send(answer)
    reply.end()
    expect(page.locator("#status")).to_contain_text("Reply complete.")


def titles(page):
    return page.locator("#conversations a")


def texts(page):
    return page.locator(".message > .text")


def new(page) -> None:
    page.get_by_role("button", name="New conversation").click()


def test_a_list_of_them(open_page: Open, talker: Served) -> None:
    page = open_page(talker)
    converse(page, "First?", "1")
    new(page)
    expect(texts(page)).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(texts(page)).to_have_text(["First?", "1"])
    new(page)
    converse(page, "Second?", "2")
    expect(titles(page)).to_have_text(["Second?", "First?"])
    titles(page).nth(1).click()
    expect(texts(page)).to_have_text(["First?", "1"])
    page.reload()
    expect(texts(page)).to_have_text(["First?", "1"])
    page.go_back()
    expect(texts(page)).to_have_text(["Second?", "2"])


def test_renaming_and_deleting(open_page: Open, talker: Served) -> None:
    page = open_page(talker)
    converse(page, "First?", "1")
    page.get_by_role("button", name="Rename First?").click()
    page.get_by_role("textbox", name="Title").fill("Numbers")
    page.keyboard.press("Enter")
    expect(titles(page)).to_have_text(["Numbers"])
    converse(page, "More?", "2")
    expect(titles(page)).to_have_text(["Numbers"])
    page.get_by_role("button", name="Delete Numbers").click()
    expect(titles(page)).to_have_count(0)
    expect(texts(page)).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(titles(page)).to_have_text(["Numbers"])
    expect(texts(page)).to_have_text(["First?", "1", "More?", "2"])


def test_a_reply_goes_on_behind_another_conversation(open_page: Open, talker: Served) -> None:
    page = open_page(talker)
    reply = ByHand(page)
    ask(page, "First?")
    reply.send("one")
    new(page)
    expect(page.locator("#conversations .running")).to_have_count(1)
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    reply.send(" two")
    titles(page).first.click()
    expect(texts(page)).to_have_text(["First?", "one two"])
    reply.send(" three")
    expect(texts(page)).to_have_text(["First?", "one two three"])
    reply.end()
    expect(page.locator("#conversations .running")).to_have_count(0)


def test_a_conversation_is_deleted_while_a_reply_comes(open_page: Open, talker: Served) -> None:
    page = open_page(talker)
    reply = ByHand(page)
    ask(page, "First?")
    reply.send("one")
    page.get_by_role("button", name="Delete First?").click()
    page.wait_for_timeout(100)
    page.reload()
    expect(titles(page)).to_have_count(0)
    reply = ByHand(page)
    ask(page, "Second?")
    reply.send("two")
    page.get_by_role("button", name="Delete Second?").click()
    page.get_by_role("button", name="Undo").click()
    expect(texts(page)).to_have_text(["Second?", "two"])


def test_files(open_page: Open, talker: Served, tmp_path: Path) -> None:
    """What is exported can be imported elsewhere, and so can a list of messages."""
    page = open_page(talker)
    converse(page, "First?", "1")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export First?").click()
    download.value.save_as(tmp_path / "first.json")
    assert download.value.suggested_filename == "First.json"
    other = open_page(talker)
    other.locator("#import-file").set_input_files(tmp_path / "first.json")
    expect(texts(other)).to_have_text(["First?", "1"])
    messages = [{"role": "user", "content": "Foreign?"}, {"role": "assistant", "content": "Yes."}]
    (tmp_path / "messages.json").write_text(json.dumps({"messages": messages}), encoding="utf-8")
    other.locator("#import-file").set_input_files(tmp_path / "messages.json")
    expect(texts(other)).to_have_text(["Foreign?", "Yes."])
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    other.locator("#import-file").set_input_files(tmp_path / "broken.json")
    expect(other.locator("#notices")).to_contain_text("broken.json cannot be imported: it is no JSON")
    with other.expect_download() as download:
        other.get_by_role("button", name="Export all").click()
    assert len(json.loads(Path(download.value.path()).read_text(encoding="utf-8"))["conversations"]) == 2


def test_drafts(open_page: Open, talker: Served) -> None:
    """Each conversation has its own, and it outlives a reload."""
    page = open_page(talker)
    converse(page, "First?", "1")
    prompt = page.get_by_role("textbox", name="Message", exact=True)
    prompt.fill("half a thought")
    new(page)
    expect(prompt).to_have_value("")
    prompt.fill("another")
    page.reload()
    expect(prompt).to_have_value("another")
    titles(page).first.click()
    expect(prompt).to_have_value("half a thought")


def test_two_tabs(open_page: Open, talker: Served) -> None:
    """What one writes the other shows; what both write at once is kept of both."""
    page = open_page(talker)
    converse(page, "First?", "1")
    other = page.context.new_page()
    other.goto(page.url)
    expect(texts(other)).to_have_text(["First?", "1"])
    converse(other, "Second?", "2")
    expect(texts(page)).to_have_text(["First?", "1", "Second?", "2"])
    first, second = ByHand(page), ByHand(other)
    ask(page, "Left?")
    ask(other, "Right?")
    first.send("left")
    second.send("right")
    first.end()
    second.end()
    expect(other.locator("#status")).to_contain_text("Reply complete.")
    page.reload()
    variants = page.get_by_role("group", name="Variants")
    expect(variants).to_contain_text("/ 2")
    last = set()
    for name in ("Previous variant", "Next variant"):
        if page.get_by_role("button", name=name).is_enabled():
            last.add(tuple(texts(page).all_inner_texts()[-2:]))
            page.get_by_role("button", name=name).click()
    last.add(tuple(texts(page).all_inner_texts()[-2:]))
    assert last == {("Left?", "left"), ("Right?", "right")}


@pytest.mark.parametrize("script", [BLOCKED, FULL], ids=["blocked", "full"])
def test_without_storage(open_page: Open, talker: Served, script: str) -> None:
    page = open_page(talker, script=script)
    converse(page, "First?", "1")
    expect(page.locator("#not-kept")).to_be_visible()
    new(page)
    converse(page, "Second?", "2")
    titles(page).nth(1).click()
    expect(texts(page)).to_have_text(["First?", "1"])
    page.get_by_role("button", name="Theme").click()
    assert page.locator("html").get_attribute("data-theme") == "light"


def test_what_is_stored_may_be_anything(open_page: Open, talker: Served) -> None:
    """The conversation of a page from before there were several is taken over; what is broken breaks nothing."""
    old = [{"role": "user", "content": "Old?"}, {"role": "assistant", "content": "Yes.", "thoughts": "", "note": ""}]
    circle = {"role": "user", "content": "x", "id": "a", "parent": "a"}
    broken = {"id": "c", "messages": [circle, {"role": 3}]}
    script = f"""if (!localStorage.getItem("lutmac.seen")) {{
        localStorage.setItem("lutmac.seen", "1");
        localStorage.setItem("lutmac.conversation", {json.dumps(json.dumps(old))});
        localStorage.setItem("lutmac.conversation.b", "{{nonsense");
        localStorage.setItem("lutmac.conversation.c", {json.dumps(json.dumps(broken))});
        localStorage.setItem("lutmac.draft.b", "7");
        localStorage.setItem("lutmac.theme", "neon");
    }}"""
    page = open_page(talker, script=script)
    expect(titles(page)).to_have_count(2)
    titles(page).filter(has_text="Old?").click()
    expect(texts(page)).to_have_text(["Old?", "Yes."])
