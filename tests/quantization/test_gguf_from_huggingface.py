"""GGUF files made of Hugging Face directories give the logits and the tokens of the same in the native format."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
import sentencepiece

import lutmac
from lutmac import QuantizationSettings
from lutmac.engine.loading.opened import open_model
from lutmac.errors import InvalidRequestError, UnsupportedModelError
from lutmac.models import REGISTRY, find_architecture
from lutmac.models.gguf_metadata import FAMILIES
from lutmac.text.gguf_writing import PROBE

MODELS = Path(__file__).parents[1] / "models" / "architectures"
RANKING = Path(__file__).parents[1] / "engine" / "ranking_models"
sys.path[:0] = [str(MODELS), str(MODELS.parent), str(RANKING)]

from cases import CASES, TOKENS  # noqa: E402
from encoder_cases import CASES as ENCODERS  # noqa: E402
from random_rerankers import DOCUMENTS, QUERY, write_encoder  # noqa: E402
from random_weights import random_weights, write_checkpoint  # noqa: E402

SHAPES = json.loads((MODELS / "shapes.json").read_text())
EIGHT_BITS = QuantizationSettings(bits=8, group_size=32, symmetric=True)
# What GGUF has no word for, or files of such an architecture never have.
REFUSED = {
    "llama-yarn-tuned": "GGUF's llama cannot say that rope is",
    "llama-longrope": "GGUF's llama cannot say that rope is",
    "falcon3-1.58bit": "GGUF's llama cannot say that round_activations is True",
    "mistral": "GGUF's llama cannot say that windows is",
    "qwen2-window": "GGUF's qwen2 cannot say that windows is",
    "qwen3-biases": "GGUF's qwen3 has no biases",
    "gemma2-27b": "GGUF's gemma2 cannot say that attention_scale is",
    "gemma2-tight": "GGUF's gemma2 cannot say that attention_scale is",
    "gemma2-no-caps": "GGUF's gemma2 cannot say that attention_softcap is 0.0",
    "qwen3.5": "GGUF's DeltaNets have keys and values of one size, and this model of 12 and 16",
    "qwen3.5-tied": "GGUF's qwen35 has no biases",
    "ernie4-5-biases": "GGUF's ernie4_5 has no biases",
    "smollm3-interval": "GGUF's smollm3 cannot say that no_rope_layers is",
    "qwen3-moe-some-dense": "GGUF's qwen3moe cannot say that norm_topk_prob is False",
    "qwen3-next-hub": "GGUF's qwen3next cannot say that norm_topk_prob is False",
    "starcoder2-window": "GGUF's starcoder2 cannot say that windows is",
    "lfm2-hub": "GGUF's lfm2 has no biases",
    "granite-4-h-dense": "GGUF's granitehybrid has no biases",
    "nemotron-h": "GGUF's nemotron_h has no biases",
    "nemotron-3-latent": "GGUF's nemotron_h_moe has no layers of MLPs",
    "bitnet-plain": "GGUF's bitnet-b1.58 cannot say that round_activations is False",
    "falcon-h1-norm-first": "GGUF's falcon-h1 has no biases",
    "deepseek-v2": "GGUF's deepseek2 has no biases",
    "deepseek-v3-one-head": "GGUF's deepseek2 cannot rotate a part of a head alone",
    "phi-1.5": "GGUF's phi2 has no tensor like model.layers.0.self_attn.q_layernorm.weight",
}
# Cases as checkpoints are, where they are made to differ from them for other tests.
ONE_EPS = {"rms_norm_eps": 1e-6}  # of all norms, in GGUF; directories have this one for norms of latents
USUAL = {
    "deepseek-v2-lite": ONE_EPS,
    "deepseek-v3": ONE_EPS,
    "glm4-moe-lite": ONE_EPS,
    "gpt-oss": {"swiglu_limit": 7.0},
    "lfm2-moe": {"routed_scaling_factor": 1.0},
    "qwen3.5-moe": {"linear_key_head_dim": 32, "linear_value_head_dim": 32},
    "qwen3-next": {"linear_key_head_dim": 32, "linear_value_head_dim": 32},
    "granite-swa": {"layer_rope_theta": [0, 1e4, 1e4, 1e4, 1e4]},
    "bitnet-1bitllm": {"tie_word_embeddings": True},
    "bitnet-1bitllm-3b": {"tie_word_embeddings": True},
}
USUAL_SHAPES = {
    "qwen3.5-moe": {
        "in_proj_qkv.weight": (320, 64), "conv1d.weight": (320, 1, 4), "in_proj_z.weight": (192, 64),
        "linear_attn.out_proj.weight": (64, 192), "linear_attn.norm.weight": (32,),
    },
    "qwen3-next": {
        "in_proj_qkvz.weight": (512, 64), "conv1d.weight": (320, 1, 4), "linear_attn.out_proj.weight": (64, 192),
        "linear_attn.norm.weight": (32,),
    },
    "bitnet-1bitllm": {"lm_head.weight": ()},
    "bitnet-1bitllm-3b": {"lm_head.weight": ()},
}  # fmt: skip
# Architectures that GGUF does not know, or knows in a form that directories do not have, and why.
UNWRITTEN = {
    "bailing_moe2": "read from GGUF alone",
    "lfm3": "GGUF has no such architecture",
    "maple": "read from GGUF alone",
}
# What a model's architecture is there, where a family has several.
OF_SOME = {
    "granite-4-micro": "granite", "nemotron-3": "nemotron_h_moe", "qwen3-next": "qwen3next",
    "bitnet-2b-4t": "bitnet-b1.58", "bitnet-1bitllm": "bitnet", "bitnet-1bitllm-3b": "bitnet",
}  # fmt: skip
WRITTEN = [name for name, case in CASES.items() if find_architecture(case.config["model_type"]).name in FAMILIES]


def make(directory: Path, name: str) -> Path:
    config = {**CASES[name].config, **USUAL.get(name, {})}
    other = USUAL_SHAPES.get(name, {})
    shapes = {
        tensor: next((tuple(new) for end, new in other.items() if tensor.endswith(end)), tuple(shape))
        for tensor, shape in SHAPES[name].items()
        if other.get(tensor) != ()
    }
    write_checkpoint(directory, config, random_weights(config, shapes))
    return directory


def test_every_architecture_is_written_or_known_not_to_be() -> None:
    own = {find_architecture(name).name for name in REGISTRY}
    assert set(FAMILIES) <= own
    assert own - set(FAMILIES) == set(UNWRITTEN)
    assert {family.name for family in FAMILIES.values()} <= set(REGISTRY)


SLOW = [name for name in WRITTEN if name.startswith((
    "afmoe", "apertus", "bitnet-1bitllm-3b", "deepseek-v2-lite", "ernie4-5-moe", "falcon-h1", "gemma4-", "glm4",
    "gpt-oss", "granite-4", "granite-moe", "granite-swa", "laguna", "lfm2", "mellum", "nemotron", "olmo", "phi-",
    "phi3-128k-short", "phi4", "qwen2-moe", "qwen3-next", "qwen3.5-", "smollm3", "stablelm", "starcoder2",
))]  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in WRITTEN]
)
def test_logits_are_those_of_the_native_format(name: str, tmp_path: Path) -> None:
    """Rows of q and k may lie in another order, and then sums of products of heads have another.

    Falcon-H1's multipliers are in the scales of matrices, which have 11 bits.
    """
    source = make(tmp_path / "source", name)
    if name in REFUSED:
        with pytest.raises(UnsupportedModelError, match=REFUSED[name]):
            lutmac.quantize_model(source, tmp_path / "out.gguf", EIGHT_BITS, output="gguf", threads=1)
        return
    native = lutmac.quantize_model(source, tmp_path / "native", EIGHT_BITS, threads=1)
    made = lutmac.quantize_model(source, tmp_path / "out.gguf", EIGHT_BITS, output="gguf", threads=1)
    own = find_architecture(CASES[name].config["model_type"]).name
    architecture = OF_SOME.get(name, FAMILIES[own].name)
    assert gguf.GGUFReader(made.path).fields["general.architecture"].contents() == architecture
    expected, found = (
        lutmac.load(path, precision="exact", threads=1, context=CASES[name].context).logits(
            TOKENS[: CASES[name].tokens]
        )
        for path in (native.path, made.path)
    )
    assert np.linalg.norm(found - expected) < (1e-3 if name == "falcon-h1" else 1e-4) * np.linalg.norm(expected)


def written_both_ways(source: Path, folder: Path) -> list[Path]:
    """A GGUF file in the native format and as GGUF, at 8 bits; both give the same logits."""
    made = [
        lutmac.quantize_model(source, folder / output, EIGHT_BITS, output=output, threads=1).path  # type: ignore[arg-type]
        for output in ("native", "gguf")
    ]
    expected, found = (lutmac.load(path, precision="exact", threads=1).logits(list(range(40))) for path in made)
    assert np.linalg.norm(found - expected) < 1e-4 * np.linalg.norm(expected)
    return made


@pytest.mark.parametrize("name", ["lfm2", "qwen3_5", "granitehybrid", "falcon_h1"])
def test_hybrids_are_written_of_gguf_files(name: str, tmp_path: Path) -> None:
    """Convolutions have weights of two dimensions. A layer that guesses further tokens is left out, and not counted."""
    source = MODELS.parent / "converted" / f"{name}.gguf"
    made = written_both_ways(source, tmp_path)
    fields = {field: value.contents() for field, value in gguf.GGUFReader(made[1]).fields.items()}
    assert "qwen35.nextn_predict_layers" not in fields
    assert fields[f"{fields['general.architecture']}.block_count"] == {"granitehybrid": 3, "falcon_h1": 2}.get(name, 4)


@pytest.mark.parametrize("name", ["gemma4_moe", "gemma3n", pytest.param("gpt_oss", marks=pytest.mark.slow)])
def test_stacks_of_gguf_files_are_written(name: str, tmp_path: Path) -> None:
    """Of experts, with gate and up in one matrix of each, and of what mixes Gemma 3n's streams."""
    source = MODELS.parent / "converted" / f"{name}.gguf"
    made = written_both_ways(source, tmp_path)
    before, after = ({t.name: t.shape.tolist() for t in gguf.GGUFReader(path).tensors} for path in (source, made[1]))
    stacks = {name: shape for name, shape in before.items() if name.endswith(".weight") and len(shape) == 3}
    assert stacks
    assert {name: after.get(name) for name in stacks} == stacks


