"""Where the dynamic programme of the matching loses to HiGHS: mentions that all compete, random scores."""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from xner_label.projection.exact import matching
from xner_label.projection.exact.matching import Candidate, match_milp, rank, undominated
from xner_label.projection.spans import ngrams


def problem(mentions: int, length: int, generator: random.Random) -> list[list[Candidate]]:
    spans = ngrams(0, length, 5)
    ranked = [
        rank([(generator.random() ** 3, *span) for span in generator.sample(spans, min(60, len(spans)))])
        for _ in range(mentions)
    ]
    return [[candidates[index] for index in undominated(candidates)] for candidates in ranked]


def milliseconds(function: Callable[[], object]) -> float:
    begin = time.process_time()
    function()
    return (time.process_time() - begin) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", type=int, default=25, help="target tokens")
    parser.add_argument("--most", type=int, default=12, help="most mentions")
    parser.add_argument("--repeats", type=int, default=7, help="problems of each size")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    arguments = parser.parse_args()
    matching.STEP_LIMIT = sys.maxsize
    match_milp([[(1.0, 0, 1)], [(1.0, 0, 1)]])  # imports scipy
    rows = []
    print(f"{'mentions':>8} {'programme ms':>13} {'HiGHS ms':>9}")
    for mentions in range(2, arguments.most + 1):
        problems = [problem(mentions, arguments.length, random.Random(seed)) for seed in range(arguments.repeats)]
        exact = statistics.median(milliseconds(lambda case=case: matching.match(case)) for case in problems)
        highs = statistics.median(milliseconds(lambda case=case: match_milp(case)) for case in problems)
        rows.append({"mentions": mentions, "programme_ms": exact, "highs_ms": highs})
        print(f"{mentions:8} {exact:13.2f} {highs:9.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"length": arguments.length, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
