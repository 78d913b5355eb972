"""`lutmac tune`: finds what suits this machine, and keeps it."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from lutmac.cli import options
from lutmac.cli.output import ProgressBar, print_json


class Goal(StrEnum):
    """What to make small: time, or energy."""

    speed = "speed"
    energy = "energy"


For = Annotated[Goal, typer.Option("--for", help="What to tune for; energy is CPU time where no counter is readable.")]
Shape = Annotated[str, typer.Option("--shape", metavar="SHAPE", help="Shape of the model of random weights.")]
Bits = Annotated[int, typer.Option("--bits", min=1, max=8, help="Bits per weight of that model.")]
Layers = Annotated[int | None, typer.Option("--layers", min=1, help="Fewer layers than the shape has.")]
Repeat = Annotated[int, typer.Option("--repeat", "-r", min=1, help="Rounds in which candidates take turns.")]
Reset = Annotated[bool, typer.Option("--reset", help="Forget what was found, and go back to the defaults.")]


def tune(
    *,
    goal: For = Goal.speed,
    shape: Shape = "smollm2-135m",
    bits: Bits = 4,
    layers: Layers = None,
    repeat: Repeat = 5,
    reset: Reset = False,
    as_json: options.AsJson = False,
) -> None:
    """Find this machine's best settings. Every later command uses them; results stay the same bit for bit.

    Example: lutmac tune

    Example: lutmac tune --for energy
    """
    from lutmac.engine.loading.tuning import remove_tuning, save_tuning, tuning_path  # noqa: PLC0415 - imports the engine

    path = tuning_path()
    if reset:
        removed = remove_tuning(path)
        if as_json:
            print_json({"path": str(path), "removed": removed})
        else:
            print(f"removed {path}: the defaults hold" if removed else f"there is no {path}: the defaults hold")
        return

    from lutmac.cli.energy import NO_COUNTERS  # noqa: PLC0415 - as above
    from lutmac.cli.stopwatch import machine_counters  # noqa: PLC0415
    from lutmac.cli.tune_search import PROMPT_TOKENS, Workload, search, thread_candidates  # noqa: PLC0415
    from lutmac.engine.loading.tuning import Tuning  # noqa: PLC0415
    from lutmac.engine.measuring.synthetic import SyntheticSpec, make_synthetic  # noqa: PLC0415
    from lutmac.lowbit.target import resolve_target  # noqa: PLC0415

    counters = machine_counters()
    threads = Tuning().thread_count
    with ProgressBar(shown=not as_json) as bar:
        spec = SyntheticSpec(shape, bits, 32, layers=layers)
        model = make_synthetic(
            spec, target=resolve_target(None), threads=threads, context=2 * PROMPT_TOKENS, progress=bar
        )
        workload = Workload(model, goal.value)
        found = search(workload.cost, thread_candidates(threads), repeat, bar)
    save_tuning(path, found.tuning)
    measured = "seconds" if goal is Goal.speed else "joules" if counters else "core-seconds"
    if as_json:
        trials = [asdict(trial) for trial in found.trials]
        report = {"path": str(path), "for": goal.value, "measured": measured, "gain": found.gain}
        print_json({**report, "tuning": asdict(found.tuning), "trials": trials})
        return
    if goal is Goal.energy and not counters:
        print(NO_COUNTERS)
    for trial in found.trials:
        print(f"{trial.parameter} {trial.value}: {trial.ratio:.3f} of the {measured}")
    chosen = ", ".join(f"{name} {value}" for name, value in asdict(found.tuning).items() if value is not None)
    print(f"{chosen}: {(1 - 1 / found.gain) * 100:.1f}% less {measured} than the defaults")
    print(f"kept in {path}")
