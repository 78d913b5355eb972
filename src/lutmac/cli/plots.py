"""The pictures that `lutmac bench --plot` draws. Needs matplotlib: the extra `bench`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lutmac.errors import InvalidRequestError

if TYPE_CHECKING:
    from lutmac.cli.kernel_benchmark import KernelReport
    from lutmac.cli.synthetic_benchmark import SyntheticReports


def check_matplotlib() -> None:
    """Raises InvalidRequestError where matplotlib is missing."""
    if importlib.util.find_spec("matplotlib") is None:
        raise InvalidRequestError("--plot needs matplotlib: `pip install lutmac[bench]` brings it")


def plot_roofline(report: KernelReport, folder: Path) -> Path:
    """Every product as a point under its roof: memory on the left, the kernel's own rate in cache on the right.

    x: multiply-accumulates per byte of weights and scales; y: GMAC/s. Returns the picture's path.
    """
    threads = max(report.memory_read)
    figure, axes = _new_figure("multiply-accumulates per byte of weights", "GMAC/s")
    rates = [rate for rate in report.rates if rate.threads == threads]
    for index, name in enumerate(codes.name for codes in report.plan.codes):
        points = [rate for rate in rates if rate.codes == name]
        label = f"{name} bits" if name.isdecimal() else name
        x = [rate.rows * rate.columns * rate.tokens / rate.nbytes for rate in points]
        color = f"C{index}"
        axes.scatter(x, [rate.macs_per_second / 1e9 for rate in points], s=18, color=color, label=label)
        peak, memory = report.peaks[name, threads], report.memory_read[threads]
        knee = peak / memory
        line = [min(x) / 1.5, knee, max(*x, knee) * 1.5]
        axes.plot(line, [min(at * memory, peak) / 1e9 for at in line], color=color, linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_title(f"{report.isa}, {threads} thread(s): memory {report.memory_read[threads] / 1e9:.1f} GB/s")
    return _save(figure, axes, folder / "roofline.png")


def plot_bits(reports: SyntheticReports, folder: Path) -> Path:
    """Decoded tokens per second by bits, and what the memory's read rate would allow. Returns the picture's path."""
    figure, axes = _new_figure("bits per weight", "tokens per second")
    bits = [spec.stored_bits for spec in reports.specs]
    for index, threads in enumerate(reports.reports[0].memory_read):
        color = f"C{index}"
        axes.plot(
            bits, [r.decode_rate(threads) for r in reports.reports], "o-", color=color, label=f"{threads} thread(s)"
        )
        wall = [report.memory_read[threads] / report.bytes_per_token for report in reports.reports]
        axes.plot(bits, wall, "--", color=color, linewidth=0.8, label="the memory's read rate")
    axes.set_xticks(bits)
    axes.set_ylim(bottom=0)
    axes.set_title(f"decode, {reports.specs[0].shape}, {reports.reports[0].isa}")
    return _save(figure, axes, folder / "tokens_by_bits.png")


def _new_figure(x: str, y: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, and slow to import

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(visible=True, linewidth=0.3)
    return figure, axes


def _save(figure: Any, axes: Any, path: Path) -> Path:
    axes.legend(frameon=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise InvalidRequestError(f"cannot write {path}: {error.strerror}") from None
    return path
