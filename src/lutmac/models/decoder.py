"""The decoder that all families vary: Llama's (Touvron et al., 2023). A family's own file has what is different."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from lutmac.graph.ir import Graph, Op, Value, Vector, Weight
from lutmac.graph.operations.activation import Activation, ActivationKind
from lutmac.graph.operations.add import Add
from lutmac.graph.operations.attention import Attention
from lutmac.graph.operations.bidirectional_attention import BidirectionalAttention
from lutmac.graph.operations.embed import Embed
from lutmac.graph.operations.gate_segments import GateSegments
from lutmac.graph.operations.gather_outputs import GatherOutputs
from lutmac.graph.operations.hidden_states import HiddenStates
from lutmac.graph.operations.logits import Logits
from lutmac.graph.operations.matmul import MatMul
from lutmac.graph.operations.multiply import Multiply
from lutmac.graph.operations.rms_norm import RMSNorm
from lutmac.graph.operations.rope_angles import Rope, RopeAngles
from lutmac.graph.operations.rope_store import RopeStore
from lutmac.graph.operations.rotate import Rotate
from lutmac.graph.operations.round_to_int8 import RoundToInt8
from lutmac.graph.operations.scale_by_position import ScaleByPosition
from lutmac.graph.states import Pages
from lutmac.models.config import DecoderConfig


class Decoder:
    """Writes down the operations of one step, top to bottom.

    Methods take Hugging Face's names of weights (``hf``) and values, and return the value that they make, named by
    ``name``. What families call differently: FINAL_NORM; within a layer NORMS, before attention and before the MLP, and
    the MLP's gate, up and down; ATTENTION, and within it its output's product. SINKS: whether heads have a sink.
    """

    FINAL_NORM: ClassVar[str] = "model.norm"
    NORMS: ClassVar[tuple[str, ...]] = ("input_layernorm", "post_attention_layernorm")
    ATTENTION: ClassVar[str] = "self_attn"
    ATTENTION_OUTPUT: ClassVar[str] = "o_proj"
    SINKS: ClassVar[bool] = False
    MLP: ClassVar[tuple[str, str, str]] = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")

    def __init__(self, config: DecoderConfig) -> None:
        """Works out the rotary frequencies, which layers share."""
        self.config = config
        self.ops: list[Op] = []
        self._rounded: dict[Value, Value] = {}
        self._angles: dict[Rope, Value] = {}
        self._rope = config.rope.rope(config.positions)
        self._ropes = {
            theta: replace(config.rope, theta=theta).rope(config.positions)
            for theta in set(config.layer_thetas)
            if theta
        }
        self._local_rope = self._rope if config.local_rope is None else config.local_rope.rope(config.positions)

    def model(self) -> Graph:
        """Embedding, layers, final norm, head."""
        config = self.config
        embedding = Weight("model.embed_tokens.weight", config.vocab_size, config.hidden_size)
        hidden = Value("hidden", config.hidden_size)
        self.write_angles()
        self.ops.append(Embed(embedding, hidden, config.embedding_scale))
        hidden = self.embedded(hidden)
        for layer in range(config.num_hidden_layers):
            hidden = self.decoder_layer(layer, hidden)
        outputs = Value("outputs", hidden.width, rows="outputs")
        self.ops.append(GatherOutputs(hidden, outputs))
        final = self.norm(self.FINAL_NORM, self.last_hidden(outputs), "final")
        if config.bidirectional:
            self.ops.append(HiddenStates(final))
            return Graph(tuple(self.ops))
        head = replace(embedding, name="lm_head.weight") if self.has("lm_head.weight") else embedding
        bias = self.bias("lm_head", config.vocab_size)
        self.ops.append(Logits(head, final, config.logits_softcap, config.logits_scale, bias))
        return Graph(tuple(self.ops))

    def last_hidden(self, outputs: Value) -> Value:
        """What the last norm reads. outputs: of the last layer, the rows that want logits."""
        return outputs

    def embedded(self, hidden: Value) -> Value:
        """What the first layer reads. hidden: the tokens' embeddings."""
        return hidden

    def decoder_layer(self, layer: int, hidden: Value) -> Value:
        """Attention and MLP, each on the norm of the residual stream and added to it."""
        name = f"layers.{layer}"
        before_attention, before_mlp = (f"model.{name}.{norm}" for norm in self.NORMS)
        x = self.norm(before_attention, hidden, f"{name}.attention_input")
        hidden = self.add(hidden, self.attention(layer, x), f"{name}.hidden_after_attention")
        x = self.norm(before_mlp, hidden, f"{name}.mlp_input")
        return self.add(hidden, self.mlp(layer, x), f"{name}.hidden")

    def parallel_decoder_layer(self, layer: int, hidden: Value) -> Value:
        """Attention and MLP on the same norm of the residual stream, both added to it."""
        name = f"layers.{layer}"
        x = self.norm(f"model.{name}.input_layernorm", hidden, f"{name}.input")
        attention, mlp = self.attention(layer, x), self.mlp(layer, x)
        return self.add(self.add(hidden, attention, f"{name}.hidden_after_attention"), mlp, f"{name}.hidden")

    def attention(self, layer: int, x: Value) -> Value:
        """Grouped-query attention (Ainslie et al., 2023) with rotary embeddings."""
        config, name = self.config, f"layers.{layer}"
        q, k, v = self.queries_keys_values(layer, x)
        if config.query_beta:
            scaled = replace(q, name=f"{name}.q_scaled")
            self.ops.append(ScaleByPosition(q, scaled, config.query_beta, config.query_period))
            q = scaled
        if config.bidirectional:
            return self.attention_output(layer, self.attended_in_both_directions(layer, q, k, v))
        rotated, rope = Value(f"{name}.q_rotated", q.width), self.rope(layer)
        angles, heads = self._angles.get(rope), config.heads(layer)
        self.ops.append(RopeStore(self.keys_values(layer), q, k, v, rotated, heads, angles, rope.style))
        return self.attended(layer, x, rotated)

    def attended_in_both_directions(self, layer: int, q: Value, k: Value, v: Value) -> Value:
        """Attention to all tokens of a text, or to those within half of a window; nothing is kept."""
        config, heads, head_dim = self.config, self.config.heads(layer), self.config.head_size(layer)
        rope = self.rope(layer)
        if rope.rotary_dim:
            angles = self.angles_of(rope)
            turned = [replace(x, name=f"{x.name}_rotated") for x in (q, k)]
            self.ops += [Rotate(x, angles, out, head_dim, rope.style) for x, out in zip((q, k), turned, strict=True)]
            q, k = turned
        attended = Value(f"layers.{layer}.attended", q.width)
        scale, reach = self.attention_scale(layer), config.window(layer) // 2
        self.ops.append(
            BidirectionalAttention(q, k, v, attended, heads, config.kv_heads(layer), head_dim, scale, reach)
        )
        return attended

    def attention_scale(self, layer: int) -> float:
        """What scores are multiplied by."""
        scale = self.config.attention_scale
        return self.config.head_size(layer) ** -0.5 if scale is None else scale

    def keys_values(self, layer: int) -> Pages:
        """The keys and values that a layer attends to."""
        config, window, head_dim = self.config, self.config.window(layer), self.config.head_size(layer)
        window = 0 if window >= config.positions else window  # it would see all anyway, from a cache of its own
        name = f"layers.{config.keys_from(layer)}.keys_values"
        return Pages(name, config.kv_heads(layer), head_dim, head_dim, window)

    def attended(self, layer: int, x: Value, rotated: Value) -> Value:
        """What attention adds to the residual stream. x: what the layer reads; rotated: its queries."""
        config, name, heads = self.config, f"layers.{layer}", self.config.heads(layer)
        attended = Value(f"{name}.attended", rotated.width)
        scale = self.attention_scale(layer)
        sinks = Vector(f"model.{name}.{self.ATTENTION}.sinks", heads) if self.SINKS else None
        cache = self.keys_values(layer)
        self.ops.append(Attention(cache, rotated, attended, heads, scale, config.attention_softcap, sinks))
        return self.attention_output(layer, self.gated_attention(layer, x, attended))

    def gated_attention(self, layer: int, x: Value, attended: Value) -> Value:
        """What attention makes, where it has a gate times that. x: what attention reads."""
        return attended

    def write_angles(self) -> None:
        """The angles of each rope that some layer has, for all that have it."""
        for rope in dict.fromkeys(self.rope(layer) for layer in range(self.config.num_hidden_layers)):
            if rope.rotary_dim:
                self.angles_of(rope)

    def angles_of(self, rope: Rope) -> Value:
        """The angles of a rope, which are written once."""
        if rope not in self._angles:
            self._angles[rope] = Value(f"angles.{len(self._angles)}", rope.rotary_dim)
            self.ops.append(RopeAngles(rope, self._angles[rope]))
        return self._angles[rope]

    def queries_keys_values(self, layer: int, x: Value) -> tuple[Value, Value, Value]:
        """What attention works on, before rotation."""
        config, hf, name = self.config, f"model.layers.{layer}.{self.ATTENTION}", f"layers.{layer}"
        width, kv_width = self.query_width(layer), config.kv_heads(layer) * config.head_size(layer)
        if self.has(f"{hf}.qkv_proj.weight"):
            widths = {f"{name}.q": width, f"{name}.k": kv_width, f"{name}.v": kv_width}
            q, k, v = self.parts(f"{hf}.qkv_proj", x, widths)
            return q, k, v
        q = self.linear(f"{hf}.q_proj", x, width, f"{name}.q")
        k = self.linear(f"{hf}.k_proj", x, kv_width, f"{name}.k")
        return q, k, self.values(layer, x, k)

    def values(self, layer: int, x: Value, keys: Value) -> Value:
        """What a layer keeps as values. keys: what its product makes for keys."""
        return self.linear(f"model.layers.{layer}.{self.ATTENTION}.v_proj", x, keys.width, f"layers.{layer}.v")

    def query_width(self, layer: int) -> int:
        """Of what the queries' product makes."""
        return self.config.heads(layer) * self.config.head_size(layer)

    def attention_output(self, layer: int, attended: Value) -> Value:
        """What attention adds to the residual stream."""
        hf = f"model.layers.{layer}.{self.ATTENTION}.{self.ATTENTION_OUTPUT}"
        return self.linear(hf, attended, self.config.hidden_size, f"layers.{layer}.attention")

    def mlp(self, layer: int, x: Value) -> Value:
        """SwiGLU (Shazeer, 2020), or its like with another activation."""
        hf, name, width = f"model.layers.{layer}", f"layers.{layer}", self.config.mlp_width(layer)
        gate_proj, up_proj, down_proj = self.mlp_names(layer)
        if self.has(f"{hf}.mlp.gate_up_proj.weight"):
            gate, up = self.parts(f"{hf}.mlp.gate_up_proj", x, {f"{name}.gate": width, f"{name}.up": width})
        else:
            gate = self.linear(f"{hf}.{gate_proj}", x, width, f"{name}.gate")
            up = self.linear(f"{hf}.{up_proj}", x, width, f"{name}.up")
        gated = self.gated(gate, up, name)
        return self.linear(f"{hf}.{down_proj}", gated, self.config.hidden_size, f"{name}.mlp")

    def mlp_names(self, layer: int) -> tuple[str, str, str]:
        """What a layer calls the MLP's gate, up and down."""
        return self.MLP

    def plain_mlp(self, layer: int, x: Value, inner_product: str, outer_product: str) -> Value:
        """An MLP without a gate: two products, by their names in a layer, and an activation between them."""
        hf, name, config = f"model.layers.{layer}", f"layers.{layer}", self.config
        inner = self.linear(f"{hf}.{inner_product}", x, config.intermediate_size, f"{name}.inner")
        activated = self.activated(layer, inner)
        return self.linear(f"{hf}.{outer_product}", activated, config.hidden_size, f"{name}.mlp")

    def activated(self, layer: int, x: Value) -> Value:
        """activation(x)."""
        activated = replace(x, name=f"layers.{layer}.activated")
        self.ops.append(Activation(self.config.activation, x, activated))
        return activated

    def rope(self, layer: int) -> Rope:
        """The rotation of a layer's queries and keys."""
        thetas = self.config.layer_thetas
        if layer in self.config.no_rope_layers or (thetas and not thetas[layer]):
            return Rope(self._rope.style, 0, ())
        if thetas:
            return self._ropes[thetas[layer]]
        return self._local_rope if self.config.window(layer) else self._rope

    def gated(self, gate: Value, up: Value, name: str) -> Value:
        """activation(gate) * up."""
        activated = replace(gate, name=f"{name}.activated")
        gated = replace(gate, name=f"{name}.gated")
        self.ops += [Activation(self.config.activation, gate, activated), Multiply(activated, up, gated)]
        return gated

    def gated_by(self, kind: ActivationKind, gate: Value, x: Value, name: str) -> Value:
        """x * activation(gate), the gate as wide as x or one for each of its segments."""
        out = replace(x, name=f"{name}d")
        if gate.width != x.width:
            self.ops.append(GateSegments(kind, x, gate, out))
            return out
        opened = replace(gate, name=f"{name}_open")
        self.ops += [Activation(kind, gate, opened), Multiply(opened, x, out)]
        return out

    def linear(self, hf: str, x: Value, width: int, name: str) -> Value:
        """A matrix product, with bias where the checkpoint has one."""
        return self.product(hf, x, Weight(f"{hf}.weight", width, x.width), name)

    def parts(self, hf: str, x: Value, widths: Mapping[str, int]) -> list[Value]:
        """Products with parts of a joint matrix's rows, one after the other, by the names of the results.

        Phi 3 has q, k and v, and gate and up, in one matrix each; a GGUF file of any family may.
        """
        values, first, total = [], 0, sum(widths.values())
        for name, width in widths.items():  # a bias is left unread, which is an error unless it is zero
            weight = Weight.part_of(f"{hf}.weight", width, x.width, first_row=first, of_rows=total)
            values.append(Value(name, width, x.rows))
            self.ops.append(MatMul(weight, self.rounded(x), values[-1], None))
            first += width
        return values

    def product(self, hf: str, x: Value, weight: Weight, name: str) -> Value:
        """A product with a matrix at hand."""
        out = Value(name, weight.rows, x.rows)
        self.ops.append(MatMul(weight, self.rounded(x), out, self.bias(hf, weight.rows)))
        return out

    def bias(self, hf: str, width: int) -> Vector | None:
        """The bias beside a weight, where the checkpoint has one."""
        return Vector(f"{hf}.bias", width) if self.has(f"{hf}.bias") else None

    def has(self, name: str) -> bool:
        """Whether the checkpoint holds a tensor that not all of the family's do."""
        return name in self.config.optional

    def rounded(self, x: Value) -> Value:
        """X as the products of a BitNet layer read it; otherwise x."""
        if not self.config.round_activations:
            return x
        if x not in self._rounded:
            self._rounded[x] = replace(x, name=f"{x.name}_rounded")
            self.ops.append(RoundToInt8(x, self._rounded[x]))
        return self._rounded[x]

    def norm(self, hf: str, x: Value, name: str, width: int | None = None) -> Value:
        """RMSNorm. width: of each segment that is normed by itself, such as a head; None for all of x."""
        out = replace(x, name=name)
        weight = Vector(f"{hf}.weight", width or x.width)
        self.ops.append(RMSNorm(x, weight, self.config.rms_norm_eps, out, self.config.norm_weight_bias))
        return out

    def weightless_norm(self, x: Value, name: str, width: int) -> Value:
        """x / rms(x), of each segment of that width."""
        out = replace(x, name=name)
        self.ops.append(RMSNorm(x, None, self.config.rms_norm_eps, out, segment=width))
        return out

    def add(self, hidden: Value, change: Value, name: str) -> Value:
        """The residual stream, changed."""
        out = replace(hidden, name=name)
        self.ops.append(Add(hidden, change, out, self.config.residual_scale))
        return out
