"""How much the processor's last cache holds."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_CACHES: Final = Path("/sys/devices/system/cpu/cpu0/cache")
_UNITS: Final = {"K": 1024, "M": 1024**2, "G": 1024**3}


def last_level_cache_bytes(caches: Path = _CACHES) -> int:
    """Bytes of the largest cache that the first processor sees; 0 where the system does not say."""
    return max((_bytes(path) for path in caches.glob("index*/size")), default=0)


def _bytes(path: Path) -> int:
    try:
        text = path.read_text(encoding="ascii").strip()
        return int(text[:-1]) * _UNITS[text[-1]] if text[-1:] in _UNITS else int(text)
    except (OSError, ValueError):
        return 0
