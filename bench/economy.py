"""What corrections are worth when they spread: `python bench/economy.py --languages lug tsn --json economy.json`.

The product's own loop (`xner-label simulate`) on real text, with weights that never saw the language: every order
of review at growing budgets, questions about names after them, both in one queue, reviewers who err, and what the
same answers were worth if each changed its own sentence alone. A quarter of an hour of CPU for each language;
`--quick`: the default order alone.

Each loop is written as it ends; the same command goes on where an earlier one with the same weights ended, and
`--seconds 400` begins no loop after so long. `--summary` prints what is written and runs nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec
from lowres import CorpusTask, left_out_weights, read_corpus

import xner_label
from xner_label.projection.loglinear.weights_file import Weights
from xner_label.review.queue import ONE_QUEUE
from xner_label.settings.choices import DEFAULT_STRATEGY, STRATEGIES
from xner_label.simulation.curves import plot_curves
from xner_label.simulation.loop import Run, Simulation

BUDGETS = (0, 50, 100, 200, 500)
MINUTES = (5, 10, 20, 30, 40, 50, 60)  # of the one queue
NAMES = 100  # ten minutes of them
DRAWN = frozenset({"random", "mix"})  # strategies that draw, so that one seed says little
TEXT = (DEFAULT_STRATEGY, "random")  # orders whose text models are trained, two a state


class Row(msgspec.Struct, frozen=True):
    """One state of one loop; ``error`` is the reviewer's, ``seconds`` what the loop took up to here."""

    language: str
    error: float
    seconds: float
    run: Run


class Results(msgspec.Struct):
    """What was measured so far: ``loops`` that ended, by name, and the digest of each language's weights."""

    version: str
    python: str
    weights: dict[str, str]
    loops: dict[str, list[Row]]


class Loop(NamedTuple):
    """A loop to run; everything that its states depend on is in its name. ``error`` is the reviewer's."""

    language: str
    strategy: str
    budgets: tuple[int, ...]
    names: tuple[int, ...]
    seed: int
    error: float
    text: bool = False

    @property
    def name(self) -> str:
        steps = ",".join(map(str, self.budgets))
        asked = f" names {','.join(map(str, self.names))}" if self.names else ""
        trained = " text" if self.text else ""
        return f"{self.language} {self.strategy} {steps}{asked} seed {self.seed} error {self.error:g}{trained}"


def main() -> None:
    parser = argparse.ArgumentParser(prog=sys.argv[0], description=__doc__)
    parser.add_argument("--languages", nargs="+", default=["lug", "tsn"])
    parser.add_argument("--strategies", nargs="+", default=[*STRATEGIES, ONE_QUEUE])
    parser.add_argument("--budgets", nargs="+", type=int, default=list(BUDGETS))
    parser.add_argument("--seeds", type=int, default=3, help="draws of the strategies that draw, and of errors")
    parser.add_argument("--errors", nargs="*", type=float, default=[0.05])
    parser.add_argument("--quick", action="store_true", help="the default order, no errors")
    parser.add_argument("--weights", type=Path, help="folder that keeps the fitted weights between runs")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no loop after so long")
    parser.add_argument("--json", type=Path, default=Path("economy.json"))
    parser.add_argument("--plot", type=Path, help="file of the learning curves (needs matplotlib)")
    parser.add_argument("--summary", action="store_true", help="print what is in the file and run nothing")
    options = parser.parse_args()
    results = read(options.json)
    if not options.summary:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            for language in options.languages:
                run_loops(language, options, results, options.weights or Path(folder), began)
    summarise(results)
    if options.plot:
        by_language: dict[str, Sequence[Run]] = {
            language: [
                row.run
                for rows in results.loops.values()
                for row in rows
                if row.language == language and not row.error
            ]
            for language in options.languages
        }
        plot_curves(by_language, options.plot)


def read(file: Path) -> Results:
    """The results of earlier runs, empty where there are none."""
    if file.exists():
        return msgspec.json.decode(file.read_bytes(), type=Results)
    return Results(xner_label.__version__, sys.version.split()[0], {}, {})


def run_loops(language: str, options: argparse.Namespace, results: Results, folder: Path, began: float) -> None:
    """Run the loops of a language that ``results`` lacks, and write each as it ends."""
    todo = [loop for loop in loops(language, options) if loop.name not in results.loops]
    if not todo or time.monotonic() - began > options.seconds:
        return
    weights = fitted(language, folder)
    if results.weights.setdefault(language, weights.digest) != weights.digest:
        sys.exit(f"{options.json} was made with other weights for {language}: give another file")
    corpus = read_corpus(language)
    simulation = Simulation(split_of(corpus, "train"), split_of(corpus, "test"), weights)
    for loop in todo:
        if time.monotonic() - began > options.seconds:
            print(f"time is up; {loop.name} and what comes after it are left", flush=True)
            return
        results.loops[loop.name] = list(states(loop, simulation))
        for row in results.loops[loop.name]:
            print(line(row), flush=True)
        unfinished = options.json.with_suffix(".part")
        unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
        unfinished.replace(options.json)


