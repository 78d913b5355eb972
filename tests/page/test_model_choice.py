"""The page in front of several models."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from page.conftest import SCREENSHOTS
from serving import Served, start

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
Open = Callable[..., playwright.Page]
CHECKPOINTS = Path(__file__).parents[1] / "checkpoints" / "huggingface"


@pytest.fixture
def several(smollm2_path: Path) -> Iterator[Served]:
    server = start(CHECKPOINTS / "bf16", smollm2_path, "--name", "chat=" + str(smollm2_path), "--threads", "2")
    yield server
    server.process.kill()
    server.process.wait()


def loaded(server: Served) -> dict[str, bool]:
    with server.client() as http:
        return {model["name"]: model["value"] == "loaded" for model in http.get("/health").json()["models"]}


def test_a_model_is_chosen_and_loaded_when_it_is_asked(several: Served, open_page: Open) -> None:
    page = open_page(several)
    choice = page.get_by_role("combobox", name="Model")
    names = ["bf16 (not loaded)", "SmolLM2-135M-Instruct.Q4_1 (not loaded)", "chat (not loaded)"]
    expect(choice.locator("option")).to_have_text(names)
    choice.select_option("chat")
    expect(page).to_have_title(re.compile("^chat "))
    page.locator("#prompt").fill("Say hi.")
    page.wait_for_timeout(500)
    assert not any(loaded(several).values())  # whoever only looks loads nothing
    page.locator("#prompt").press("Enter")
    expect(page.locator("#stop")).to_be_hidden(timeout=60_000)
    expect(choice.locator("option")).to_have_text([names[0], "SmolLM2-135M-Instruct.Q4_1", "chat"])
    assert loaded(several) == {"bf16": False, "SmolLM2-135M-Instruct.Q4_1": True}
    expect(page.locator("#gauge")).to_be_visible()
    page.screenshot(path=SCREENSHOTS / "several-models.png")
    page.get_by_role("button", name="Settings").click()
    expect(page.locator("#model-facts")).to_contain_text("Threads")
    page.locator("#model").select_option("bf16")
    expect(page.locator("#model-facts")).not_to_contain_text("Threads")
    page.screenshot(path=SCREENSHOTS / "several-models-settings.png")
    page.get_by_role("button", name="Close").click()
    expect(choice).to_have_value("bf16")
