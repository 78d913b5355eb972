"""A reply as it comes: only what changed is drawn, so that what is there can be read, selected and copied."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from page.replies import ByHand, ask
from serving import Served

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
Open = Callable[..., playwright.Page]
CODE = "Here it is, in **full**:\n\n```python\ndef lookup(table, codes):\n    return [table[code] for code in codes]\n"
FORMULAS = r"""Inline $x_1^2$ or \(\sqrt{y}\), $5 and $6.

$$
\frac{a}{b}
$$

$$\boxed{c} \tag{1}$$

```python
def f(x):
    return 1
"""


def begin(page) -> ByHand:
    by_hand = ByHand(page)
    ask(page, "Show me.")
    return by_hand


def test_what_is_drawn_stays(open_page: Open, talker: Served) -> None:
    page = open_page(talker)
    reply = begin(page)
    reply.send(CODE)
    text = page.locator(".message.assistant .text")
    page.evaluate("window.kept = [...document.querySelectorAll('.message.assistant .text *')]")
    reply.send("\nprint(lookup)\n")
    reply.send("```\n\nThat was")
    reply.send(" all.")
    expect(text.locator("p").last).to_have_text("That was all.")
    assert page.evaluate("window.kept.every((each) => each.isConnected)")


def test_a_selection_outlives_what_comes(open_page: Open, talker: Served) -> None:
    page = open_page(talker)
    reply = begin(page)
    reply.send(CODE)
    page.evaluate(
        """() => {
        const code = document.querySelector(".message.assistant pre");
        const walker = document.createTreeWalker(code, NodeFilter.SHOW_TEXT);
        let node = walker.nextNode();
        while (!node.data.includes("lookup")) node = walker.nextNode();
        const from = node.data.indexOf("lookup");
        getSelection().setBaseAndExtent(node, from, node, from + "lookup".length);
    }"""
    )
    for piece in ("\nfor code in ", "codes:\n", "    print(code)\n"):
        reply.send(piece)
    assert page.evaluate("getSelection().toString()") == "lookup"


def test_code_is_copied_as_it_is_by_then(open_page: Open, talker: Served) -> None:
    page = open_page(talker)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    reply = begin(page)
    reply.send("```\none\n")
    copy = page.get_by_role("button", name="Copy the code")
    copy.focus()
    reply.send("two\n")
    copy.click()
    expect(copy).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()").rstrip("\n") == "one\ntwo"
    reply.send("three\n")
    expect(copy).to_have_text("Copied")
    expect(copy).to_be_focused()


def test_formulas_and_colours(open_page: Open, talker: Served) -> None:
    """Under the page's policy, and while they come."""
    page = open_page(talker)
    reply = begin(page)
    for at in range(0, len(FORMULAS), 9):
        reply.send(FORMULAS[at : at + 9])
    reply.send("```\n\n\\[ broken \\undefinedmacro{ \\]\n")
    reply.end()
    shown = page.locator(".message.assistant .text")
    expect(shown.locator(".katex-display")).to_have_count(2)
    expect(shown.locator("p .katex")).to_have_count(2)
    expect(shown.locator("p").first).to_contain_text("$5 and $6.")
    expect(shown.locator(".hljs-keyword")).to_have_text(["def", "return"])
    expect(shown.locator(".formula code")).to_have_text("broken \\undefinedmacro{")
    page.wait_for_function("() => [...document.fonts].filter((font) => font.family.startsWith('KaTeX')).length === 10")
