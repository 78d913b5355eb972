"""What all scripts that make test checkpoints share: a tiny random llama, its tokenizer, and the reference beside it.

transformers in float32 on the dequantised weights is the reference.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

ROOT = Path(__file__).resolve().parent.parent
TOKENS = [300, 72, 101, 108, 108, 111, 44, 32, 119, 111, 114, 108, 100, 33, 301, 5]
CHECKED = ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj")  # compared element by element
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def tiny_config(**changes: object) -> LlamaConfig:
    """Two layers with biases on every linear layer; sizes that every format can hold."""
    settings = {
        "vocab_size": 320, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 256,
        "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": False, "bos_token_id": 300,
        "eos_token_id": 301, "pad_token_id": None,
    }  # fmt: skip
    return LlamaConfig(**{**settings, **changes})


def tiny_model(dtype: torch.dtype = torch.float16, **changes: object) -> LlamaForCausalLM:
    """Random weights of a size that makes logits worth comparing."""
    torch.manual_seed(7)
    model = LlamaForCausalLM(tiny_config(**changes)).float().eval()
    for name, parameter in model.named_parameters():
        center = 1.0 if "norm" in name else 0.0
        spread = parameter.shape[-1] ** -0.5 if parameter.ndim == 2 and "embed" not in name else 0.2
        parameter.data = center + spread * torch.randn_like(parameter)
    return model.to(dtype)


def write_tokenizer(directory: Path) -> PreTrainedTokenizerFast:
    """A byte-level BPE of 320 tokens; 300 and 301 are <|im_start|> and <|im_end|>."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    text = "the quick brown fox jumps over the lazy dog while the other dogs look on and think of their own foxes "
    tokenizer.train_from_iterator([text * 4], trainer)
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|im_start|>", eos_token="<|im_end|>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(directory)
    return fast


def save_plain(directory: Path, dtype: torch.dtype = torch.float16, **changes: object) -> LlamaForCausalLM:
    """Writes the model as transformers does, with its tokenizer; the start of every quantiser."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    model = tiny_model(dtype, **changes)
    model.save_pretrained(directory)
    write_tokenizer(directory)
    return model


def write_reference(directory: Path, weights: dict[str, torch.Tensor], made_with: str, **changes: object) -> None:
    """Logits of the float32 model whose linear weights are those given, and some of these weights themselves."""
    model = tiny_model(torch.float32, **changes)  # never half: its rope frequencies would be rounded with it
    missing, unexpected = model.load_state_dict({n: w.float() for n, w in weights.items()}, strict=False)
    assert not unexpected, unexpected
    assert not missing or missing == ["lm_head.weight"], missing
    model.tie_weights()
    with torch.no_grad():
        logits = model(torch.tensor([TOKENS])).logits[0].numpy()
    checked = {name: weights[f"{name}.weight"].float().numpy() for name in CHECKED}
    np.savez_compressed(directory / "reference.npz", tokens=np.array(TOKENS), logits=logits, **checked)
    (directory / "made_with.json").write_text(json.dumps({"made_with": made_with}, indent=1) + "\n")
    for unused in ("special_tokens_map.json",):
        (directory / unused).unlink(missing_ok=True)
    print(directory.name, sum(path.stat().st_size for path in directory.iterdir()), "bytes")
