"""The encoder that families vary: BERT's (Devlin et al., 2018, https://arxiv.org/abs/1810.04805).

Tokens see each other in both directions, and what comes out are hidden states. Heads that classify whole texts, as
rerankers have them, read the first token's, or the mean of all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

from lutmac.graph.ir import Graph, Value, Weight
from lutmac.graph.operations.activation import Activation, ActivationKind
from lutmac.graph.operations.embed import Embed
from lutmac.graph.operations.gather_outputs import GatherOutputs
from lutmac.graph.operations.hidden_states import HiddenStates
from lutmac.graph.operations.logits import Logits
from lutmac.graph.operations.position_embedding import PositionEmbedding
from lutmac.graph.operations.sequence_means import SequenceMeans
from lutmac.graph.operations.slice import Slice
from lutmac.graph.operations.type_embedding import TypeEmbedding
from lutmac.models import Tensors
from lutmac.models.config import DecoderConfig
from lutmac.models.stablelm import LayerNormDecoder

ClassifierPooling = Literal["cls", "mean"]
# Products that make the logits of a head for whole texts.
CLASSIFIERS = ("classifier.out_proj", "classifier")
# Of the heads that models were trained with, which predict words and sentences, and of a pooler that nothing reads.
_OTHER_HEADS = (
    "model.pooler.dense", "cls.predictions", "cls.predictions.decoder", "cls.predictions.transform.dense",
    "cls.predictions.transform.LayerNorm", "cls.seq_relationship", "lm_head", "lm_head.dense", "lm_head.layer_norm",
    "lm_head.decoder", "head.dense", "head.norm", "decoder",
)  # fmt: skip


@dataclass(frozen=True)
class EncoderConfig(DecoderConfig):
    """What a decoder's configuration says too, and what an encoder's says beside it.

    type_vocab_size: rows of the embedding of types. position_rows: rows of the embedding of positions, 0 where it has a
    rope instead; first_position: the row of the first one. classifier_rows: how many logits a head for whole texts has,
    0 for none; classifier_pooling: which hidden state it reads.
    """

    type_vocab_size: int = 0
    position_rows: int = 0
    first_position: int = 0
    classifier_rows: int = 0
    classifier_pooling: ClassifierPooling = "cls"

    def completed(self, tensors: Tensors, build: Callable[[Self], Graph]) -> Self:
        """As a decoder's, and with the size of the head that the checkpoint has."""
        found = (f"{name}.weight" for name in CLASSIFIERS if tensors.has(f"{name}.weight"))
        rows = next((tensors.rows(name) or 1 for name in found), 0)  # one row may be stored as a vector
        with_head = replace(self, classifier_rows=rows)
        return super(EncoderConfig, with_head).completed(tensors, build)

    @property
    def spare_tensors(self) -> tuple[str, ...]:
        """Heads that the model was trained with."""
        return tuple(f"{name}.{kind}" for name in _OTHER_HEADS for kind in ("weight", "bias"))


