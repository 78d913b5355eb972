"""What a GGUF file says about embeddings is done: llama.cpp's vectors of the same files are the reference."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import lutmac
from lutmac.errors import InvalidRequestError

MODELS = Path(__file__).parent / "embedding_models"
sys.path.insert(0, str(MODELS))

from gguf_files import CLS, LAST, MEAN, NONE, RANK, write_gguf  # noqa: E402

TEXTS: list[str] = json.loads((MODELS / "texts.json").read_text())["texts"]
LLAMA_CPP = dict(np.load(MODELS / "llama_cpp.npz"))


@pytest.mark.parametrize(("name", "kind"), [("mean", MEAN), ("cls", CLS), ("last", LAST)])
def test_the_vectors_are_llama_cpps(name: str, kind: int, tmp_path: Path) -> None:
    """float32 weights on both sides; llama.cpp keeps keys and values as f16: within 1e-3 of the largest value."""
    path = write_gguf(tmp_path / "model.gguf", kind)
    model = lutmac.load(path, precision="exact", kv_cache="f32", threads=1)
    found, expected = model.embed(TEXTS), LLAMA_CPP[name]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * np.abs(expected).max())
    assert (found * expected).sum(axis=1).min() > 0.9999
    assert str(model.info().embedding) == f"{name}, normalized"
    lutmac.convert(path, tmp_path / "packed")
    packed = lutmac.load(tmp_path / "packed", precision="exact", kv_cache="f32", threads=1)
    np.testing.assert_array_equal(packed.embed(TEXTS), found)


def test_the_end_token_is_there_where_the_file_says_so(tmp_path: Path) -> None:
    with_end = lutmac.load(write_gguf(tmp_path / "a.gguf", LAST), threads=1)
    without = lutmac.load(write_gguf(tmp_path / "b.gguf", LAST, add_eos=False), threads=1)
    ids = with_end.tokenizer.encode("hello")
    assert ids == [*without.tokenizer.encode("hello"), with_end.tokenizer.eos_id]
    np.testing.assert_array_equal(with_end.embed(["hello"]), without.embed([ids]))


@pytest.mark.parametrize(("kind", "reason"), [(NONE, "choose a pooling"), (RANK, "ranks"), (9, "pooling_type is 9")])
def test_files_that_give_no_vector_of_a_text(kind: int, reason: str, tmp_path: Path) -> None:
    model = lutmac.load(write_gguf(tmp_path / "model.gguf", kind), threads=1)
    with pytest.raises(InvalidRequestError, match=reason):
        model.embed(["a"])
    assert model.embed(["a"], pooling="last").shape == (1, 64)
