"""transformers' Nomic BERT with the experts of nomic-embed-text-v2-moe, which transformers has not.

By https://arxiv.org/abs/2502.07972: in every second layer a softmax over all experts, of whose weights the largest
count as they are; a bias is added to the sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModel


class Experts(torch.nn.Module):
    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> None:
        """weights: by their names behind ``mlp.``."""
        super().__init__()
        shape = config["num_experts"], config["intermediate_size"], config["hidden_size"]
        self.first, self.second = (weights[f"experts.mlp.{name}"].reshape(shape) for name in ("w1", "w2"))
        self.router, self.bias = weights["router.layer.weight"], weights["experts.bias"]
        self.count = config["moe_top_k"]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of all experts, of which the weights of most are 0."""
        shares = torch.softmax(x @ self.router.T, -1)
        least = shares.topk(self.count, -1).values[..., -1:]
        shares = torch.where(shares >= least, shares, 0)
        inner = torch.nn.functional.gelu(torch.einsum("bth,eih->beti", x, self.first))
        return torch.einsum("beti,eih,bte->bth", inner, self.second, shares) + self.bias


class Plain(torch.nn.Sequential):
    def __init__(self, weights: Mapping[str, torch.Tensor]) -> None:
        super().__init__(linear(weights, "fc1"), torch.nn.GELU(), linear(weights, "fc2"))


def linear(weights: Mapping[str, torch.Tensor], name: str) -> torch.nn.Linear:
    rows, columns = weights[f"{name}.weight"].shape
    made = torch.nn.Linear(columns, rows)
    made.weight.data, made.bias.data = weights[f"{name}.weight"], weights[f"{name}.bias"]
    return made


def nomic_mixture(config: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> torch.nn.Module:
    """The model of a directory's weights, by the names of the hub's repositories."""
    whole = AutoConfig.for_model(**{**config, "rope_theta": config["rotary_emb_base"]}, attn_implementation="eager")
    model = AutoModel.from_config(whole).float().eval()
    tensors = {name: torch.from_numpy(np.array(values)) for name, values in weights.items()}

    def below(front: str) -> dict[str, torch.Tensor]:
        return {name.removeprefix(front): values for name, values in tensors.items() if name.startswith(front)}

    model.embeddings.load_state_dict(
        {**below("embeddings."), **{f"LayerNorm.{k}": v for k, v in below("emb_ln.").items()}}
    )
    for place, layer in enumerate(model.layers):
        front = f"encoder.layers.{place}."
        attention, mlp = below(f"{front}attn."), below(f"{front}mlp.")
        for which, weight, bias in zip(
            "qkv", attention["Wqkv.weight"].chunk(3), attention["Wqkv.bias"].chunk(3), strict=True
        ):
            setattr(layer.self_attn, f"{which}_proj", linear({"w.weight": weight, "w.bias": bias}, "w"))
        layer.self_attn.o_proj = linear(attention, "out_proj")
        layer.post_attention_layernorm.load_state_dict(below(f"{front}norm1."))
        layer.post_mlp_layernorm.load_state_dict(below(f"{front}norm2."))
        layer.mlp = Experts(config, mlp) if "router.layer.weight" in mlp else Plain(mlp)
    return model
