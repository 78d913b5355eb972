"""Writes embedding checkpoints with sentence-transformers, and the vectors that it gives.

    python tests/engine/embedding_models/make.py

Needs sentence-transformers 6.2 (torch, transformers 5.24, tokenizers); the tests read what is committed. `base/` is
a small Qwen3 of random weights, as AutoModel saves it. Each folder of `variants/` has the further files of one
checkpoint: a test copies base and variant into one directory. `llama/` is a whole one of another family.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    LlamaConfig,
    LlamaModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3Model,
)

HERE = Path(__file__).parent
END, IM_START, IM_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SENTENCES = [
    "The cat sleeps on the mat.", "A kitten is asleep.", "Quarterly tax returns are due in April.",
    "Wo ist der Bahnhof?", "def add(a, b):\n    return a + b\n", "東京は日本の首都です。", "x", "  spaces   and\ttabs ",
    "one two three four five six seven eight nine ten " * 6,
]  # fmt: skip
PROMPTS = {"query": "Instruct: find what answers the question\nQuery:", "document": "passage: "}


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Bytes with a few merges. As in Qwen3-Embedding, a text ends with a token that is not the EOS of its settings."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES * 3, trainer)
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in (END, IM_START, IM_END)])
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single=f"$A {END}", special_tokens=[(END, tokenizer.token_to_id(END))]),
    ])  # fmt: skip
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=IM_END, pad_token=END, model_max_length=256, padding_side="left"
    )


def make_llama(references: dict[str, np.ndarray]) -> None:
    """`llama/`: a whole checkpoint of another family, whose texts have BOS and EOS around them."""
    tokenizer = make_tokenizer()
    start, end = (tokenizer.convert_tokens_to_ids(text) for text in (IM_START, IM_END))
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{IM_START} $A {IM_END}", special_tokens=[(IM_START, start), (IM_END, end)]
    )
    tokenizer.bos_token = IM_START
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, bos_token_id=start, eos_token_id=end,
    )  # fmt: skip
    torch.manual_seed(12)
    shutil.rmtree(HERE / "llama", ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        with_random_weights(LlamaModel(config)).save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        model = SentenceTransformer(modules=[Transformer(scratch), Pooling(64, "lasttoken"), Normalize()], device="cpu")
        model.save_pretrained(str(HERE / "llama"), create_model_card=False)
    (HERE / "llama" / "README.md").unlink(missing_ok=True)
    model = SentenceTransformer(str(HERE / "llama"), device="cpu")
    references["llama"] = np.stack([model.encode(text) for text in SENTENCES])


def with_random_weights(model: PreTrainedModel) -> PreTrainedModel:
    """Norms around 1, products that keep a vector's length."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            spread = parameter.shape[-1] ** -0.5 if parameter.ndim == 2 else 0.2
            parameter.normal_(1.0 if "norm" in name else 0.0, spread)
    return model.eval()


