"""The compiled program prints as a page that a person can read."""

from __future__ import annotations

from pathlib import Path

import lutmac
from tiny_llama import make_tiny_llama


def test_layers_that_are_alike_are_shown_once(tiny_model: lutmac.Model) -> None:
    page = tiny_model.program()
    assert page.count("layers 0-1:") == 1
    assert page.count("self_attn.q_proj [256x256, 4 bits, groups of 32]") == 1
    assert len(page.splitlines()) < 30
    assert max(map(len, page.splitlines()[3:])) < 140


def test_every_operation_is_there_in_order(tiny_model: lutmac.Model) -> None:
    operations = [line.split()[0] for line in tiny_model.program().splitlines()[3:]]
    expected = [
        "rope_angles",
        "embed",
        "layers",
        "rms_norm*",
        "matmul",
        "rope_store",
        "attention",
        "prepare*",
        "matmul",
        "rms_norm*",
        "matmul",
    ]
    expected += ["gated_activation*", "matmul", "gather_outputs", "rms_norm", "hidden_states", "logits"]
    steps = [name for name in operations if not name.startswith(("k[", "v[", "up["))]
    assert steps == expected


def test_layers_that_differ_are_shown_apart(tmp_path: Path) -> None:
    tiny = make_tiny_llama(tmp_path / "mixed.gguf", "Q4_0", kinds={"blk.1.ffn_down.weight": "Q8_0"})
    page = lutmac.load(tiny.path).program()
    assert "layer 0:" in page
    assert "layer 1:" in page
    assert "mlp.down_proj [256x512, 8 bits" in page


def test_exact_precision_reads_plain_floats(tmp_path: Path) -> None:
    tiny = make_tiny_llama(tmp_path / "tiny.gguf", "Q4_0")
    page = lutmac.load(tiny.path, precision="exact").program()
    assert "exact precision" in page
    assert "tables" not in page
