"""Quantising whole models: what is made loads, is near to its source, and a run that was stopped ends the same."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import lutmac
from lutmac import QuantizationSettings
from lutmac.checkpoints.gguf import open_gguf
from lutmac.engine.loading.listing import list_weights
from lutmac.engine.loading.opened import open_model
from lutmac.engine.quantization.budget import allocate
from lutmac.engine.quantization.forward import Forward
from lutmac.engine.quantization.matrices import CurrentWeights
from lutmac.engine.quantization.model import QuantizedModel
from lutmac.engine.quantization.state import QuantizationState
from lutmac.errors import InvalidRequestError
from lutmac.graph.operations.logits import Logits
from tiny_llama import TinyLlama, make_tiny_llama

HUGGING_FACE = Path(__file__).parent.parent / "checkpoints" / "huggingface"
TOKENS = [*b"a1Z~%k k"]
# Of all printable characters, so that the few inputs that a test looks at are like those that it calibrates on.
TEXT = "".join(map(chr, np.random.default_rng(0).integers(32, 127, 700)))
SHORT = {"sequences": 8, "length": 64}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("source") / "tiny.gguf", "F16", biases=True).path


@pytest.fixture(scope="module")
def whole_runs(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], QuantizedModel]:
    """What runs that nobody stopped have made, by method."""

    @cache
    def run(method: str) -> QuantizedModel:
        folder = tmp_path_factory.mktemp("whole") / "out"
        return lutmac.quantize_model(source, folder, to_three_bits(method), calibration=TEXT, threads=1)

    return run


def to_three_bits(method: str) -> QuantizationSettings:
    return QuantizationSettings(bits=3, group_size=64, method=method, **SHORT)  # type: ignore[arg-type]


def logits(path: Path) -> np.ndarray:
    return lutmac.load(path, threads=1, precision="exact").logits(TOKENS)


def distance(path: Path, source: Path) -> float:
    exact = logits(source)
    return float(np.linalg.norm(logits(path) - exact) / np.linalg.norm(exact))


@pytest.mark.parametrize("name", ["bf16", "fp32_tied", "gptq_3bit_act_order_v2", "bnb_nf4", "fp8_block"])
def test_the_forward_pass_of_calibration_is_the_models(name: str, tmp_path: Path) -> None:
    """NumPy in float32 against the engine's exact mode, which keeps keys and values in half precision."""
    path = HUGGING_FACE / name
    with open_model(path) as opened:
        graph, _ = list_weights(opened)
        weights = CurrentWeights(opened, QuantizationState(tmp_path / "x", {}))
        forward = Forward(np.array([TOKENS], np.int32), weights)
        for op in graph.ops:
            forward.run(op)
        outputs = graph.ops[-1]
        assert isinstance(outputs, Logits)
        found = forward.value(outputs.x) @ weights.matrix(outputs.weight.name).T
    exact = logits(path)
    assert np.linalg.norm(found - exact) < 2e-3 * np.linalg.norm(exact)


@pytest.mark.parametrize(
    "settings",
    [
        QuantizationSettings(bits=8, group_size=32),
        QuantizationSettings(bits=4, group_size=32),
        QuantizationSettings(bits=4, group_size=32, symmetric=True),
        QuantizationSettings(bits=4, group_size=None),
        QuantizationSettings(bits=4, group_size=32, method="gptq", **SHORT),
        QuantizationSettings(bits=4, group_size=32, method="awq", **SHORT),
        QuantizationSettings(bits=4, group_size=32, method="afpq"),
        QuantizationSettings(bits=4, group_size=32, method="mofq", **SHORT),
        QuantizationSettings(bits=3, group_size=32, method="afpq"),
        QuantizationSettings(group_size=None, method="ternary"),
        QuantizationSettings(group_size=64, method="ternary"),
    ],
    ids=lambda s: f"{s.method}-{s.bits}-{s.group_size}{'-symmetric' if s.symmetric else ''}",
)
def test_every_method_makes_a_model_that_is_near(source: Path, tmp_path: Path, settings: QuantizationSettings) -> None:
    """Squares of relative errors add up where errors are random; passed on undiminished they make their sum.

    GPTQ's are measured on the inputs that it was fitted to, 512 for up to 512 columns; others see twice as much.
    """
    calibration = TEXT if settings.method in ("gptq", "awq", "mofq") else None
    made = lutmac.quantize_model(source, tmp_path / "out", settings, calibration=calibration, threads=1)
    most = 3 if settings.method == "gptq" else 1.5
    assert distance(made.path, source) ** 2 < most * sum(tensor.error**2 for tensor in made.tensors)
    assert not (tmp_path / "out.quantizing").exists()
    assert made.bytes == sum(file.stat().st_size for file in made.path.iterdir())
    assert {tensor.bits for tensor in made.tensors if "layers" in tensor.name} == {settings.format(settings.bits).bits}


