"""The model of the kernels: ports by hand, the table of counts whole, the report's figures and mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from lutmac import _native
from lutmac.cli import kernel_bounds
from lutmac.cli.bench_options import BenchOptions
from lutmac.cli.kernel_bounds import LutArray, run_bounds
from lutmac.cli.kernel_codes import parse_codes
from lutmac.cli.kernel_model import CLASSES, Counts, Rates, Work, bound, counted
from lutmac.cli.microarchitectures import CASCADE_LAKE, GOLDEN_COVE, ICE_LAKE, ZEN4, Processor, this_processor
from lutmac.errors import InvalidRequestError

KINDS = {*map(str, range(1, 9)), "ternary", "codebook"}
CPUINFO = """processor\t: 0
vendor_id\t: {vendor}
cpu family\t: {family}
model\t\t: {model}
model name\t: A processor

processor\t: 1
"""


def counts(**of: int) -> Counts:
    return Counts({name: of.get(name, 0) for name in CLASSES})


def test_ports_share_what_may_run_on_several() -> None:
    """On Zen 4 shuffles take pipes 1 and 2, dot products 0 and 1, 512 bits a pipe twice: 3 pairs are 12 in 3."""
    lookups = counts(shuffle512=3, dot512=3, all=6)
    assert lookups.port_cycles(ZEN4) == 4
    assert counts(shuffle512=3).port_cycles(ZEN4) == 3
    assert counts(logic512=3, dot512=3).port_cycles(ZEN4) == 3
    assert counts(shuffle256=3).port_cycles(ZEN4) == 1.5
    # Intel's have one port for shuffles of 512 bits, and two for dot products.
    assert lookups.port_cycles(GOLDEN_COVE) == 3
    assert counts(shuffle512=1, dot512=5).port_cycles(GOLDEN_COVE) == 3
    assert counts(permute2512=1).port_cycles(ICE_LAKE) == 2


def test_loads_stores_and_the_front_end_are_bounds_of_their_own() -> None:
    assert counts(all=12).other_cycles(ZEN4) == 2
    assert counts(load512=4, all=4).other_cycles(ZEN4) == 4
    assert counts(load512=4, all=4).other_cycles(GOLDEN_COVE) == 2
    assert counts(store512=4, all=4).other_cycles(ZEN4) == 8


@pytest.mark.parametrize("target", ["avx512vbmi", "avx512", "avx2"])
def test_every_kernel_was_counted(target: str) -> None:
    rows = {key: found for key, found in counted().items() if key[0] == target}
    assert {kind for _, kind, _, _ in rows} == KINDS
    for kind in KINDS:
        groups = {group for _, name, group, _ in rows if name == kind}
        assert {(group, tokens) for _, name, group, tokens in rows if name == kind} == {
            (group, tokens) for group in groups for tokens in (0, 1, 8, 16)
        }
        for group in groups:  # several tokens share what is done once
            one, many = rows[target, kind, group, 1], rows[target, kind, group, 16]
            assert many.of["all"] < 16 * one.of["all"]


@pytest.mark.parametrize("machine", [ZEN4, ICE_LAKE, GOLDEN_COVE, CASCADE_LAKE], ids=lambda machine: machine.name)
def test_nothing_is_predicted_above_its_ceiling(machine) -> None:
    rates = Rates(clock=3e9, memory=20e9)
    for target, kind, group, tokens in counted():
        if tokens > 0:
            code = "iq4_nl" if kind == "codebook" else kind
            for from_cache in (True, False):
                found = bound(Work(target, code, group, 1024, 1024, tokens, 1 << 19, from_cache), machine, rates)
                assert found is not None
                assert found[0] > found[1] > 0


def test_memory_bounds_a_product_of_one_token() -> None:
    work = Work("avx512vbmi", "4", 128, 4096, 1024, 1, weight_bytes=2 << 20, from_cache=False)
    found = bound(work, ZEN4, Rates(clock=3.7e9, memory=1e9))
    assert found is not None
    assert found[1] == pytest.approx(work.macs / ((2 << 20) / 1e9))
    assert bound(work, None, Rates(3.7e9, 1e9)) is None


def test_tiles_and_unpacking_bound_prompts_on_amx() -> None:
    """512 tokens share what was unpacked, so that tile products alone count: 512 MAC a cycle."""
    work = Work("amx", "4", 128, 1024, 1024, 512, 1 << 19, from_cache=True)
    found = bound(work, GOLDEN_COVE, Rates(clock=2e9, memory=1e9))
    assert found is not None
    assert found[0] == pytest.approx(512 * 2e9)
    assert 0.7 * found[0] < found[1] < found[0]
    few = bound(Work("amx", "4", 128, 1024, 1024, 32, 1 << 19, from_cache=True), GOLDEN_COVE, Rates(2e9, 1e9))
    assert few is not None
    assert few[1] < 0.5 * found[1]
    one = [
        bound(Work(target, "4", 128, 1024, 1024, 1, 1 << 19, from_cache=True), GOLDEN_COVE, Rates(2e9, 1e9))
        for target in ("amx", "avx512vbmi")
    ]
    assert one[0] == one[1]


@pytest.mark.parametrize(
    ("vendor", "family", "model", "found"),
    [
        ("AuthenticAMD", 25, 17, ZEN4),
        ("AuthenticAMD", 25, 1, None),  # Zen 3
        ("GenuineIntel", 6, 0x55, CASCADE_LAKE),
        ("GenuineIntel", 6, 0x6A, ICE_LAKE),
        ("GenuineIntel", 6, 0xAD, GOLDEN_COVE),
        ("GenuineIntel", 6, 0x3C, None),
    ],
)
def test_the_processor_is_found_in_the_table_or_named(tmp_path: Path, vendor, family, model, found) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(CPUINFO.format(vendor=vendor, family=family, model=model))
    processor = this_processor(path)
    assert processor.microarchitecture is found
    assert str(processor) == f"A processor ({vendor} family {family} model {model})"
    assert this_processor(tmp_path / "none").microarchitecture is None


def test_the_array_takes_2_tokens_64_outputs_and_4_inputs_of_a_plane() -> None:
    array = LutArray(clock=1e9, arrays=1)
    assert array.macs_per_second(64, 4, 2, 1) == 64 * 4 * 2 * 1e9
    assert array.macs_per_second(64, 4, 1, 1) == 64 * 4 * 1e9
    assert array.macs_per_second(65, 5, 3, 2) == pytest.approx(65 * 5 * 3 / (2 * 2 * 2 * 2) * 1e9)
    assert LutArray(2e9, 4).macs_per_second(64, 4, 2, 4) == 64 * 4 * 2 * 2e9


def test_every_target_is_measured_beside_its_bounds(monkeypatch, capsys) -> None:
    monkeypatch.setattr(kernel_bounds, "SECONDS", 0.002)
    monkeypatch.setattr(kernel_bounds, "FROM_MEMORY_BYTES", 1 << 20)
    monkeypatch.setattr(kernel_bounds, "MEMORY_MEGABYTES", 4)
    report = run_bounds(parse_codes(["2", "ternary"], 128), LutArray(1e9, 2), lambda done, total, what: None)
    figures = report.as_dict()
    targets = [name for name in _native.available_targets() if name != "portable"]
    assert [*dict.fromkeys(rate.target for rate in report.rates)] == targets
    assert {(rate.codes, rate.tokens, rate.source) for rate in report.rates} == {
        (codes, tokens, source)
        for codes in ("2", "ternary")
        for tokens, source in ((1, "cache"), (8, "cache"), (128, "cache"), (1, "memory"), (8, "memory"))
    }
    assert all(rate.measured > 0 for rate in report.rates)
    array = figures["lut_tensor_core"]
    assert [(rate.codes, rate.tokens) for rate in report.array_rates] == [("2", 1), ("2", 8), ("2", 128)]
    assert array["arrays"] == 2
    report.print()
    printed = capsys.readouterr().out
    assert str(report.machine.processor) in printed
    assert "LUT Tensor Core, 2 array(s) at 1 GHz" in printed


def test_an_unknown_processor_is_measured_without_bounds(monkeypatch, capsys) -> None:
    monkeypatch.setattr(kernel_bounds, "SECONDS", 0.001)
    monkeypatch.setattr(kernel_bounds, "FROM_MEMORY_BYTES", 1 << 20)
    monkeypatch.setattr(kernel_bounds, "MEMORY_MEGABYTES", 4)
    monkeypatch.setattr(kernel_bounds, "this_processor", lambda: Processor("Zhaoxin", 7, 91, "KX-7000"))
    report = run_bounds(parse_codes(["1"], 128), LutArray(1e9, 1), lambda done, total, what: None)
    assert all(rate.ceiling is rate.predicted is None for rate in report.rates)
    report.print()
    assert "KX-7000 (Zhaoxin family 7 model 91): not in the table of microarchitectures" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"arrays": 2}, "--arrays goes with --bounds"),
        ({"array_clock": 2.0}, "--array-clock goes with --bounds"),
        ({"bounds": True, "threads": "2"}, "--threads does not go with --bounds"),
    ],
)
def test_options_that_do_not_go_together_are_told(given: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        BenchOptions(**given).kind("kernels")  # type: ignore[arg-type]
