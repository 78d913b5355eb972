"""`lutmac tune`: finds what suits this machine, and keeps it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lutmac.cli import options
from lutmac.cli.option_groups import OptionGroup
from lutmac.cli.output import ProgressBar, print_json
from lutmac.errors import InvalidRequestError

if TYPE_CHECKING:
    from lutmac.cli.tune_search import Found


class Goal(StrEnum):
    """What to make small: time, or energy."""

    speed = "speed"
    energy = "energy"


SHAPE: Final = "smollm2-135m"
BITS: Final = 4
REPEAT: Final = 5

For = Annotated[
    Goal | None,
    typer.Option(
        "--for",
        help="What to tune for; default: speed. Energy: the least within 5% of the best speed; CPU time where nothing "
        "counts joules.",
    ),
]
Shape = Annotated[
    str | None,
    typer.Option("--shape", metavar="SHAPE", help=f"Shape of the model of random weights; default: {SHAPE}."),
]
Bits = Annotated[
    int | None, typer.Option("--bits", min=1, max=8, help=f"Bits per weight of that model; default: {BITS}.")
]
Layers = Annotated[int | None, typer.Option("--layers", min=1, help="Fewer layers than the shape has.")]
Repeat = Annotated[
    int | None,
    typer.Option("--repeat", "-r", min=1, help=f"Rounds in which candidates take turns; default: {REPEAT}."),
]
Reset = Annotated[bool, typer.Option("--reset", help="Forget what was found, and go back to the defaults.")]


@dataclass(frozen=True)
class TuneOptions(OptionGroup):
    """What the command line says about the search. None: as it is where nobody says anything."""

    goal: For = None
    shape: Shape = None
    bits: Bits = None
    layers: Layers = None
    repeat: Repeat = None
    reset: Reset = False

    def check(self) -> None:
        """Raises InvalidRequestError for options of a search where there is to be none."""
        names = {"goal": "--for"}
        given = [names.get(name, f"--{name}") for name, value in vars(self).items() if value not in (None, False)]
        if self.reset and len(given) > 1:
            raise InvalidRequestError(f"{given[0]} does not go with --reset, which measures nothing")


def tune(*, given: TuneOptions, as_json: options.AsJson = False) -> None:
    """Find this machine's best settings. Every later command uses them; results stay the same bit for bit.

    Example: lutmac tune

    Example: lutmac tune --for energy
    """
    given.check()
    if given.reset:
        _reset(as_json=as_json)
        return
    from lutmac.cli.energy import NO_COUNTERS, machine_meter  # noqa: PLC0415 - rarely asked for
    from lutmac.engine.loading.tuning import save_tuning, tuning_path  # noqa: PLC0415

    meter, goal, path = machine_meter(), given.goal or Goal.speed, tuning_path()
    with ProgressBar(shown=not as_json) as bar:
        found = _search(given, goal, bar)
    save_tuning(path, found.tuning)
    measured = "seconds" if goal is Goal.speed else "core-seconds" if meter is None else "joules"
    if as_json:
        trials = [asdict(trial) for trial in found.trials]
        report = {"path": str(path), "for": goal.value, "measured": measured, "gain": found.gain}
        print_json({**report, "tuning": asdict(found.tuning), "trials": trials})
        return
    if goal is Goal.energy:
        print(NO_COUNTERS if meter is None else meter)
    for trial in found.trials:
        print(f"{trial.parameter} {trial.value}: {trial.ratio:.3f} of the {measured}")
    chosen = ", ".join(f"{name} {value}" for name, value in asdict(found.tuning).items() if value is not None)
    print(f"{chosen}: {(1 - 1 / found.gain) * 100:.1f}% less {measured} than the defaults")
    print(f"kept in {path}")


def _search(given: TuneOptions, goal: Goal, bar: ProgressBar) -> Found:
    """Measures a model of random weights under one tuning after the other."""
    from lutmac.cli.tune_search import Search, thread_candidates  # noqa: PLC0415
    from lutmac.cli.tune_workload import PROMPT_TOKENS, Workload  # noqa: PLC0415
    from lutmac.engine.loading.tuning import Tuning  # noqa: PLC0415
    from lutmac.engine.measuring.synthetic import SyntheticSpec, make_synthetic  # noqa: PLC0415
    from lutmac.lowbit.target import resolve_target  # noqa: PLC0415

    threads = Tuning().thread_count
    spec = SyntheticSpec(given.shape or SHAPE, given.bits or BITS, 32, layers=given.layers)
    model = make_synthetic(spec, target=resolve_target(None), threads=threads, context=2 * PROMPT_TOKENS, progress=bar)
    search = Search(Workload(model).prices, goal.value, given.repeat or REPEAT, bar)
    return search.run(thread_candidates(threads))


def _reset(*, as_json: bool) -> None:
    from lutmac.engine.loading.tuning import remove_tuning, tuning_path  # noqa: PLC0415 - imports the engine

    path = tuning_path()
    removed = remove_tuning(path)
    if as_json:
        print_json({"path": str(path), "removed": removed})
    else:
        print(f"removed {path}: the defaults hold" if removed else f"there is no {path}: the defaults hold")