def test_calibrated_errors_are_measured_and_perplexities_reported(source: Path, tmp_path: Path) -> None:
    settings = QuantizationSettings(bits=3, group_size=64, method="gptq", **SHORT)
    gptq = lutmac.quantize_model(source, tmp_path / "a", settings, calibration=TEXT, threads=1)
    plain = QuantizationSettings(bits=3, group_size=64, **SHORT)
    rtn = lutmac.quantize_model(source, tmp_path / "b", plain, calibration=TEXT, evaluation=TEXT, threads=1)
    assert gptq.perplexity_after is None  # less than a window is left of the text
    pairs = [(a.error, b.error) for a, b in zip(gptq.tensors, rtn.tensors, strict=True) if "layers" in a.name]
    assert sum(a**2 for a, _ in pairs) < 0.8 * sum(b**2 for _, b in pairs)
    assert rtn.perplexity_before is not None
    assert rtn.perplexity_after is not None
    assert rtn.perplexity_before < rtn.perplexity_after * 1.5


def test_awq_leaves_the_function_alone_before_rounding(source: Path, tmp_path: Path) -> None:
    """At 8 bits rounding is next to nothing, so what a wrong division by s would do would be seen."""
    settings = QuantizationSettings(bits=8, group_size=32, method="awq", **SHORT)
    made = lutmac.quantize_model(source, tmp_path / "out", settings, calibration=TEXT, threads=1)
    assert distance(made.path, source) < 0.02


