"""Replies that a test writes itself, in the server's own form: no model can be made to write just that, just then."""

from __future__ import annotations

import json

_BY_HAND = """
window.asked = [];
const { fetch } = window;
window.fetch = (path, options) => {
  if (path !== "/v1/chat/completions") return fetch(path, options);
  window.asked.push(JSON.parse(options.body));
  return new Promise((answer) => {
    const body = new ReadableStream({ start: (feed) => { window.feed = feed; } });
    options.signal.addEventListener("abort", () => window.feed.error(new DOMException("stopped", "AbortError")));
    answer(new Response(body.pipeThrough(new TextEncoderStream())));
  });
};
0;  // the value of a script that ends with a function is called
"""


def reply_with(page, text: str) -> None:
    """The next replies are this text, at once."""
    body = _event({"content": text}, "stop") + "data: [DONE]\n\n"
    page.route("**/v1/chat/completions", lambda route: route.fulfill(content_type="text/event-stream", body=body))


def ask(page, text: str) -> None:
    page.get_by_role("textbox", name="Message", exact=True).fill(text)
    page.keyboard.press("Enter")


class ByHand:
    """The page's replies come piece by piece, when the test says so."""

    def __init__(self, page) -> None:
        self.page = page
        page.evaluate(_BY_HAND)

    def asked(self) -> list[dict]:
        """The bodies of the requests so far."""
        return self.page.evaluate("window.asked")

    def send(self, text: str) -> None:
        """A piece of the reply; returns once the page has had the time to draw it."""
        self._enqueue(_event({"content": text}))

    def end(self, reason: str = "stop", usage: dict[str, int] | None = None) -> None:
        """The reply ends for a reason, with the figures that the server gives."""
        self._enqueue(_event({}, reason))
        if usage:
            self._enqueue(f"data: {json.dumps({'choices': [], 'usage': usage})}\n\n")
        self._enqueue("data: [DONE]\n\n")

    def break_off(self) -> None:
        """The connection breaks."""
        self.page.evaluate("window.feed.error(new TypeError('network error'))")

    def _enqueue(self, text: str) -> None:
        drawn = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 30))))"
        self.page.wait_for_function("() => window.feed")
        self.page.evaluate(f"(text) => {{ window.feed.enqueue(text); return {drawn}; }}", text)


def _event(delta: dict[str, str], reason: str | None = None) -> str:
    return f"data: {json.dumps({'choices': [{'delta': delta, 'finish_reason': reason}]})}\n\n"