def fitted(language: str, folder: Path) -> Weights:
    """Weights that never saw a language, from the folder if they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"without-{language}.json"
    return Weights.load(file if file.exists() else left_out_weights(language, folder))


def loops(language: str, options: argparse.Namespace) -> Iterator[Loop]:
    """Every loop on one language, those that the most is asked of first."""
    budgets = tuple(sorted(set(options.budgets)))
    strategies = [DEFAULT_STRATEGY] if options.quick else options.strategies
    if DEFAULT_STRATEGY in strategies:
        yield Loop(language, DEFAULT_STRATEGY, budgets, (NAMES,), 0, 0.0)
        for error in [] if options.quick else options.errors:
            for seed in range(options.seeds):
                yield Loop(language, DEFAULT_STRATEGY, budgets, (), seed, error)
    for strategy in strategies:
        if strategy == ONE_QUEUE:
            yield Loop(language, strategy, MINUTES, (), 0, 0.0)
        elif strategy != DEFAULT_STRATEGY:
            for seed in range(options.seeds if strategy in DRAWN else 1):
                yield Loop(language, strategy, budgets, (), seed, 0.0)
    for strategy in TEXT:
        if strategy in strategies:
            yield Loop(language, strategy, budgets, (), 0, 0.0, text=True)


def states(loop: Loop, simulation: Simulation) -> Iterator[Row]:
    """The states of a loop."""
    start = time.process_time()
    runs = (
        simulation.run_queue(loop.budgets, text=False)
        if loop.strategy == ONE_QUEUE
        else simulation.run(
            loop.strategy,
            loop.budgets,
            names=loop.names,
            seed=loop.seed,
            error=loop.error,
            text=loop.text,
        )
    )
    for run in runs:
        yield Row(loop.language, loop.error, round(time.process_time() - start, 1), run)


def split_of(corpus: Sequence[CorpusTask], split: str) -> list[CorpusTask]:
    return [task for task in corpus if task.split == split]


def line(row: Row) -> str:
    run = row.run
    scores = (run.pool_f1, run.rest_f1, run.test_f1, run.text_f1, run.auroc, run.auroc_at_cut, run.ece)
    shown = " ".join("    -" if score is None else f"{score:.4f}" for score in scores)
    head = (
        f"{row.language} {run.strategy:<16} seed {run.seed} error {row.error:g} N={run.budget} names={run.names}"
    )
    return f"{head} {run.tokens} tokens {run.minutes:.1f} min | {shown} | replaced {run.replaced_pool_f1:.4f}"


def summarise(results: Results) -> None:
    """Print every state, draws averaged, with the minutes that the default order needs for the same F1 of the pool
    where each answer changes its own sentence alone, over the state's own."""
    groups: dict[tuple[str, str, float, int, int], list[Run]] = {}
    for rows in results.loops.values():
        for row in rows:
            # the queue's steps are minutes, which errors don't change
            step = round(row.run.minutes) if row.run.strategy == ONE_QUEUE else row.run.budget
            asked = 0 if row.run.strategy == ONE_QUEUE else row.run.names
            group = groups.setdefault((row.language, row.run.strategy, row.error, step, asked), [])
            same = [run.seed for run in group]
            if row.run.seed not in same:
                group.append(row.run)
            elif row.run.text_f1 is not None:
                group[same.index(row.run.seed)] = row.run
    today = {language: replaced_curve(results, language) for language in results.weights}
    print("language strategy error step names draws | minutes pool rest test text gold silver | AUROC at-cut ECE")
    for (language, strategy, error, step, asked), runs in sorted(groups.items()):
        fields = ("pool_f1", "rest_f1", "test_f1", "text_f1", "gold_only_text_f1", "full_silver_text_f1")
        others = ("auroc", "auroc_at_cut", "ece")
        shown = [" ".join(mean(runs, name) for name in names) for names in (("minutes",), fields, others)]
        replaced = " ".join(mean(runs, f"replaced_{name}") for name in fields[:3])
        minutes = sum(run.minutes for run in runs) / len(runs)
        needed = minutes_for(today[language], sum(run.pool_f1 for run in runs) / len(runs))
        ratio = f"{needed / minutes:.2f}" if needed and minutes else "-"
        print(language, strategy, error, step, asked, len(runs), "|", " | ".join(shown), "| replaced", replaced)
        print("    minutes of replacing over these:", ratio, "| 95 %:", *intervals(runs))


def replaced_curve(results: Results, language: str) -> list[tuple[float, float]]:
    """(minutes, F1 of the pool) of the default order where each answer changes its own sentence alone."""
    points = {
        (row.run.minutes, row.run.replaced_pool_f1)
        for rows in results.loops.values()
        for row in rows
        if (row.language, row.run.strategy, row.error, row.run.names) == (language, DEFAULT_STRATEGY, 0.0, 0)
    }
    return sorted(points)


def minutes_for(points: Sequence[tuple[float, float]], score: float) -> float | None:
    """Where a curve of (minutes, score) reaches a score, between its points; None where it doesn't."""
    for (before, low), (after, high) in pairwise(points):
        if low <= score <= high and high > low:
            return before + (after - before) * (score - low) / (high - low)
    return None


def mean(runs: Sequence[Run], name: str) -> str:
    values = [getattr(run, name) for run in runs if getattr(run, name) is not None]
    return f"{sum(values) / len(values):.4f}" if values else "-"


def intervals(runs: Sequence[Run]) -> list[str]:
    """The intervals of a state of one draw; the scores of each draw where there are several."""
    if len(runs) > 1:
        return [f"{run.pool_f1:.4f}/{run.rest_f1:.4f}/{run.test_f1:.4f}" for run in runs]
    run = runs[0]
    return [
        f"{name} [{low:.3f}, {high:.3f}]"
        for name, (low, high) in (
            ("pool", run.pool_f1_ci95),
            ("rest", run.rest_f1_ci95),
            ("test", run.test_f1_ci95),
            ("gain pool", run.pool_gain_ci95),
            ("gain rest", run.rest_gain_ci95),
            ("gain test", run.test_gain_ci95),
        )
    ]


if __name__ == "__main__":
    main()