@pytest.mark.parametrize(("method", "stop_after"), [("rtn", 9), ("gptq", 1), ("gptq", 30), ("awq", 9), ("awq", 30)])
def test_a_stopped_run_goes_on_and_ends_the_same(
    source: Path, whole_runs: Callable[[str], QuantizedModel], tmp_path: Path, method: str, stop_after: int
) -> None:
    settings, whole = to_three_bits(method), whole_runs(method)
    calls = 0

    def stop(done: int, total: int, what: str) -> None:
        nonlocal calls
        calls += 1
        if calls == stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lutmac.quantize_model(source, tmp_path / "out", settings, calibration=TEXT, threads=1, progress=stop)
    assert not (tmp_path / "out").exists()
    again = lutmac.quantize_model(source, tmp_path / "out", settings, calibration=TEXT, threads=1)
    assert again.tensors == whole.tensors
    assert (again.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_a_run_is_not_taken_up_with_other_settings(source: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int, what: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lutmac.quantize_model(source, tmp_path / "out", QuantizationSettings(bits=3), progress=stop)
    with pytest.raises(InvalidRequestError, match="remove it to begin anew"):
        lutmac.quantize_model(source, tmp_path / "out", QuantizationSettings(bits=2))


@pytest.mark.parametrize("average", [2.75, 3.5, 6.0])
def test_a_budget_is_kept_and_used(source: Path, tmp_path: Path, average: float) -> None:
    settings = QuantizationSettings(group_size=128, average_bits=average, **SHORT)
    made = lutmac.quantize_model(source, tmp_path / "out", settings, calibration=TEXT, threads=1)
    layers = [tensor for tensor in made.tensors if "layers" in tensor.name]
    bits = sum(settings.stored_bits(tensor.bits) * tensor.weights for tensor in layers)
    assert average - 0.5 < bits / sum(tensor.weights for tensor in layers) <= average


def test_bits_go_where_they_are_worth_most() -> None:
    losses = {"hard": (1.0, 0.5, 0.25, 0.1, 0.05, 0.01), "easy": (0.3, 0.1, 0.05, 0.02, 0.01, 0.001)}
    bits = allocate(losses, {"hard": 100, "easy": 100}, QuantizationSettings(average_bits=3.75, group_size=128))
    assert bits == {"hard": 4, "easy": 3}


@pytest.mark.parametrize(
    ("settings", "kinds"),
    [
        (QuantizationSettings(bits=4, group_size=32), {"Q4_1"}),
        (QuantizationSettings(bits=4, group_size=32, symmetric=True), {"Q4_0"}),
        (QuantizationSettings(bits=5, group_size=32, embedding_bits=5, head_bits=4), {"Q5_1"}),
        (QuantizationSettings(bits=5, group_size=32, symmetric=True), {"Q5_0"}),
        (QuantizationSettings(bits=8, group_size=32, symmetric=True), {"Q8_0"}),
        (QuantizationSettings(bits=2, group_size=64, symmetric=True), {"Q2_0"}),
        (QuantizationSettings(bits=1, group_size=128, symmetric=True), {"Q1_0"}),
        (QuantizationSettings(group_size=None, method="ternary"), {"TQ2_0"}),
        (QuantizationSettings(bits=4, group_size=32, method="gptq", **SHORT), {"Q4_1"}),
        *((QuantizationSettings(tensor_type=kind), {kind}) for kind in ("Q2_K", "Q6_K")),
        (QuantizationSettings(tensor_type="Q3_K", method="gptq", **SHORT), {"Q3_K"}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, set) else "",
)  # fmt: skip
def test_gguf_holds_the_same_to_the_bit(
    source: Path, tmp_path: Path, settings: QuantizationSettings, kinds: set[str]
) -> None:
    calibration = TEXT if settings.method == "gptq" else None
    native = lutmac.quantize_model(source, tmp_path / "out", settings, calibration=calibration, threads=1)
    made = lutmac.quantize_model(
        source, tmp_path / "out.gguf", settings, calibration=calibration, output="gguf", threads=1
    )
    with open_gguf(made.path) as file:
        assert {tensor.type_name for name, tensor in file.tensors.items() if "attn_q.weight" in name} == kinds
        assert sum(tensor.nbytes for tensor in file.tensors.values() if len(tensor.shape) == 2) == sum(
            tensor.bytes for tensor in made.tensors
        )
    assert np.array_equal(logits(made.path), logits(native.path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "gptq"}, "needs a calibration text"),
        ({"bits": 9}, "bits is 9"),
        ({"bits": 2, "method": "afpq"}, "floats of 3 and 4 bits"),
        ({"group_size": 48}, "group size is 48"),
        ({"method": "magic"}, "method is 'magic'"),
        ({"average_bits": 3.0, "method": "afpq"}, "average bits go with"),
        ({"tensor_type": "Q4_K", "method": "awq"}, "Q4_K is made by rtn and gptq"),
        ({"tensor_type": "Q8_K"}, "type is 'Q8_K'"),
    ],
)
def test_what_cannot_be_is_said(tiny: TinyLlama, tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        lutmac.quantize_model(tiny.path, tmp_path / "out", QuantizationSettings(**options))  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_gguf_says_what_it_can_hold(tiny: TinyLlama, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="GGUF can hold"):
        lutmac.quantize_model(tiny.path, tmp_path / "out", QuantizationSettings(bits=3), output="gguf")


def test_a_text_too_short_to_calibrate_on_is_refused(tiny: TinyLlama, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="fewer than one sequence of 512"):
        lutmac.quantize_model(tiny.path, tmp_path / "out", QuantizationSettings(method="gptq"), calibration="short")


@pytest.mark.parametrize("name", ["bf16", "bnb_nf4_double", "ct_fp8_block", "mlx_mixed", "modelopt_nvfp4"])
def test_a_directory_is_quantised_too(name: str, tmp_path: Path) -> None:
    path = HUGGING_FACE / name
    made = lutmac.quantize_model(path, tmp_path / "out", QuantizationSettings(bits=8, group_size=32), threads=1)
    assert distance(made.path, path) < 0.02