def test_value_heads_that_do_not_hold_whole_groups_are_refused_at_once(tmp_path: Path) -> None:
    """GGUF has them in another order, and groups move as a whole."""
    settings = QuantizationSettings(tensor_type="Q4_K")
    with pytest.raises(UnsupportedModelError, match="groups of 256 weights are not within heads of 32"):
        lutmac.quantize_model(make(tmp_path / "source", "qwen3.5-27b"), tmp_path / "out.gguf", settings, output="gguf")


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if name not in WRITTEN][::6])
def test_other_architectures_are_refused_by_name(name: str, tmp_path: Path) -> None:
    source, kind = make(tmp_path / "source", name), CASES[name].config["model_type"]
    with pytest.raises(UnsupportedModelError, match=f"a directory of '{find_architecture(kind).name}'"):
        lutmac.quantize_model(source, tmp_path / "out.gguf", EIGHT_BITS, output="gguf")


def test_the_native_format_is_no_source(tmp_path: Path) -> None:
    made = lutmac.convert(make(tmp_path / "source", WRITTEN[0]), tmp_path / "native")
    with pytest.raises(InvalidRequestError, match="use what this was made of"):
        lutmac.quantize_model(made.path, tmp_path / "out.gguf", EIGHT_BITS, output="gguf")


