"""Embedding checkpoints give the vectors of sentence-transformers, which wrote them (embedding_models/make.py)."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lutmac
from lutmac import QuantizationSettings
from lutmac.checkpoints.sentence_transformers import read_embedding_config
from lutmac.errors import ContextOverflowError, InvalidRequestError, UnsupportedModelError

HERE = Path(__file__).parent / "embedding_models"
TEXTS: list[str] = json.loads((HERE / "texts.json").read_text())["texts"]
REFERENCES = dict(np.load(HERE / "references.npz"))
WIDTH = 64
EIGHT_BITS = QuantizationSettings(bits=8, group_size=32, symmetric=True)
Load = Callable[[str], lutmac.Model]


def checkpoint(name: str, directory: Path) -> Path:
    """The directory as sentence-transformers wrote it."""
    shutil.copytree(HERE / "base", directory)
    shutil.copytree(HERE / "variants" / name, directory, dirs_exist_ok=True)
    return directory


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    """Loads a variant in exact arithmetic, with keys and values as f32."""
    loaded: dict[str, lutmac.Model] = {}

    def get(name: str) -> lutmac.Model:
        if name not in loaded:
            path = checkpoint(name, tmp_path_factory.mktemp("embedding") / name)
            loaded[name] = lutmac.load(path, precision="exact", kv_cache="f32", threads=1)
        return loaded[name]

    return get


def check(found: np.ndarray, expected: np.ndarray) -> None:
    """float32 products and sums in another order: within 1e-4 of the largest value, and so in direction."""
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    assert ((found * expected).sum(axis=1) / lengths).min() > 0.99999


@pytest.mark.parametrize("name", sorted(path.name for path in (HERE / "variants").iterdir()))
def test_a_checkpoint_gives_the_vectors_of_its_own_library(load: Load, name: str) -> None:
    check(load(name).embed(TEXTS, truncate=True), REFERENCES[name])


def test_another_family_with_a_token_before_and_after_a_text() -> None:
    model = lutmac.load(HERE / "llama", precision="exact", kv_cache="f32", threads=1)
    check(model.embed(TEXTS), REFERENCES["llama"])
    ids = model.tokenizer.encode(TEXTS[0])
    assert (ids[0], ids[-1]) == (model.tokenizer.bos_id, model.tokenizer.eos_id)


@pytest.mark.parametrize("name", ["mean", "cls", "lasttoken"])
def test_as_it_is_loaded_for_use_the_direction_is_the_same(name: str, tmp_path: Path) -> None:
    """Default arithmetic: products of quantised activations."""
    found = lutmac.load(checkpoint(name, tmp_path / name), threads=1).embed(TEXTS)
    expected = REFERENCES[name]
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    assert ((found * expected).sum(axis=1) / lengths).min() > 0.999


def test_prompts_by_name(load: Load) -> None:
    model = load("prompts")
    check(model.embed(TEXTS, prompt_name="query"), REFERENCES["prompts query"])
    check(model.embed(TEXTS, prompt_name="document"), REFERENCES["prompts document"])
    check(model.embed(TEXTS, prompt="passage: "), REFERENCES["prompts document"])
    with pytest.raises(InvalidRequestError, match="has: document, query"):
        model.embed(TEXTS, prompt_name="quest")
    with pytest.raises(InvalidRequestError, match="either"):
        model.embed(TEXTS, prompt_name="query", prompt="x")


def test_dimensions_are_the_first_values_scaled_to_length_1(load: Load) -> None:
    check(load("lasttoken_normalized").embed(TEXTS, dimensions=16), REFERENCES["lasttoken_normalized 16"])
    first = REFERENCES["lasttoken"][:, :16]
    check(load("lasttoken").embed(TEXTS, dimensions=16), first / np.linalg.norm(first, axis=1, keepdims=True))
    check(load("lasttoken").embed(TEXTS, dimensions=16, normalize=False), first)
    for dimensions in (0, -1, WIDTH + 1):
        with pytest.raises(InvalidRequestError, match="1 to 64"):
            load("lasttoken").embed(TEXTS, dimensions=dimensions)


def test_arguments_override_the_checkpoint(load: Load) -> None:
    model = load("lasttoken_normalized")
    check(model.embed(TEXTS, pooling="mean", normalize=False), REFERENCES["mean"])
    check(model.embed(TEXTS, normalize=False), REFERENCES["lasttoken"])
    check(load("mean").embed(TEXTS, normalize=True), REFERENCES["mean_normalized"])


def test_a_text_that_is_too_long_is_refused_or_cut_before_its_last_token(load: Load) -> None:
    model = load("short_and_truncated")
    with pytest.raises(ContextOverflowError, match="16 tokens"):
        model.embed(TEXTS)
    ids = load("lasttoken").tokenizer.encode(TEXTS[-1])
    cut = [*ids[:15], ids[-1]]
    expected = model.embed([cut])
    np.testing.assert_array_equal(model.embed([TEXTS[-1]], truncate=True), expected)
    np.testing.assert_array_equal(model.embed([TEXTS[-1] * 1000], truncate=True), expected)


def test_control_tokens_in_a_text_are_text(load: Load) -> None:
    model = load("lasttoken")
    ids = model.tokenizer.encode("a<|endoftext|>b<|im_end|>")
    (end,) = model.tokenizer.after
    assert ids.count(end) == 1
    assert ids[-1] == end
    assert model.tokenizer.eos_id not in ids
    np.testing.assert_array_equal(model.embed([ids]), model.embed(["a<|endoftext|>b<|im_end|>"]))


def test_a_directory_that_says_nothing_gives_the_mean_of_length_1(tmp_path: Path) -> None:
    shutil.copytree(HERE / "base", tmp_path / "base")
    model = lutmac.load(tmp_path / "base", precision="exact", kv_cache="f32", threads=1)
    check(model.embed(TEXTS), REFERENCES["mean_normalized"])
    assert str(model.info().embedding) == "mean (the file does not say), normalized"


def test_converted_it_gives_the_same(load: Load, tmp_path: Path) -> None:
    """The native format keeps the modules, the dense layers' weights too."""
    for name in ("two_modes_and_dense", "default_prompt"):
        source = checkpoint(name, tmp_path / name)
        lutmac.convert(source, tmp_path / f"{name}-packed")
        model = lutmac.load(tmp_path / f"{name}-packed", precision="exact", kv_cache="f32", threads=1)
        np.testing.assert_array_equal(model.embed(TEXTS), load(name).embed(TEXTS))


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


