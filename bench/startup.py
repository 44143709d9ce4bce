"""How long `xner-label --help` takes beside a bare interpreter: `python bench/startup.py --runs 15`."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "python -c 'import click'": ["-c", "import click"],
    "xner-label --version": ["-m", "xner_label", "--version"],
    "xner-label --help": ["-m", "xner_label", "--help"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15, help="runs of each command, taken in turn")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    arguments = parser.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(arguments.runs + 1):
        for name, command in COMMANDS.items():
            begin = time.perf_counter()
            subprocess.run([sys.executable, *command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - begin)
    # The first run of each compiles and fills the disk cache.
    medians = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    print(f"{'command':28} {'median':>8}   of {arguments.runs} runs")
    for name, median in medians.items():
        print(f"{name:28} {median:7.3f}s")
    if arguments.json:
        document = {"runs": arguments.runs, "median_seconds": medians, "python": sys.version.split()[0]}
        arguments.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
