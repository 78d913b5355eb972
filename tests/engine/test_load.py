"""Loading: options, progress, what is wrong with a file or a name."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lutmac
from lutmac.engine.loading.info import bits_in_memory
from lutmac.errors import CheckpointError, InvalidRequestError, UnsupportedISAError, UnsupportedModelError
from tiny_llama import CONTEXT, FFN, HIDDEN, VOCAB, TinyLlama, make_tiny_llama


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("threads", 0),
        ("threads", 1.5),
        ("context", 1),
        ("context", CONTEXT + 1),
        ("precision", "double"),
        ("kv_cache", "int4"),
        ("max_batch_tokens", 0),
    ],
)
def test_a_wrong_option_is_named(tiny: TinyLlama, option: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=option):
        lutmac.load(tiny.path, **{option: value})


def test_uniform_precision_computes_prompts_as_replies_are(tiny: TinyLlama) -> None:
    """On every target: two that share the arithmetic of replies have equal logits."""
    ids = [7 * n % VOCAB for n in range(40)]
    model = lutmac.load(tiny.path, precision="uniform")
    assert model.info().precision == "uniform"
    assert not model.engine.by_role
    drawn = model.generate(ids[:30], max_tokens=1, temperature=0.0, logprobs=5).logprobs
    row = model.logits(ids[:30])[-1].astype(np.float64)
    assert drawn is not None
    assert drawn[0].logprob == pytest.approx(row.max() - np.log(np.exp(row).sum()), abs=1e-9)
    plain = lutmac.load(tiny.path)
    if not plain.engine.by_role:
        np.testing.assert_array_equal(plain.logits(ids), model.logits(ids))


def test_an_unknown_isa_is_an_error_that_names_those_that_run(tiny: TinyLlama) -> None:
    with pytest.raises(UnsupportedISAError, match=r"isa=sse9.*this CPU runs .*portable"):
        lutmac.load(tiny.path, isa="sse9")


def test_the_environment_chooses_the_isa(tiny: TinyLlama, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTMAC_ISA", "portable")
    assert lutmac.load(tiny.path).info().isa == "portable"
    monkeypatch.setenv("LUTMAC_ISA", "sse9")
    with pytest.raises(UnsupportedISAError, match="LUTMAC_ISA=sse9"):
        lutmac.load(tiny.path)


def test_progress_ends_with_all_bytes(tiny: TinyLlama) -> None:
    seen: list[tuple[int, int, str]] = []
    lutmac.load(tiny.path, progress=lambda done, total, what: seen.append((done, total, what)))
    total = seen[-1][1]
    assert seen[-2:] == [(total, total, "loading"), (total, total, "reading the tokenizer")]
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)


def test_info_says_what_was_loaded(tiny: TinyLlama) -> None:
    info = lutmac.load(tiny.path, threads=2, context=128).info()
    assert (info.architecture, info.layers, info.vocab_size) == ("llama", 2, VOCAB)
    assert (info.context, info.trained_context, info.threads) == (128, CONTEXT, 2)
    assert info.tensor_types == {"Q4_0": 15, "F32": 5}
    assert 4.5 <= info.bits_per_weight < 5
    assert info.weight_bytes == info.bytes_per_token  # every matrix is read, the tied one as the head


@pytest.mark.parametrize(
    ("kind", "bits"), [("Q4_K", 4.6), ("Q6_K", 6.6), ("IQ2_S", 4.6), ("IQ1_S", 2.6), ("MXFP4", 4.25)]
)
def test_bits_in_memory(tmp_path: Path, kind: str, bits: float) -> None:
    """Codes, an 8-bit scale (or offset) for each group where the file has 4 to 8 bits, 16 bits above; tiles padded."""
    tiny = make_tiny_llama(tmp_path / "tiny.gguf", kind)
    matrices = [t for t in lutmac.load(tiny.path).info().tensors if t.packed_bytes and t.shape[0] % 64 == 0]
    assert bits_in_memory(matrices) == {kind: pytest.approx(bits, abs=0.1)}


def test_names_that_lead_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTMAC_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"unknown model 'smollm3'.*smollm3:3b.*hf:"):
        lutmac.load("smollm3")
    with pytest.raises(CheckpointError, match="lutmac pull smollm2"):
        lutmac.load("smollm2")
    with pytest.raises(CheckpointError, match=r"missing\.gguf: no such file"):
        lutmac.load(tmp_path / "missing.gguf")
    with pytest.raises(CheckpointError, match=r"hf:organisation/repository/file\.gguf"):
        lutmac.load("hf:only-one-part")


def test_files_that_are_no_models(tmp_path: Path) -> None:
    (tmp_path / "empty.gguf").touch()
    (tmp_path / "text.gguf").write_text("not a model, but long enough to look at " * 10)
    for path in (tmp_path, tmp_path / "empty.gguf", tmp_path / "text.gguf"):
        with pytest.raises(CheckpointError, match=str(path)):
            lutmac.load(path)


def test_a_truncated_file_is_an_error(tiny: TinyLlama, tmp_path: Path) -> None:
    short = tmp_path / "short.gguf"
    short.write_bytes(tiny.path.read_bytes()[:-5000])
    with pytest.raises(CheckpointError, match=r"short\.gguf"):
        lutmac.load(short)


def test_an_unsupported_tensor_type_is_named(tmp_path: Path) -> None:
    tiny = make_tiny_llama(tmp_path / "tiny.gguf", "Q4_0", kinds={"blk.0.ffn_up.weight": "F32"})
    name = b"blk.0.ffn_up.weight" + struct.pack("<IQQ", 2, HIDDEN, FFN)
    content = tiny.path.read_bytes()
    tiny.path.write_bytes(content.replace(name + struct.pack("<I", 0), name + struct.pack("<I", 15)))
    with pytest.raises(UnsupportedModelError, match=r"blk\.0\.ffn_up\.weight.*Q8_K"):
        lutmac.load(tiny.path)


def test_importing_lutmac_is_cheap() -> None:
    code = "import sys, lutmac; sys.exit(any(m in sys.modules for m in ('numpy', 'jinja2', 'tokenizers', 'rich')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert set(lutmac.__all__) <= {*dir(lutmac), *lutmac._HOMES}
