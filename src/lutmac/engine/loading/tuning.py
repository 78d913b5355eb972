"""What differs from machine to machine without changing a result, and the file in which `lutmac tune` keeps it."""

from __future__ import annotations

import json
import logging
import os
import platform
import tempfile
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lutmac import _native
from lutmac.errors import InvalidRequestError

FORMAT = 1
BOUNDS = {
    "spin_microseconds": (0, 50),
    "tasks_per_product": (1, 4096),
    "block_kilobytes": (1, 1 << 20),
    "threads": (1, 1024),
    "prompt_threads": (1, 1024),
}


@dataclass(frozen=True)
class Tuning:
    """The free parameters; native/runtime/tuning.h says what they are and why these are the defaults.

    threads, prompt_threads: of models that are loaded without a number, of steps that generate and of those that read a
    prompt; None is one per usable physical core.
    """

    spin_microseconds: int = 50
    tasks_per_product: int = 64
    block_kilobytes: int = 512
    threads: int | None = None
    prompt_threads: int | None = None

    def __post_init__(self) -> None:
        """Raises InvalidRequestError where a value is out of range."""
        for name, (low, high) in BOUNDS.items():
            value = getattr(self, name)
            if value is None and name in ("threads", "prompt_threads"):
                continue
            if type(value) is not int or not low <= value <= high:
                raise InvalidRequestError(f"{name} is {value!r}, expected an integer from {low} to {high}")

    def apply(self) -> None:
        """Makes it hold for the programs made from now on in this process."""
        _native.set_tuning(
            spin_microseconds=self.spin_microseconds,
            tasks_per_product=self.tasks_per_product,
            block_kilobytes=self.block_kilobytes,
        )

    @property
    def thread_count(self) -> int:
        """Threads where nobody says how many: what was found best, but never more than the process may use now."""
        return _usable(self.threads)

    @property
    def prompt_thread_count(self) -> int:
        """The same of steps that read a prompt."""
        return _usable(self.prompt_threads)


def _usable(threads: int | None) -> int:
    usable = _native.default_threads()
    return usable if threads is None else min(threads, usable)


def tuning_path() -> Path:
    """lutmac/tune.json in the user's cache directory: $XDG_CACHE_HOME, else the platform's own place."""
    home = Path.home()
    own = home / "Library" / "Caches" if platform.system() == "Darwin" else home / ".cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or own) / "lutmac" / "tune.json"


def cpu_model() -> str:
    """The processor's name, as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "CPU part"):
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def machine_key() -> str:
    """What a tuning holds for: this processor under this version of lutmac."""
    return f"{cpu_model()}, lutmac {version('lutmac')}"


def read_tuning(path: Path) -> Tuning | None:
    """What is kept for this machine, if anything is. A file that makes no sense is told of in one line and ignored."""
    try:
        entry = _entries(path).get(machine_key())
        if entry is None:
            return None
        names = [field.name for field in fields(Tuning)]
        if not isinstance(entry, dict) or not entry.keys() >= {*names} - {"prompt_threads"}:
            raise ValueError("its entry for this machine lacks parameters")
        return Tuning(**{name: entry[name] for name in names if name in entry})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, InvalidRequestError) as error:
        message = "ignoring %s: %s (`lutmac tune` writes it anew, `lutmac tune --reset` removes it)"
        logging.getLogger("lutmac").warning(message, path, error)
        return None


def save_tuning(path: Path, tuning: Tuning) -> None:
    """Keeps a tuning for this machine, beside those of others; readers see the old file or the new one, whole.

    Raises InvalidRequestError where the file cannot be written.
    """
    try:
        entries = _entries(path)
    except (OSError, ValueError):
        entries = {}
    entries[machine_key()] = asdict(tuning)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=path.name, delete=False
        ) as file:
            json.dump({"format": FORMAT, "machines": entries}, file, indent=2)
            file.write("\n")
        os.replace(file.name, path)
    except OSError as error:
        raise InvalidRequestError(f"cannot write {path}: {error.strerror}") from None


def remove_tuning(path: Path) -> bool:
    """Forgets what is kept, for all machines; whether there was anything. Raises InvalidRequestError."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise InvalidRequestError(f"cannot remove {path}: {error.strerror}") from None
    return True


@cache
def current_tuning() -> Tuning:
    """What holds on this machine: read from the file and applied, once in a process."""
    tuning = read_tuning(tuning_path()) or Tuning()
    tuning.apply()
    return tuning


def _entries(path: Path) -> dict[str, Any]:
    """The file's tunings by machine. Raises OSError, or ValueError where it is not such a file."""
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or found.get("format") != FORMAT or not isinstance(found.get("machines"), dict):
        raise ValueError(f"not a tuning file of format {FORMAT}")
    machines: dict[str, Any] = found["machines"]
    return machines