WRONG = {
    "another module": lambda d: (d / "modules.json").write_text(
        json.dumps([*json.loads((d / "modules.json").read_text()), {"path": "2_LSTM", "type": "x.models.LSTM"}])
    ),
    "a mode that nobody knows": lambda d: edit(d / "1_Pooling" / "config.json", pooling_mode="median"),
    "another task": lambda d: edit(d / "sentence_bert_config.json", transformer_task="text-generation"),
    "no pooling": lambda d: (d / "modules.json").write_text('[{"path": "", "type": "x.Transformer"}]'),
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG.keys())
def test_what_lutmac_lacks_is_told_when_vectors_are_asked_for(change: Callable[[Path], object], tmp_path: Path) -> None:
    directory = checkpoint("mean", tmp_path / "model")
    change(directory)
    model = lutmac.load(directory, threads=1)
    assert model.info().embedding.problem
    with pytest.raises(InvalidRequestError, match="makes no embeddings"):
        model.embed(["a"])
    assert model.embed(["a"], pooling="mean").shape == (1, WIDTH)
    assert model.generate("a", max_tokens=2, temperature=0).token_ids


def test_a_quantised_gguf_file_says_what_its_directory_said(tmp_path: Path) -> None:
    """The end token of a text is not the end of replies in that directory; the file's texts end with the same."""
    source = checkpoint("lasttoken_normalized", tmp_path / "source")
    path = tmp_path / "out.gguf"
    lutmac.quantize_model(source, path, EIGHT_BITS, output="gguf", threads=1)
    fields = gguf.GGUFReader(path).fields
    assert fields["qwen3.pooling_type"].contents() == 3  # LLAMA_POOLING_TYPE_LAST
    assert fields["tokenizer.ggml.add_eos_token"].contents() is True
    model, original = lutmac.load(path, threads=1), lutmac.load(source, threads=1)
    assert model.tokenizer.encode(TEXTS[0]) == original.tokenizer.encode(TEXTS[0])
    assert (model.embed(TEXTS) * original.embed(TEXTS)).sum(axis=1).min() > 0.995
    with pytest.raises(UnsupportedModelError, match="embeddings"):
        lutmac.quantize_model(
            checkpoint("two_modes_and_dense", tmp_path / "dense"), tmp_path / "b.gguf", EIGHT_BITS, output="gguf"
        )


FILES = ("modules.json", "1_Pooling/config.json", "2_Dense/config.json", "config_sentence_transformers.json",
         "sentence_bert_config.json")  # fmt: skip
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda part: st.lists(part, max_size=2) | st.dictionaries(st.text(max_size=3), part, max_size=2),
    max_leaves=3,
)


@settings(max_examples=60, deadline=None)
@given(file=st.sampled_from(FILES), data=st.data())
def test_malformed_files_are_told_of_and_never_a_traceback(file: str, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch) / "model"
        shutil.copytree(HERE / "variants" / "two_modes_and_dense", directory)
        place = directory / file
        content = json.loads(place.read_text()) if place.is_file() else {}
        target = content[data.draw(st.integers(0, len(content) - 1))] if isinstance(content, list) else content
        keys = [*target, "transformer_task", "modality_config", "default_prompt_name", "prompts"]
        target[data.draw(st.sampled_from(keys))] = data.draw(JSON)
        place.write_text(json.dumps(content))
        str(read_embedding_config(directory))
