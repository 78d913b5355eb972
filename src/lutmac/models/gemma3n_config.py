"""What a Gemma 3n checkpoint says of itself, in config.json or in a GGUF file's metadata."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, Self

from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.graph.ir import Graph
from lutmac.models import Tensors
from lutmac.models.config import DecoderConfig
from lutmac.models.config_gguf import read_gguf_decoder_config, read_gguf_windows
from lutmac.models.config_json import read_activation, read_decoder_config, read_ropes_by_type, read_windows
from lutmac.models.gemma2 import with_gemma_scales
from lutmac.models.metadata import MetadataReader
from lutmac.models.rope import RopeConfig
from lutmac.models.shared_keys import layers_of_keys

PERIOD = 5  # the last layer of each period sees all positions
LOCAL_THETA, GLOBAL_THETA = 10000.0, 1e6
SPARSE_LAYERS, SPARSITY = 10, 0.95  # of checkpoints that do not say
SHARING_LAYERS = 15  # of directories that do not say, the last of more than 20
KEEPING_LAYERS = 20  # of GGUF files that do not say: the others read keys and values of these
MOST_STREAMS = 16
DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 262400, "hidden_size": 2048, "intermediate_size": 16384, "num_hidden_layers": 35,
    "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 256, "max_position_embeddings": 32768,
    "hidden_activation": "gelu_pytorch_tanh", "sliding_window": 512, "final_logit_softcapping": 30.0,
    "rope_theta": GLOBAL_THETA, "vocab_size_per_layer_input": 262144, "hidden_size_per_layer_input": 256,
    "altup_active_idx": 0, "altup_num_inputs": 4, "laurel_rank": 64,
}  # fmt: skip


@dataclass(frozen=True)
class Gemma3nConfig(DecoderConfig):
    """A decoder within AltUp.

    per_layer_width: floats of each layer's own embeddings; per_layer_vocab: rows of their table. altup_streams and
    altup_active: see AltUp; altup_correct_scale: whether what gates a layer's own embeddings is scaled. laurel_rank: 0
    where the tensors tell. sparsity: for each layer how many standard deviations above the mean a gate has to be, None
    for all; empty: all layers use all.
    """

    per_layer_width: int = 256
    per_layer_vocab: int = 0
    altup_streams: int = 4
    altup_active: int = 0
    altup_correct_scale: bool = True
    laurel_rank: int = 64
    sparsity: tuple[float | None, ...] = ()

    def __post_init__(self) -> None:
        """Raises as a decoder's, and UnsupportedModelError for more streams than operations have."""
        super().__post_init__()
        if not 1 <= self.altup_streams <= MOST_STREAMS or self.altup_active >= self.altup_streams:
            raise UnsupportedModelError(f"stream {self.altup_active} of {self.altup_streams} (AltUp) is not supported")

    def completed(self, tensors: Tensors, build: Callable[[Self], Graph]) -> Self:
        """The rank of LAuReL is that of its matrix."""
        rank = self.laurel_rank or tensors.rows("model.layers.0.laurel.linear_left.weight")
        return super(Gemma3nConfig, replace(self, laurel_rank=rank)).completed(tensors, build)