def make_base(tokenizer: PreTrainedTokenizerFast) -> Path:
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=256, tie_word_embeddings=True,
        bos_token_id=None, eos_token_id=tokenizer.convert_tokens_to_ids(END),
    )  # fmt: skip
    torch.manual_seed(11)
    model = with_random_weights(Qwen3Model(config))
    base = HERE / "base"
    shutil.rmtree(base, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        model.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        Transformer(scratch).save(str(base))  # as it is saved with modules behind it
    return base


def variants() -> dict[str, dict[str, Any]]:
    """The checkpoints: modules behind the model, and settings of SentenceTransformer."""
    torch.manual_seed(5)
    modes = ("mean", "cls", "lasttoken", "max", "weightedmean", "mean_sqrt_len_tokens")
    found: dict[str, dict[str, Any]] = {}
    for mode in modes:
        found[mode] = {"modules": [Pooling(64, mode)]}
    for mode in modes[:3]:
        found[f"{mode}_normalized"] = {"modules": [Pooling(64, mode), Normalize()]}
    found["two_modes_and_dense"] = {"modules": [
        Pooling(64, ("mean", "lasttoken")), Dense(128, 96, activation_function=torch.nn.Identity(), bias=False),
        Dense(96, 32), Normalize(),
    ]}  # fmt: skip
    found["prompts"] = {"modules": [Pooling(64, "lasttoken"), Normalize()], "prompts": PROMPTS}
    found["default_prompt"] = {
        "modules": [Pooling(64, "mean", include_prompt=False)], "prompts": PROMPTS, "default_prompt_name": "document",
    }  # fmt: skip
    found["short_and_truncated"] = {
        "modules": [Pooling(64, "lasttoken"), Normalize()], "truncate_dim": 24, "max_seq_length": 16,
    }  # fmt: skip
    return found


def write_variant(name: str, spec: dict[str, Any], base: Path, folder: Path) -> SentenceTransformer:
    """Saves the checkpoint and keeps the files that are not the base's."""
    transformer = Transformer(str(base))
    settings = {key: spec[key] for key in ("prompts", "default_prompt_name", "truncate_dim") if key in spec}
    model = SentenceTransformer(modules=[transformer, *spec["modules"]], device="cpu", **settings)
    if "max_seq_length" in spec:
        model.max_seq_length = spec["max_seq_length"]
    model.save_pretrained(str(folder), create_model_card=False)
    kept = HERE / "variants" / name
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            continue
        place = path.relative_to(folder)
        twin = base / place
        if not twin.is_file() or twin.read_bytes() != path.read_bytes():
            (kept / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, kept / place)
    return SentenceTransformer(str(folder), device="cpu")  # as its users load it


def write_older_files(folder: Path) -> None:
    """The same checkpoint as older versions wrote it: flags instead of a mode, max_seq_length in a file of its own."""
    kept = HERE / "variants" / "older_files"
    (kept / "1_Pooling").mkdir(parents=True)
    flags = ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"]
    pooling = {f"pooling_mode_{flag}": flag == "lasttoken" for flag in flags}
    kinds = (("0", "", "Transformer"), ("1", "1_Pooling", "Pooling"), ("2", "2_Normalize", "Normalize"))
    written = {
        "1_Pooling/config.json": {"word_embedding_dimension": 64, **pooling, "include_prompt": True},
        "sentence_bert_config.json": {"max_seq_length": 32, "do_lower_case": True},
        "modules.json": [
            {"idx": int(id), "name": id, "path": path, "type": f"sentence_transformers.models.{kind}"}
            for id, path, kind in kinds
        ],
    }
    for name, content in written.items():
        (kept / name).write_text(json.dumps(content, indent=2) + "\n")
    shutil.copytree(HERE / "base", folder)
    shutil.copytree(kept, folder, dirs_exist_ok=True)


def main() -> None:
    base = make_base(make_tokenizer())
    shutil.rmtree(HERE / "variants", ignore_errors=True)
    references: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, spec in variants().items():
            model = write_variant(name, spec, base, Path(scratch) / name)
            references[name] = np.stack([model.encode(text) for text in SENTENCES])  # one by one: no padding
            if name == "prompts":
                references["prompts query"] = np.stack([model.encode_query(text) for text in SENTENCES])
                references["prompts document"] = np.stack([model.encode_document(text) for text in SENTENCES])
            if name == "lasttoken_normalized":
                references["lasttoken_normalized 16"] = np.stack(
                    [model.encode(text, truncate_dim=16, normalize_embeddings=True) for text in SENTENCES]
                )
        write_older_files(Path(scratch) / "older_files")
        model = SentenceTransformer(str(Path(scratch) / "older_files"), device="cpu")
        references["older_files"] = np.stack([model.encode(text) for text in SENTENCES])
    make_llama(references)
    np.savez_compressed(HERE / "references.npz", **references)
    (HERE / "texts.json").write_text(json.dumps({"texts": SENTENCES}, ensure_ascii=False, indent=1) + "\n")
    print({name: value.shape for name, value in references.items()})


if __name__ == "__main__":
    main()
