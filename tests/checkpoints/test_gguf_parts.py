"""Models that are split over several GGUF files are one model, or one clear error."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

import lutmac
from lutmac.checkpoints import open_gguf
from lutmac.checkpoints.gguf_parts import MAX_PARTS, part_names
from lutmac.errors import CheckpointError
from tiny_llama import TinyLlama, make_tiny_llama

TOKENS = [258, 72, 101, 108, 108, 111]
LAST, MIDDLE = "tiny-00003-of-00003.gguf", "tiny-00002-of-00003.gguf"


@pytest.fixture
def split(tmp_path: Path) -> TinyLlama:
    """A model in three files, written by the `gguf` package."""
    return make_tiny_llama(tmp_path / "tiny.gguf", "Q4_0", split_max_tensors=8)


def test_a_split_model_is_the_whole_model(split: TinyLlama, tmp_path: Path) -> None:
    whole = make_tiny_llama(tmp_path / "whole.gguf", "Q4_0")
    loaded = lutmac.load(split.path)
    np.testing.assert_array_equal(loaded.logits(TOKENS), lutmac.load(whole.path).logits(TOKENS))
    parts = sorted(tmp_path.glob("tiny-*"))
    assert [part.name for part in parts] == [split.path.name, MIDDLE, LAST]
    assert loaded.info().file_bytes == sum(part.stat().st_size for part in parts)
    assert list(open_gguf(split.path).tensors) == list(open_gguf(whole.path).tensors)


def test_any_part_opens_the_model(split: TinyLlama) -> None:
    file = open_gguf(split.path.with_name(LAST))
    assert file.architecture == "llama"
    assert list(file.tensors) == list(open_gguf(split.path).tensors)
    file.drop_pages()


def change(path: Path, key: str, value: int) -> None:
    """Overwrites a number of the metadata."""
    reader = gguf.GGUFReader(path, "r+")
    reader.fields[key].parts[-1][0] = value


def test_a_missing_part_is_named(split: TinyLlama) -> None:
    split.path.with_name(MIDDLE).unlink()
    with pytest.raises(CheckpointError, match=rf"{MIDDLE}: no such file"):
        open_gguf(split.path)


@pytest.mark.parametrize(
    ("part", "key", "value", "message"),
    [
        (MIDDLE, "split.no", 2, r"00002-of-00003\.gguf: split\.no is 2, expected 1"),
        (LAST, "split.count", 4, r"split\.count is 4, expected 3"),
        (LAST, "split.count", 1, r"split\.count is 1, expected 3"),
        (None, "split.count", 2, r"one of the 2 files of a model; they must be named as in model-00001-of-00002"),
        (None, "split.count", MAX_PARTS + 1, r"split\.count is 1025"),
        (None, "split.tensors.count", 7, r"split\.tensors\.count is 7, expected 20"),
    ],
)
def test_parts_that_do_not_belong_together(
    split: TinyLlama, part: str | None, key: str, value: int, message: str
) -> None:
    change(split.path.with_name(part or split.path.name), key, value)
    with pytest.raises(CheckpointError, match=message):
        open_gguf(split.path)


def test_a_tensor_in_two_parts(split: TinyLlama) -> None:
    middle, last = (split.path.with_name(name) for name in (MIDDLE, LAST))
    content = last.read_bytes()
    there, here = (list(gguf.GGUFReader(path).tensors) for path in (middle, last))
    same_length = next((a.name, b.name) for a in there for b in here if len(a.name) == len(b.name))
    last.write_bytes(content.replace(same_length[1].encode(), same_length[0].encode()))
    with pytest.raises(CheckpointError, match=rf"tensor '{same_length[0]}' is in .*{MIDDLE} too"):
        open_gguf(split.path)


def test_names_of_parts() -> None:
    assert part_names("model.gguf") == ["model.gguf"]
    assert part_names("x/a-00002-of-00002.gguf") == ["x/a-00001-of-00002.gguf", "x/a-00002-of-00002.gguf"]
    assert part_names("a-00003-of-00002.gguf") == ["a-00003-of-00002.gguf"]
    assert part_names("a-00000-of-00002.gguf") == ["a-00000-of-00002.gguf"]
