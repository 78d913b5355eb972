"""`lutmac bench kernels` on small shapes: every kind of codes that it knows is measured and reported."""

from __future__ import annotations

import pytest

from lutmac.cli import kernel_benchmark
from lutmac.cli.kernel_benchmark import KernelPlan, run_kernels
from lutmac.cli.kernel_codes import parse_codes

KINDS = "1,4,8,ternary,iq4_nl,mxfp4,nvfp4,nf4"
# Codes and scales: f16 for each 128 weights or row, f16 for each 32 or 64, a byte for each 32 or 16.
BITS_PER_WEIGHT = (1 + 16 / 128, 4 + 16 / 128, 8 + 16 / 128, 1.6 + 16 / 320, 4.5, 4.25, 4.5, 4.25)


def test_every_kind_of_codes_is_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(kernel_benchmark, "SHAPES", ((256, 640),))
    monkeypatch.setattr(kernel_benchmark, "FROM_MEMORY_BYTES", 100_000)
    monkeypatch.setattr(kernel_benchmark, "MEMORY_MEGABYTES", 16)
    report = run_kernels(KernelPlan(parse_codes(KINDS.split(","), 128), (1, 8), 1), [1], lambda *_: None)
    rates = report.as_dict()["kernels"]
    assert isinstance(rates, list)
    assert [(rate["codes"], rate["tokens"]) for rate in rates] == [(n, t) for n in KINDS.split(",") for t in (1, 8)]
    for rate, bits in zip(rates[::2], BITS_PER_WEIGHT, strict=True):
        assert rate["nbytes"] * 8 / (256 * 640) == pytest.approx(bits, rel=0.06)  # lengths are multiples of 64
        assert rate["gmac_per_second"] > 0
    report.print()
    assert "nvfp4" in capsys.readouterr().out