def test_gguf_reads_what_was_written(tmp_path: Path) -> None:
    """By the `gguf` package: names, shapes, types, and the keys that every reader wants."""
    source = make(tmp_path / "source", WRITTEN[0])
    made = lutmac.quantize_model(source, tmp_path / "out.gguf", EIGHT_BITS, output="gguf", threads=1)
    reader = gguf.GGUFReader(made.path)
    assert {tensor.tensor_type.name for tensor in reader.tensors if tensor.name.endswith("q.weight")} == {"Q8_0"}
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert fields["general.architecture"] == "llama"
    assert fields["llama.embedding_length"] == CASES[WRITTEN[0]].config["hidden_size"]
    assert fields["tokenizer.ggml.model"] == "gpt2"
    assert len(fields["tokenizer.ggml.tokens"]) == CASES[WRITTEN[0]].config["vocab_size"]


@pytest.mark.parametrize("dummy_prefix", [True, False])
def test_sentencepiece_is_written_with_its_scores(tmp_path: Path, dummy_prefix: bool) -> None:
    source = make(tmp_path / "source", WRITTEN[0])
    (source / "tokenizer.json").unlink()
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the cat sat on the mat with the other cats, then that one"] * 20),
        model_writer=trained,
        vocab_size=CASES[WRITTEN[0]].config["vocab_size"],
        model_type="bpe",
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
        add_dummy_prefix=dummy_prefix,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
    )
    (source / "tokenizer.model").write_bytes(trained.getvalue())
    settings = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "tokenizer_class": "LlamaTokenizer"}
    (source / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": "{{ messages }}"}))
    made = lutmac.quantize_model(source, tmp_path / "out.gguf", EIGHT_BITS, output="gguf", threads=1)
    with open_model(source) as expected, open_model(made.path) as found:
        ours, theirs = found.read_tokenizer(), expected.read_tokenizer()
        for text in ("the other mat", "\u00e9\u4e2d 12", PROBE):
            assert ours.encode(text) == theirs.encode(text)
            assert ours.decode(ours.encode(text)) == theirs.decode(theirs.encode(text))
        assert (ours.bos_id, ours.eos_id) == (theirs.bos_id, theirs.eos_id) == (1, 2)
        assert found.read_templates() == {"default": "{{ messages }}"}


REFUSED_ENCODERS = {
    "bert-thin": "GGUF's bert cannot say that activation is gelu_tanh",
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "modernbert" else pytest.mark.slow) for name in ENCODERS]
)
def test_states_of_encoders_are_those_of_the_native_format(name: str, tmp_path: Path) -> None:
    config, shapes = ENCODERS[name].config, json.loads((MODELS / "encoder_shapes.json").read_text())[name]
    shapes = {tensor: shape for tensor, shape in shapes.items() if not tensor.endswith("experts.bias")}
    source = tmp_path / "source"
    write_checkpoint(source, config, random_weights(config, shapes))
    if name in REFUSED_ENCODERS:
        with pytest.raises(UnsupportedModelError, match=REFUSED_ENCODERS[name]):
            lutmac.quantize_model(source, tmp_path / "out.gguf", EIGHT_BITS, output="gguf", threads=1)
        return
    native = lutmac.quantize_model(source, tmp_path / "native", EIGHT_BITS, threads=1)
    made = lutmac.quantize_model(source, tmp_path / "out.gguf", EIGHT_BITS, output="gguf", threads=1)
    expected, found = (
        lutmac.load(path, precision="exact", threads=1).embed([range(3, 90), range(5, 9)], pooling="mean")
        for path in (native.path, made.path)
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_an_encoder_is_written_with_its_vocabulary_and_head(tmp_path: Path) -> None:
    """BERT with a head of one label: positions and types stay floats, as readers take rows of them."""
    source = write_encoder(tmp_path / "encoder")
    native = lutmac.quantize_model(source, tmp_path / "native", EIGHT_BITS, threads=1)
    made = lutmac.quantize_model(source, tmp_path / "out.gguf", EIGHT_BITS, output="gguf", threads=1)
    expected, found = (lutmac.load(path, precision="exact", threads=1) for path in (native.path, made.path))
    np.testing.assert_allclose(found.rerank(QUERY, DOCUMENTS), expected.rerank(QUERY, DOCUMENTS), atol=1e-6)
    np.testing.assert_allclose(
        found.embed(DOCUMENTS[:2], pooling="cls"), expected.embed(DOCUMENTS[:2], pooling="cls"), atol=1e-6
    )
    assert found.tokenizer.pair == expected.tokenizer.pair
    for text in (PROBE, "The FOX eats foxes", "[SEP]"):
        assert found.tokenizer.encode(text) == expected.tokenizer.encode(text)
    reader = gguf.GGUFReader(made.path)
    kinds = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert (kinds["position_embd.weight"], kinds["token_types.weight"], kinds["cls.output.weight"]) == (
        "F32", "F32", "Q8_0",
    )  # fmt: skip
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert fields["bert.attention.causal"] is False
    assert fields["bert.pooling_type"] == 4
    assert fields["tokenizer.ggml.token_type_count"] == 2
    assert fields["tokenizer.ggml.tokens"][5] == "\u2581a"
