"""What `.ci/run` runs once more on each ISA target beside the best: a line for each, its name and the tests.

That is what depends on kernels. A target with the packing and the loops of the one before it differs in dense matrices
alone, which are those of encoders: tests/native and tests/lowbit compare the bits of its other products.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

from lutmac import _native

ALL = "tests/engine tests/lowbit tests/models"
DENSE = "tests/engine/test_minilm.py tests/lowbit tests/models/test_encoders.py"
TARGETS = Path(__file__).parents[1] / "native" / "targets.def"
ROW = re.compile(r'^LUTMAC_ISA\((\w+), *\w+, *\w+, *"([^"]*)", *(\w+),', re.MULTILINE)


def main() -> None:
    """Prints the lines. A target whose prompts have another arithmetic than its replies is like no other."""
    parts = {name: (packing, loops) for name, packing, loops in ROW.findall(TARGETS.read_text())}
    for before, target in pairwise(_native.available_targets()):
        alike = parts[target] == parts[before] and not _native.computes_by_role(before)
        print(target, DENSE if alike else ALL)


main()
