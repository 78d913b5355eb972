"""model.rerank: the scores of sentence-transformers and of Qwen3-Reranker's page, and what a prompt may not do."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import lutmac
from lutmac import QuantizationSettings
from lutmac.engine.embedding.ranking import INSTRUCTION, JUDGE_PROMPT
from lutmac.errors import CheckpointError, ContextOverflowError, InvalidRequestError

MODELS = Path(__file__).parent / "ranking_models"
sys.path.insert(0, str(MODELS))

from random_rerankers import DOCUMENTS, QUERY, write_encoder, write_judge  # noqa: E402

SCORES = json.loads((MODELS / "scores.json").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_judge(tmp_path_factory.mktemp("ranking") / "tiny-reranker")


@pytest.fixture(scope="module")
def judge(folder: Path) -> lutmac.Model:
    return lutmac.load(folder, precision="exact", kv_cache="f32", threads=1)


def test_a_decoder_gives_the_probability_of_yes(judge: lutmac.Model) -> None:
    np.testing.assert_allclose(judge.rerank(QUERY, DOCUMENTS), SCORES["judge"], atol=1e-5)
    assert judge.info().ranks
    found = judge.rerank(QUERY, DOCUMENTS, instruction="Find the animals")
    np.testing.assert_allclose(found, SCORES["instructed"], atol=1e-5)
    np.testing.assert_array_equal(asyncio.run(judge.arerank(QUERY, DOCUMENTS)), judge.rerank(QUERY, DOCUMENTS))


def test_a_score_does_not_depend_on_what_is_scored_beside(judge: lutmac.Model) -> None:
    together = judge.rerank(QUERY, DOCUMENTS)
    assert [float(judge.rerank(QUERY, [document])[0]) for document in DOCUMENTS] == together.tolist()


def test_default_precision_is_close(folder: Path) -> None:
    with lutmac.load(folder, threads=1) as model:
        np.testing.assert_allclose(model.rerank(QUERY, DOCUMENTS), SCORES["judge"], atol=0.02)


def test_a_document_that_is_too_long_is_cut_and_a_query_refused(folder: Path) -> None:
    with lutmac.load(folder, context=600, threads=1) as model:
        ranker = model.ranker()
        pair = ranker.encode(QUERY, "mice " * 500)
        assert len(pair.ids) == 600
        text = model.tokenizer.decode(pair.ids, skip_special=False)
        assert text.startswith(JUDGE_PROMPT.partition("{query}")[0])
        assert text.endswith(JUDGE_PROMPT.rpartition("{document}")[2])
        assert 0 < model.rerank(QUERY, ["mice " * 500])[0] < 1
        with pytest.raises(ContextOverflowError):
            model.rerank("mice " * 500, ["a"])


def test_what_is_no_query_and_no_documents_is_refused(judge: lutmac.Model) -> None:
    for query, documents in ((QUERY, "a"), (QUERY, []), (QUERY, [1]), (7, ["a"])):
        with pytest.raises(InvalidRequestError, match="expected a query and a sequence"):
            judge.rerank(query, documents)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "activation"), [("encoder", None), ("plain-encoder", "torch.nn.modules.linear.Identity")]
)
def test_an_encoder_gives_cross_encoders_scores(name: str, activation: str | None, tmp_path: Path) -> None:
    """The last document has names of control tokens, which are plain text here. One is cut to what the model takes."""
    folder = write_encoder(tmp_path / name, activation=activation)
    with lutmac.load(folder, precision="exact", threads=1) as model:
        found = model.rerank(QUERY, DOCUMENTS)
        np.testing.assert_allclose(found[:-1], SCORES[name][:-1], atol=1e-5)
        assert len(model.ranker().encode(QUERY, DOCUMENTS[4]).ids) == 64
        assert [float(model.rerank(QUERY, [document])[0]) for document in DOCUMENTS] == found.tolist()
        np.testing.assert_array_equal(asyncio.run(model.arerank(QUERY, DOCUMENTS)), found)
        with pytest.raises(InvalidRequestError, match="no place for an instruction"):
            model.rerank(QUERY, DOCUMENTS, instruction="Find the animals")
    lutmac.convert(folder, tmp_path / "converted")
    with lutmac.load(tmp_path / "converted", precision="exact", threads=1) as model:
        np.testing.assert_array_equal(model.rerank(QUERY, DOCUMENTS), found)


def test_other_decoders_rank_nothing(tiny_model: lutmac.Model, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").symlink_to(folder, target_is_directory=True)
    copied = tmp_path / "other"
    copied.mkdir()
    for file in folder.iterdir():
        (copied / file.name).write_bytes(file.read_bytes())
    with pytest.raises(InvalidRequestError, match="this model ranks nothing"):
        tiny_model.rerank(QUERY, DOCUMENTS)
    assert not tiny_model.info().ranks
    with lutmac.load(copied, threads=1) as model, pytest.raises(InvalidRequestError, match="this model ranks nothing"):
        model.rerank(QUERY, DOCUMENTS)
    (copied / "README.md").write_text("---\nx: y\n---\n# Qwen3-Reranker-0.6B\n")
    with lutmac.load(copied, threads=1) as model:
        assert len(model.rerank(QUERY, DOCUMENTS)) == len(DOCUMENTS)
    with lutmac.load(tmp_path / "plain", threads=1) as model:  # by the folder's own name
        assert len(model.rerank(QUERY, DOCUMENTS)) == len(DOCUMENTS)


def test_a_directory_with_a_score_of_its_own(folder: Path, tmp_path: Path) -> None:
    """Qwen3ForSequenceClassification, whose score is the difference of the two logits."""
    made = tmp_path / "classifier"
    made.mkdir()
    for file in folder.iterdir():
        (made / file.name).write_bytes(file.read_bytes())
    weights = load_file(folder / "model.safetensors")
    ids = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    yes, no = (weights["lm_head.weight"][ids[text]] for text in ("yes", "no"))
    save_file({**weights, "score.weight": (yes - no)[None]}, made / "model.safetensors", metadata={"format": "pt"})
    with lutmac.load(made, precision="exact", kv_cache="f32", threads=1) as model:
        np.testing.assert_allclose(model.rerank(QUERY, DOCUMENTS), SCORES["judge"], atol=1e-5)
    save_file({**weights, "score.weight": np.stack([yes] * 3)}, made / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"tensor score\.weight would not be read"):
        lutmac.load(made, threads=1)


def test_gguf_has_a_head_and_a_prompt(folder: Path, tmp_path: Path) -> None:
    """As llama.cpp's converter writes them: `cls.output` is yes and no, in that order, and a chat template `rerank`."""
    settings = QuantizationSettings(bits=8, group_size=32, symmetric=True)
    plain = lutmac.quantize_model(folder, tmp_path / "plain.gguf", settings, output="gguf", threads=1).path
    made = with_head(plain, tmp_path / "made.gguf", load_file(folder / "model.safetensors")["lm_head.weight"])
    with lutmac.load(made, precision="exact", kv_cache="f32", threads=1) as model:
        np.testing.assert_allclose(model.rerank(QUERY, DOCUMENTS), SCORES["judge"], atol=0.02)
        assert model.ranker("Find the animals")._template.count("Find the animals") == 1
        assert model.info().left_out == ()
        with pytest.raises(InvalidRequestError, match="ranks pairs"):
            model.embed(["a"])
    with pytest.raises(CheckpointError, match=r"cls\.output\.weight would not be read"):  # it would be lost
        lutmac.convert(made, tmp_path / "converted")


def with_head(source: Path, path: Path, head: np.ndarray) -> Path:
    """A copy without the head of tokens, as that of an untied model has none."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(str(path), "qwen3")
    for key, field in reader.fields.items():
        if not key.startswith("GGUF.") and key != "general.architecture":
            kind, inner = field.types[0], field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(key, field.contents(), kind, sub_type=inner)
    writer.add_pooling_type(gguf.PoolingType.RANK)
    writer.add_string("tokenizer.chat_template.rerank", JUDGE_PROMPT)
    for tensor in reader.tensors:
        if tensor.name != "output.weight":
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    writer.add_tensor("cls.output.weight", np.stack([head[tokens.index(text)] for text in ("yes", "no")]))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_the_usual_instruction_stands_in_the_prompt() -> None:
    assert JUDGE_PROMPT.count(INSTRUCTION) == 1
