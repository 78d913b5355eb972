"""The page in Debian's headless Chromium, in front of a server as people run it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving import Served, start

playwright = pytest.importorskip("playwright.sync_api", reason="the page is tested with playwright: pip install it")
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"


@pytest.fixture(scope="session")
def talker(smollm2_path: Path) -> Iterator[Served]:
    """The default model, served to all tests of the page."""
    server = start(smollm2_path, "--name", "smollm2")
    yield server
    server.process.kill()
    server.process.wait()


@pytest.fixture(scope="module")  # while it is open its event loop runs, which other modules' own loops do not bear
def browser() -> Iterator[playwright.Browser]:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("the page is tested in chromium, which is not installed (Debian: apt-get install chromium)")
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=root)
        yield browser
        browser.close()


Open = Callable[..., playwright.Page]


@pytest.fixture
def open_page(browser: playwright.Browser) -> Iterator[Open]:
    """Opens the page of a server. Once the test is over: it asked nobody else, kept its policy, and raised nothing."""
    contexts = []
    strangers: list[str] = []
    complaints: list[str] = []

    def open(server: Served, script: str = "", **options: object) -> playwright.Page:
        """script: runs in the page before its own."""
        context = browser.new_context(**{"viewport": {"width": 1100, "height": 760}, **options})
        context.add_init_script(script)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        own = (server.url.rstrip("/") + "/", "data:")
        page.on("request", lambda request: request.url.startswith(own) or strangers.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda said: re.search("Content Security Policy|Refused to", said.text) and complaints.append(said.text),
        )
        page.goto(server.url)
        page.locator(
            "#model-name:not(:empty):not([hidden]), #header-model:not([hidden]), #key-form:not([hidden])"
        ).first.wait_for()
        return page

    yield open
    for context in contexts:
        context.close()
    assert not strangers
    assert not complaints


@pytest.fixture
def picture() -> Callable[[playwright.Page, str], None]:
    """Keeps a screenshot in build/screenshots."""

    def take(page: playwright.Page, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{name}.png")

    return take