class Encoder(LayerNormDecoder):
    """Writes down the operations of one step: of an encoder whose norms follow attention and MLP.

    EMBEDDINGS: what the names of the embeddings begin with; WORDS: that of tokens; EMBEDDING_NORM: of the norm over
    their sum. LAYERS: what the names of layers begin with. PARTS: of the parts of a layer, by what they are; a family
    lacks what it has no name for. HEAD_ACTIVATION: of the first layer of a head for whole texts.
    """

    EMBEDDINGS: ClassVar[str] = "model.embeddings"
    WORDS: ClassVar[str] = "word_embeddings"
    EMBEDDING_NORM: ClassVar[str] = "model.embeddings.LayerNorm"
    LAYERS: ClassVar[str]
    PARTS: ClassVar[Mapping[str, str]]
    HEAD_ACTIVATION: ClassVar[ActivationKind] = "tanh"
    config: EncoderConfig

    def __init__(self, config: EncoderConfig) -> None:
        """As a decoder."""
        super().__init__(config)

    def model(self) -> Graph:
        """Embeddings, layers, and a head where there is one."""
        self.write_angles()
        hidden = self.embeddings()
        for layer in range(self.config.num_hidden_layers):
            hidden = self.encoder_layer(layer, hidden)
        hidden = self.final(hidden)
        outputs = Value("outputs", hidden.width, rows="outputs")
        self.ops += [GatherOutputs(hidden, outputs), HiddenStates(outputs)]
        if self.config.classifier_rows:
            if self.config.classifier_pooling == "mean":
                means = replace(outputs, name="means")
                self.ops.append(SequenceMeans(hidden, means))
                outputs = means
            self.classifier(outputs)
        return Graph(tuple(self.ops))

    def embeddings(self) -> Value:
        """Tokens, positions and types, summed and normed."""
        config = self.config
        hidden = Value("tokens", config.hidden_size)
        self.ops.append(Embed(self._table(self.WORDS, config.vocab_size), hidden))
        if config.position_rows:
            positions = replace(hidden, name="positions")
            table = self._table("position_embeddings", config.position_rows)
            self.ops.append(PositionEmbedding(table, positions, config.first_position))
            hidden = self.add(hidden, positions, "tokens_at_positions")
        if config.type_vocab_size and self.has(f"{self.EMBEDDINGS}.token_type_embeddings.weight"):
            types = replace(hidden, name="types")
            self.ops.append(TypeEmbedding(self._table("token_type_embeddings", config.type_vocab_size), types))
            hidden = self.add(hidden, types, "embeddings")
        return self.norm(self.EMBEDDING_NORM, hidden, "hidden")

    def _table(self, name: str, rows: int) -> Weight:
        return Weight(f"{self.EMBEDDINGS}.{name}.weight", rows, self.config.hidden_size)

    def encoder_layer(self, layer: int, hidden: Value) -> Value:
        """Attention and MLP, each added to what it reads and then normed."""
        name, names = f"layers.{layer}", self.PARTS
        changed = self.add(hidden, self.attention(layer, hidden), f"{name}.with_attention")
        hidden = self.norm(self.of_layer(layer, names["attention_norm"]), changed, f"{name}.hidden_after_attention")
        changed = self.add(hidden, self.mlp(layer, hidden), f"{name}.with_mlp")
        return self.norm(self.of_layer(layer, names["mlp_norm"]), changed, f"{name}.hidden")

    def final(self, hidden: Value) -> Value:
        """What the last layer makes, where it is normed once more."""
        return hidden

    def of_layer(self, layer: int, part: str) -> str:
        """The name of a part of a layer."""
        return f"{self.LAYERS}.{layer}.{part}"

    def queries_keys_values(self, layer: int, x: Value) -> tuple[Value, Value, Value]:
        """One product or three."""
        name, names = f"layers.{layer}", self.PARTS
        width, kv_width = self.query_width(layer), self.config.kv_heads(layer) * self.config.head_size(layer)
        widths = {f"{name}.q": width, f"{name}.k": kv_width, f"{name}.v": kv_width}
        joint = self.of_layer(layer, names["qkv"])
        if self.has(f"{joint}.bias"):  # of all three
            whole = self.linear(joint, x, sum(widths.values()), f"{name}.qkv")
            q, k, v = (replace(whole, name=value, width=size) for value, size in widths.items())
            self.ops += [Slice(whole, 0, q), Slice(whole, width, k), Slice(whole, width + kv_width, v)]
            return q, k, v
        if self.has(f"{joint}.weight"):
            q, k, v = self.parts(joint, x, widths)
            return q, k, v
        q, k, v = (
            self.linear(self.of_layer(layer, names[which]), x, width, value)
            for which, (value, width) in zip("qkv", widths.items(), strict=True)
        )
        return q, k, v

    def attention_output(self, layer: int, attended: Value) -> Value:
        """What attention adds."""
        hf = self.of_layer(layer, self.PARTS["output"])
        return self.linear(hf, attended, self.config.hidden_size, f"layers.{layer}.attention")

    def mlp(self, layer: int, x: Value) -> Value:
        """Two products with an activation between them, or three with a gate."""
        config, name, names = self.config, f"layers.{layer}", self.PARTS
        up = self.linear(self.of_layer(layer, names["up"]), x, config.intermediate_size, f"{name}.up")
        if "gate" in names:
            gate = self.linear(self.of_layer(layer, names["gate"]), x, config.intermediate_size, f"{name}.gate")
            inner = self.gated(gate, up, name)
        else:
            inner = self.activated(layer, up)
        return self.linear(self.of_layer(layer, names["down"]), inner, config.hidden_size, f"{name}.mlp")

    def classifier(self, x: Value) -> None:
        """The head for whole texts. x: what it reads of each."""
        raise NotImplementedError(f"{type(self).__name__} has no head")

    def head_layer(self, hf: str, x: Value) -> Value:
        """A product and an activation in front of a head's logits."""
        inner = self.linear(hf, x, x.width, "head.inner")
        activated = replace(inner, name="head.activated")
        self.ops.append(Activation(self.HEAD_ACTIVATION, inner, activated))
        return activated

    def classifier_logits(self, hf: str, x: Value) -> None:
        """The last product of a head."""
        rows = self.config.classifier_rows
        self.ops.append(Logits(Weight(f"{hf}.weight", rows, x.width), x, bias=self.bias(hf, rows)))
