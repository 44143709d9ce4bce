"""The loop on real text, without Label Studio: `python bench/loop.py --language lug --reviewed 100`.

A temporary SQLite store takes a corpus (train split as the pool), the pipeline predicts it, a SIMULATED reviewer
answers the chosen tasks with the given gold, and a model is trained before and after. Everything is judged on the
test split of the same file. The orders of review are compared: least confident first (what `push` does) and
random.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
from lowres import LABELS, CorpusTask, left_out_weights, read_corpus

import xner_label
from xner_label.predicting.predictor import Predictor
from xner_label.settings.table import Settings
from xner_label.store import eligible_tasks, migrating, predictions, projects, tasks
from xner_label.store.database import Store, open_store
from xner_label.store.gold import add_imported_gold
from xner_label.studio.corrections import compare
from xner_label.studio.regions import ReviewedEntity
from xner_label.training.evaluation import SystemScores
from xner_label.training.promotion import PromotionReport, promote
from xner_label.training.runs import RunReport, train

PROJECT = "default"
ORDERS = ("least confident", "random")


def fill(store: Store, corpus: Sequence[CorpusTask]) -> dict[str, int]:
    """Import the corpus, with the gold of dev and test alone. Returns the task ids by external id."""
    plain = [(msgspec.structs.replace(task, entities=None), task.split) for task in corpus]
    with store.write() as session:
        project = projects.ensure_project(session, PROJECT, LABELS)
        tasks.add_tasks(session, project.id, plain)
        ids = tasks.ids_by_external(session, project.id, [str(task.id) for task in corpus])
        held_out = {ids[str(task.id)]: task.entities or () for task in corpus if task.split != "train"}
        add_imported_gold(session, held_out)
    return ids


def choose(store: Store, pipeline: str, count: int, order: str, seed: int) -> list[int]:
    """The tasks to review."""
    with store.read() as session:
        project = projects.get_project(session, PROJECT)
        eligible = [task for task, _, _ in eligible_tasks.least_confident(session, project.id, pipeline, "train")]
    if order == "random":
        random.Random(seed).shuffle(eligible)
    return eligible[:count]


def review(store: Store, pipeline: str, chosen: Sequence[int], gold: dict[int, CorpusTask]) -> Counter[str]:
    """Answer tasks with their gold. Returns the corrections by kind."""
    kinds: Counter[str] = Counter()
    with store.write() as session:
        for task_id in chosen:
            prediction = predictions.find_prediction(session, task_id, pipeline)
            assert prediction is not None
            settled = [
                ReviewedEntity("", item.start, item.end, item.label) for item in gold[task_id].entities or ()
            ]
            kinds.update(change.kind for change in compare(prediction.entities, settled))
        add_imported_gold(session, {task_id: gold[task_id].entities or () for task_id in chosen})
    return kinds


def run_loop(corpus: Sequence[CorpusTask], order: str, weights: str, arguments: argparse.Namespace) -> None:
    """One loop over a fresh store; prints as it goes and keeps its figures in ``arguments.figures``."""
    with tempfile.TemporaryDirectory() as name, open_store(f"sqlite:///{name}/store.db", check=False) as store:
        migrating.upgrade(store)
        ids = fill(store, corpus)
        gold = {ids[str(task.id)]: task for task in corpus}
        settings = Settings(labels=LABELS, aligner="given", tagger="given", projector_weights=weights)
        pipeline = Predictor(store, settings).predict_project().pipeline
        models = Path(name) / "models"
        before = train(store, PROJECT, models)
        promote(store, PROJECT, models)
        chosen = choose(store, pipeline, arguments.reviewed, order, arguments.seed)
        kinds = review(store, pipeline, chosen, gold)
        after = train(store, PROJECT, models)
        verdict = promote(store, PROJECT, models)
    _show(order, before, after, kinds, verdict)
    arguments.figures[order] = {
        "pipeline": pipeline,
        "reviewed_tokens": sum(len(gold[task_id].tokens or ()) for task_id in chosen),
        "corrections": kinds,
        "before": before,
        "after": after,
        "promotion": verdict,
    }


def _show(order: str, before: RunReport, after: RunReport, kinds: Counter[str], verdict: PromotionReport) -> None:
    assert before.test is not None
    assert after.test is not None
    assert after.test.silver is not None
    print(f"\norder of review: {order}; corrections: {', '.join(f'{n} {kind}' for kind, n in kinds.items())}")
    head = f"on {after.test.tasks} test sentences"
    print(f"{head:<40}{'precision':>11}{'recall':>9}{'F1':>8}  95 % interval")
    _row("projection alone", after.test.silver)
    _row("model before review, text alone", before.test.text_only)
    _row("model after review, text alone", after.test.text_only)
    _row("model after review, with projection", after.test.model)
    print(f"promotion: {verdict.reason}", flush=True)


def _row(name: str, scores: SystemScores) -> None:
    low, high = scores.ci95
    print(f"{name:<40}{scores.precision:>11.3f}{scores.recall:>9.3f}{scores.f1:>8.3f}  {low:.3f} .. {high:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--language", default="lug")
    parser.add_argument("--reviewed", type=int, default=100, help="tasks that the simulated reviewer answers")
    parser.add_argument("--seed", type=int, default=0, help="of the random order")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    arguments = parser.parse_args()
    arguments.figures = {}
    corpus = read_corpus(arguments.language)
    pool = sum(task.split == "train" for task in corpus)
    print(f"{arguments.language}: {pool} tasks in the pool, {arguments.reviewed} reviewed by a SIMULATED reviewer")
    with tempfile.TemporaryDirectory() as folder:
        weights = left_out_weights(arguments.language, Path(folder))
        for order in ORDERS:
            run_loop(corpus, order, weights, arguments)
    if arguments.json:
        document = {
            "version": xner_label.__version__,
            "python": sys.version.split()[0],
            "language": arguments.language,
            "reviewed": arguments.reviewed,
            "seed": arguments.seed,
            "orders": arguments.figures,
        }
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")


if __name__ == "__main__":
    main()
