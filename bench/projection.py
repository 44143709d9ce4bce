"""Benchmarks of the projection engine: `python bench/projection.py PART [options]`; PART --help says more."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
PARTS = {path.stem.removeprefix("projection_"): path for path in sorted(FOLDER.glob("projection_*.py"))}


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in PARTS:
        sys.exit(f"{__doc__}\nPART is one of: {', '.join(PARTS)}")
    sys.path.insert(0, str(FOLDER.parent))
    path = PARTS[sys.argv.pop(1)]
    sys.argv[0] = f"{sys.argv[0]} {path.stem.removeprefix('projection_')}"
    runpy.run_path(str(path), run_name="__main__")


if __name__ == "__main__":
    main()