def read_config(config: Mapping[str, Any]) -> Gemma3nConfig:
    """The keys of a config.json."""
    config = {**DEFAULTS, **config}
    read = MetadataReader(config, "")
    layers = read.integer("num_hidden_layers")
    widths = read.for_layers("intermediate_size", layers)
    plain = {**config, "intermediate_size": widths[0], "rope_parameters": None, "rope_scaling": None}
    decoder = read_decoder_config(plain)
    windows = read_windows(config, layers, lambda layer: (layer + 1) % PERIOD != 0)
    sharing = read.integer("num_kv_shared_layers", SHARING_LAYERS if layers > KEEPING_LAYERS else 0, low=0)
    rope, local_rope = read_ropes_by_type(config, decoder.head_dim, LOCAL_THETA)
    decoder = replace(
        with_gemma_scales(decoder, 1.0, read),
        rope=rope,
        local_rope=local_rope,
        windows=windows,
        layer_widths=widths,
        keys_of=layers_of_keys(windows, layers, sharing),
        activation=read_activation(config, "hidden_activation"),
    )
    return Gemma3nConfig(
        **vars(decoder),
        per_layer_width=read.integer("hidden_size_per_layer_input"),
        per_layer_vocab=read.integer("vocab_size_per_layer_input"),
        altup_streams=read.integer("altup_num_inputs"),
        altup_active=read.integer("altup_active_idx", low=0),
        altup_correct_scale=config.get("altup_correct_scale", True) is True,
        laurel_rank=read.integer("laurel_rank"),
        sparsity=_sparsity(config.get("activation_sparsity_pattern"), layers),
    )


def _sparsity(shares: Any, layers: int) -> tuple[float | None, ...]:
    """Deviations above the mean beyond which a share of normal floats lies, for each layer."""
    if shares is None:
        sparse = SPARSE_LAYERS if layers > SPARSE_LAYERS else 0
        shares = [SPARSITY] * sparse + [0.0] * (layers - sparse)
    shares = [shares] * layers if isinstance(shares, int | float) else shares
    valid = isinstance(shares, list) and all(isinstance(share, int | float) and 0 <= share < 1 for share in shares)
    if not valid or len(shares) != layers:
        raise CheckpointError(f"activation_sparsity_pattern is {shares!r:.60}, expected {layers} shares below 1")
    return tuple(NormalDist().inv_cdf(share) if share else None for share in shares)


def read_gguf_config(metadata: Mapping[str, Any]) -> Gemma3nConfig:
    """GGUF's keys."""
    read = MetadataReader({"gemma3n.rope.freq_base": GLOBAL_THETA, **metadata}, "gemma3n")
    layers = read.integer("block_count")
    widths = read.for_layers("feed_forward_length", layers)
    decoder = read_gguf_decoder_config(
        {**read.metadata, "gemma3n.feed_forward_length": widths[0]}, "gemma3n", "half_split"
    )
    windows = read_gguf_windows(read, layers, lambda layer: (layer + 1) % PERIOD != 0)
    sharing = read.integer("attention.shared_kv_layers", max(0, layers - KEEPING_LAYERS), low=0)
    theta = read.number("rope.freq_base_swa", LOCAL_THETA)
    decoder = replace(
        with_gemma_scales(decoder, 1.0, read),
        windows=windows,
        local_rope=RopeConfig("half_split", decoder.rope.rotary_dim, theta),
        layer_widths=widths,
        keys_of=layers_of_keys(windows, layers, sharing),
        activation="gelu_tanh",
        logits_softcap=read.number("final_logit_softcapping", DEFAULTS["final_logit_softcapping"]),
    )
    return Gemma3nConfig(
        **vars(decoder),
        per_layer_width=read.integer("embedding_length_per_layer_input", 256),
        per_layer_vocab=decoder.vocab_size,
        altup_streams=read.integer("altup.num_inputs", 4),
        altup_active=read.integer("altup.active_idx", 0, low=0),
        laurel_rank=0,
        sparsity=_gguf_sparsity(metadata.get("gemma3n.activation_sparsity_scale"), layers),
    )


def _gguf_sparsity(deviations: Any, layers: int) -> tuple[float | None, ...]:
    """-inf stands for a layer that uses all gates."""
    if deviations is None:
        return _sparsity(None, layers)
    found = [float(value) for value in deviations] if hasattr(deviations, "__len__") else []
    if len(found) < layers:
        raise CheckpointError(f"gemma3n.activation_sparsity_scale is not {layers} numbers: {deviations!r:.60}")
    return tuple(value if value > float("-inf") else None for value in found[:layers])
