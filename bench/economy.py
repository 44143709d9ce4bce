"""What corrections are worth when they spread: `python bench/economy.py --languages lug tsn --json economy.json`.

The product's own loop (`xner-label simulate`) on real text, with weights that never saw the language: every order
of review at growing budgets, questions about names after them, both in one queue, reviewers who err, and what the
same answers were worth if each changed its own sentence alone. Most of an hour of CPU for each language;
`--quick`: the default order alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from lowres import CorpusTask, left_out_weights, read_corpus

import xner_label
from xner_label.projection.loglinear.weights_file import Weights
from xner_label.settings.choices import DEFAULT_STRATEGY, STRATEGIES
from xner_label.simulation.curves import plot_curves
from xner_label.simulation.loop import Run, Simulation

BUDGETS = (0, 50, 100, 200, 500)
MINUTES = (5, 10, 20, 30, 40, 50, 60)  # of the one queue
NAMES = 100  # ten minutes of them
DRAWN = frozenset({"random", "mix"})  # strategies that draw, so that one seed says little


class Row(msgspec.Struct, frozen=True):
    """One state of one loop; ``error`` is the reviewer's, ``seconds`` what the loop took up to here."""

    language: str
    error: float
    seconds: float
    run: Run


def main() -> None:
    parser = argparse.ArgumentParser(prog=sys.argv[0], description=__doc__)
    parser.add_argument("--languages", nargs="+", default=["lug", "tsn"])
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES))
    parser.add_argument("--budgets", nargs="+", type=int, default=list(BUDGETS))
    parser.add_argument("--seeds", type=int, default=3, help="draws of the strategies that draw")
    parser.add_argument("--errors", nargs="+", type=float, default=[0.0, 0.05])
    parser.add_argument("--quick", action="store_true", help="the default order, no errors")
    parser.add_argument("--weights", type=Path, help="folder that keeps the fitted weights between runs")
    parser.add_argument("--json", type=Path, default=Path("economy.json"))
    parser.add_argument("--plot", type=Path, help="file of the learning curves (needs matplotlib)")
    options = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for language in options.languages:
            weights = fitted(language, options.weights or Path(folder))
            for row in loops(language, weights, options):
                rows.append(row)
                print(line(row), flush=True)
                options.json.write_bytes(document(options, rows))
    if options.plot:
        by_language = {
            language: [row.run for row in rows if row.language == language and not row.error]
            for language in options.languages
        }
        plot_curves(by_language, options.plot)


def fitted(language: str, folder: Path) -> Weights:
    """Weights that never saw a language, from the folder if they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"without-{language}.json"
    return Weights.load(file if file.exists() else left_out_weights(language, folder))


def loops(language: str, weights: Weights, options: argparse.Namespace) -> Iterator[Row]:
    """Every loop on one language."""
    corpus = read_corpus(language)
    simulation = Simulation(split_of(corpus, "train"), split_of(corpus, "test"), weights)
    for strategy in [DEFAULT_STRATEGY] if options.quick else options.strategies:
        for error in [0.0] if options.quick else options.errors:
            if error and strategy != DEFAULT_STRATEGY:
                continue
            for seed in range(options.seeds if strategy in DRAWN else 1):
                start = time.process_time()
                budgets = sorted(set(options.budgets))
                names = (NAMES,) if strategy == DEFAULT_STRATEGY else ()
                runs = simulation.run(strategy, budgets, names=names, seed=seed, error=error, text=not error)
                for run in runs:
                    yield Row(language, error, round(time.process_time() - start, 1), run)
    if not options.quick:
        start = time.process_time()
        for run in simulation.run_queue(MINUTES, text=False):
            yield Row(language, 0.0, round(time.process_time() - start, 1), run)


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


def document(options: argparse.Namespace, rows: Sequence[Row]) -> bytes:
    content = {
        "version": xner_label.__version__,
        "python": sys.version.split()[0],
        "languages": options.languages,
        "rows": rows,
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"


if __name__ == "__main__":
    main()
