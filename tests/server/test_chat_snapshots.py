"""Every kind of chat tells where its generation prompt begins, so that a model with slots can come back there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import serving

LFM2 = Path(__file__).parents[1] / "models" / "converted" / "lfm2.gguf"


@pytest.fixture(scope="module")
def lfm2() -> Iterator[httpx.Client]:
    served = serving.start(LFM2, "--context", 512)
    with served.client() as client:
        yield client
    served.stop()


def figure(http: httpx.Client, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", http.get("/metrics").text, re.MULTILINE)
    assert found is not None
    return float(found[1])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"max_tokens": 8}),
        ("/v1/messages", {"model": "lfm2", "max_tokens": 8}),
        ("/v1/responses", {"max_output_tokens": 16}),
        ("/api/chat", {"model": "lfm2", "stream": False, "options": {"num_predict": 8}}),
    ],
)
def test_the_next_turn_begins_before_the_generation_prompt(lfm2: httpx.Client, path: str, body: dict[str, Any]) -> None:
    """The reply is answered as though another one had been given, as when its thoughts are left out."""
    opening = f"At {path}: "  # so that each begins with something of its own
    history = [{"role": "user", "content": opening + "what is a page?"}]
    key = "input" if path == "/v1/responses" else "messages"
    assert lfm2.post(path, json={**body, key: history}).status_code == 200
    hits = figure(lfm2, "lutmac_prefix_hit_tokens_total")
    other = [*history, {"role": "assistant", "content": "Xyz."}, {"role": "user", "content": "And then?"}]
    assert lfm2.post(path, json={**body, key: other}).status_code == 200
    begun = f"User: {opening}what is a page?\n"  # a token for each byte
    assert figure(lfm2, "lutmac_prefix_hit_tokens_total") - hits == len(begun)
    assert figure(lfm2, "lutmac_snapshots") > 0
    assert figure(lfm2, "lutmac_snapshot_bytes") == 3 * 64 * 2 * 4
    assert figure(lfm2, "lutmac_state_memory_bytes") >= 16 * 3 * 64 * 2 * 4
    assert figure(lfm2, "lutmac_state_memory_used_bytes") == 0  # nothing runs
