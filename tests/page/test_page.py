"""What a person does with the page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from page.replies import ask, reply_with
from serving import Served, start

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
Open = Callable[..., playwright.Page]
MARKDOWN = """# A title

A *calm* paragraph with **weight**, `code`, a [link](https://example.org/a) and ~~what went~~.

1. First
2. Second
   - nested

> Quoted words.

| Name | Bits |
|---|---:|
| ternary | 1.58 |
| nibble | 4 |

```python
def lookup(table, codes):
    return [table[code] for code in codes]  # <b>no markup</b>
```
"""
HOSTILE = """<script>window.broken = 1</script><img src=x onerror="window.broken = 2">

[click](javascript:window.broken=3) [data](data:text/html,<script>1</script>) ![picture](https://example.org/p.png)

<svg onload=alert(1)> `<i onmouseover=x>` [quoted](https://example.org/"onmouseover="x) https://example.org/a?b=<c>

```"><script>window.broken=4</script>
<iframe src=javascript:window.broken=5></iframe>
```
| <a href=javascript:1>x</a> | b |
|---|---|
| [x](vbscript:1) | <style>*{display:none}</style> |
"""


def settings(page, **values: object) -> None:
    page.get_by_role("button", name="Settings").click()
    for name, value in values.items():
        page.locator(f"#{name}").fill(str(value))
    page.get_by_role("button", name="Close").click()


def replied(page) -> None:
    expect(page.locator("#status")).to_contain_text("Reply complete.")


def test_a_first_conversation(open_page: Open, talker: Served, picture) -> None:
    page = open_page(talker)
    picture(page, "welcome")
    settings(page, temperature=0, max_tokens=24, system="You are a helpful AI assistant.")
    ask(page, "What is the capital of France?")
    replied(page)
    expect(page.get_by_role("article").last).to_contain_text("Paris")
    expect(page.locator(".note")).to_contain_text("tokens/s")
    ask(page, "And of Italy?")
    expect(page.get_by_role("button", name="Regenerate")).to_have_count(2)
    first = page.locator(".message.assistant .text").last.inner_text()
    page.get_by_role("button", name="Regenerate").last.click()
    expect(page.get_by_role("button", name="Regenerate")).to_have_count(2)
    assert page.locator(".message.assistant .text").last.inner_text() == first  # temperature 0
    picture(page, "conversation")
    page.reload()
    expect(page.get_by_role("article")).to_have_count(4)
    page.get_by_role("button", name="Settings").click()
    assert page.get_by_label("System prompt").input_value() == "You are a helpful AI assistant."
    expect(page.locator("#model-facts")).to_contain_text("135 million")
    picture(page, "settings")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="New conversation").click()
    expect(page.get_by_role("article")).to_have_count(0)
    page.reload()
    expect(page.locator("#welcome")).to_be_visible()


@pytest.mark.parametrize("way", ["Escape", "button"])
def test_stopping(open_page: Open, talker: Served, way: str) -> None:
    page = open_page(talker)
    settings(page, max_tokens=2000)
    ask(page, "Write a very long story about a river.")
    expect(page.locator("#speed")).to_contain_text("tokens/s")
    page.keyboard.press("Escape") if way == "Escape" else page.get_by_role("button", name="Stop").click()
    expect(page.locator(".note")).to_contain_text("stopped")
    text = page.locator(".message.assistant .text").inner_text()
    assert text
    expect(page.get_by_role("textbox", name="Message")).to_be_focused()
    page.reload()
    assert page.locator(".message.assistant .text").inner_text() == text


def test_an_error_from_the_server(open_page: Open, talker: Served, picture) -> None:
    page = open_page(talker)
    settings(page, max_tokens=4)
    ask(page, "word " * 9000)
    expect(page.get_by_role("alert")).to_contain_text("longer than the model can read")
    expect(page.locator("#gauge.over")).to_contain_text("of 8,192 tokens")
    page.reload()  # the message and what the server said of it are still there: it can be mended
    expect(page.get_by_role("alert")).to_contain_text("longer than the model can read")
    page.get_by_role("button", name="Edit the message").click()
    page.get_by_role("textbox", name="Edit the message").fill("A word")
    page.keyboard.press("Enter")
    replied(page)
    expect(page.get_by_role("alert")).to_have_count(0)
    page.get_by_role("button", name="New conversation").click()
    page.context.set_offline(True)
    ask(page, "Hello")
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    picture(page, "error")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    replied(page)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_key(open_page: Open, smollm2_path: Path, picture) -> None:
    server = start(smollm2_path, environment={"LUTMAC_API_KEY": "open-sesame-open-sesame"})
    try:
        page = open_page(server)
        expect(page.get_by_label("This server asks for an API key")).to_be_focused()
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_label("The server did not take that key")).to_have_value("")
        picture(page, "key")
        page.keyboard.type("open-sesame-open-sesame")
        page.keyboard.press("Enter")
        expect(page.locator("#key-form")).to_be_hidden()
        settings(page, max_tokens=4)
        ask(page, "Hello")
        replied(page)
    finally:
        server.process.kill()
        server.process.wait()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_markdown(open_page: Open, talker: Served, picture, scheme: str) -> None:
    page = open_page(talker, color_scheme=scheme)
    reply_with(page, MARKDOWN)
    ask(page, "Show me everything.")
    replied(page)
    text = page.locator(".message.assistant .text")
    for selector in ("h3", "em", "strong", "p > code", "del", "ol > li > ul > li", "blockquote", "td.right", "pre"):
        expect(text.locator(selector).first).to_be_visible()
    assert text.locator("pre").inner_text().startswith("def lookup")
    assert text.locator("a").get_attribute("rel") == "noopener noreferrer nofollow"
    expect(page.get_by_role("button", name="Copy the code")).to_be_visible()
    page.locator("#log").evaluate("log => log.scrollTop = 0")
    picture(page, f"markdown-{scheme}")


def test_hostile_output_is_inert(open_page: Open, talker: Served) -> None:
    page = open_page(talker)
    reply_with(page, HOSTILE)
    ask(page, HOSTILE)
    replied(page)
    page.reload()
    expect(page.get_by_role("article")).to_have_count(2)
    messages = page.locator("#messages")
    assert messages.locator("script, img, svg:not(.sign), iframe, style, i").count() == 0
    schemes = messages.locator("a").evaluate_all("links => links.map(link => link.protocol)")
    assert schemes
    assert set(schemes) <= {"https:"}
    on = "all => all.flatMap(e => e.getAttributeNames()).filter(name => name.startsWith('on') || name === 'style')"
    assert messages.locator("*").evaluate_all(on) == []
    assert page.evaluate("window.broken") is None


def test_a_phone(open_page: Open, talker: Served, picture) -> None:
    page = open_page(talker, viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    picture(page, "phone-welcome")
    reply_with(page, MARKDOWN + "\n`" + "x" * 200 + "`\n\n```\n" + "y" * 200 + "\n```")
    ask(page, "Show me " + "everything" * 30)
    replied(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("document.querySelector('#log').scrollWidth") <= 360
    for name in ("Send", "Settings", "New conversation"):
        box = page.get_by_role("button", name=name).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
    picture(page, "phone")


def test_everything_has_a_name_and_a_place(open_page: Open, talker: Served) -> None:
    page = open_page(talker, reduced_motion="reduce")
    for role in ("banner", "main", "contentinfo", "navigation", "log"):
        expect(page.get_by_role(role)).to_have_count(1)
    nameless = """all => all.filter(
            e => !(e.labels?.length || e.ariaLabel || (e.tagName === 'BUTTON' && e.textContent.trim())))
        .map(e => e.outerHTML)"""
    assert page.locator("button, input, select, textarea").evaluate_all(nameless) == []
    assert page.locator("[id]").evaluate_all("all => all.length - new Set(all.map(e => e.id)).size") == 0
    expect(page.get_by_role("textbox", name="Message")).to_be_focused()
    page.get_by_role("button", name="Theme").click()
    assert page.locator("html").get_attribute("data-theme") == "light"
    settings(page, max_tokens=8)
    heard = "new MutationObserver(() => window.heard = (window.heard ?? 0) + 1).observe(document.querySelector('#status'), {childList: true})"  # noqa: E501
    page.evaluate(heard)
    ask(page, "Count to ten.")
    replied(page)
    assert page.evaluate("window.heard") == 2  # that it began, and the whole of it: not each token
    assert page.locator("#log").get_attribute("aria-live") == "polite"


def test_thoughts(open_page: Open, talker: Served, picture) -> None:
    """What a model thinks stands apart, folds away behind the answer, outlives a reload, and is not sent back."""
    sent: list[Any] = []

    def answer(route: playwright.Route) -> None:
        sent.append(route.request.post_data_json)
        deltas = [{"reasoning_content": "Two and "}, {"reasoning_content": "two."}, {"content": "It is **4**."}]
        chunks = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
        lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks] + ["data: [DONE]\n\n"]
        route.fulfill(body="".join(lines), content_type="text/event-stream")

    page = open_page(talker)
    page.route("**/v1/chat/completions", answer)
    page.locator("#prompt").fill("What is 2 + 2?")
    page.keyboard.press("Enter")
    fold = page.locator(".message.assistant .thoughts")
    page.locator(".message.assistant .actions").wait_for()
    assert page.locator(".message.assistant > .text").inner_text() == "It is 4."
    assert fold.get_attribute("open") is None
    fold.locator("summary").click()
    assert fold.locator(".thought").inner_text() == "Two and two."
    picture(page, "thoughts")
    page.reload()
    page.locator("#prompt").fill("Thanks.")
    page.keyboard.press("Enter")
    page.locator(".message.assistant").nth(1).locator(".actions").wait_for()
    assert fold.first.locator("summary").is_visible()
    assert sent[1]["messages"][1] == {"role": "assistant", "content": "It is **4**."}
    assert not page.locator(".message.user .thoughts").first.is_visible()
