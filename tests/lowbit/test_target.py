"""The table of ISA targets, and what is said of it elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

from lutmac import _native

ROOT = Path(__file__).parents[2]


def test_the_design_lists_the_targets_as_they_are() -> None:
    text = (ROOT / "docs" / "design.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| `?([\w -]*?)`? \| `([\w/]+)` \|$", text, re.MULTILINE)
    assert rows == [(name, features, packing) for name, packing, features in _native.target_table()]


def test_this_build_holds_the_targets_of_its_architecture_in_the_order_of_the_table() -> None:
    names = [name for name, _, _ in _native.target_table()]
    built, available = _native.built_targets(), _native.available_targets()
    assert [name for name in names if name in built] == built
    assert [name for name in built if name in available] == available
    assert built[-1] == available[-1] == "portable"
