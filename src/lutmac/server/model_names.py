"""Which models a server of several has, and by which names: those on its command line, and those in a directory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

from lutmac.checkpoints.gguf_parts import part_names
from lutmac.checkpoints.huggingface import CONFIG_FILE
from lutmac.errors import InvalidRequestError

SUFFIX: Final = ".gguf"
NO_MODEL: Final = "mmproj"  # what names of files begin with that are parts of models
FRESH_SECONDS: Final = 1.0  # for which a look into the directory is good enough


@dataclass(frozen=True)
class ModelSource:
    """names: of the model, the first is what it is listed as. path_or_name: what ``load`` takes."""

    names: tuple[str, ...]
    path_or_name: str


class Roster:
    """The models that there are. What is new in the directory is seen when somebody asks."""

    def __init__(self, given: Sequence[str], directory: Path | None, aliases: Sequence[tuple[str, str]]) -> None:
        """given: paths or names. aliases: (what clients send, which model).

        Raises InvalidRequestError for a directory that is none, for two models of one name, and for an alias of
        nothing.
        """
        if directory is not None and not directory.is_dir():
            raise InvalidRequestError(f"--models {directory}: no such directory")
        self._given = [(default_name(one), one) for one in given]
        self._directory = directory
        self._aliases = tuple(aliases)
        self._found: list[ModelSource] = []
        self._looked_at = -FRESH_SECONDS
        self._check()

    def sources(self, *, now: bool = False) -> list[ModelSource]:
        """The models, those of the command line first. now: looks into the directory whenever it did so last."""
        if now or monotonic() - self._looked_at >= FRESH_SECONDS:
            self._found, self._looked_at = self._look(), monotonic()
        return self._found

    def _look(self) -> list[ModelSource]:
        places = dict(self._given)
        given = {Path(one).resolve() for _, one in self._given}
        for path in _models_in(self._directory) if self._directory is not None else ():
            if path.resolve() not in given:
                name = _short(path)
                places.setdefault(path.name if name in places else name, str(path))
        also: dict[str, list[str]] = {}
        for alias, target in self._aliases:
            for name, place in places.items():
                if target in (name, place, Path(place).name):
                    also.setdefault(name, []).append(alias)
                    break
        return [ModelSource((name, *also.get(name, ())), place) for name, place in places.items()]

    def _check(self) -> None:
        names = [name for name, _ in self._given]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InvalidRequestError(f"two models are called {twice}: rename one, or give it once")
        sources = self.sources()
        known = {name for source in sources for name in source.names[1:]}
        for alias, target in self._aliases:
            if any(alias == source.names[0] for source in sources):
                raise InvalidRequestError(f"--name {alias}={target}: {alias} is the name of a model")
            if alias not in known and self._directory is None:
                raise InvalidRequestError(f"--name {alias}={target}: {target} is none of {', '.join(names)}")


def default_name(path_or_name: str) -> str:
    """What a model is called where nobody says: as it was asked for, without directories and suffix."""
    return path_or_name if path_or_name.startswith("hf:") else Path(path_or_name).name.removesuffix(SUFFIX)


def parse_alias(text: str) -> tuple[str, str]:
    """`"gpt-4=smollm2"` to ("gpt-4", "smollm2"). Raises InvalidRequestError for anything else."""
    alias, _, target = text.partition("=")
    if not alias or not target:
        raise InvalidRequestError(f"--name {text!r} is not of the form ALIAS=MODEL, which several models want")
    return alias, target


def _short(path: Path) -> str:
    """The name of a model in the directory: a file's without its suffix and its number among parts."""
    parts = part_names(path.name)
    stem = path.name.removesuffix(SUFFIX) if path.is_file() else path.name
    return stem[: -len("-00001-of-00001")] if len(parts) > 1 else stem


def _models_in(directory: Path) -> Iterator[Path]:
    """Files and directories that look like models, by name. A directory may hold the parts of one GGUF file."""
    for path in _sorted(directory):
        if path.name.startswith("."):
            continue
        if not path.is_dir():
            if _is_model_file(path):
                yield path
        elif (path / CONFIG_FILE).is_file():
            yield path
        else:
            yield from (inner for inner in _sorted(path) if _is_model_file(inner))


def _sorted(directory: Path) -> list[Path]:
    with suppress(OSError):  # it went away meanwhile
        return sorted(directory.iterdir())
    return []


def _is_model_file(path: Path) -> bool:
    """Whether it is a GGUF file, and of several parts the first, and not the part of a model that sees images."""
    name = path.name
    is_gguf = name.endswith(SUFFIX) and not name.startswith((".", NO_MODEL)) and part_names(name)[0] == name
    return is_gguf and path.is_file()
