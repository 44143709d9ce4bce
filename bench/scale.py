"""What corpus mode loses by learning from a sample, and how time and memory grow with a project.

`python bench/scale.py quality --languages lug,tsn --shares 1,0.5,0.25`: F1 of the project's projection where a
share of the tasks teaches and the others are counted. The shipped weights have seen these languages: read the
differences. `python bench/scale.py store --tasks 10000,40000 --corpus-limit 1000`: real sentences, repeated with a
number at the end so that no two are the same, through import and predict in a process of their own; then one new
task in a hundred.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

import xner_label
from xner_label.entities import Task
from xner_label.evaluation.spans import JudgedTask, evaluate
from xner_label.jsonl import read_values
from xner_label.pipeline.pipeline import Pipeline
from xner_label.predicting.corpus_state import LearnedProjector, learn_corpus
from xner_label.predicting.evidence_table import draw_sample, with_all_counted
from xner_label.projection.loglinear.weights_file import Weights

LABELS = ("PER", "ORG", "LOC")
BATCH = 500


def data(language: str) -> list[Task]:
    folder = os.environ.get("XNER_LABEL_BENCH_DATA")
    if not folder:
        raise SystemExit("XNER_LABEL_BENCH_DATA names no folder: nothing to measure on")
    return list(read_values(Path(folder) / "lowres" / language / "projection.jsonl", Task))


def quality(language: str, share: float) -> None:
    tasks, weights = data(language), Weights.load()
    numbered = list(enumerate(tasks))
    batches = [numbered[start : start + BATCH] for start in range(0, len(tasks), BATCH)]
    begun = time.perf_counter()
    sample = draw_sample(batches, (), round(share * len(tasks)))
    state = learn_corpus(weights, sample.ids, sample.instances, {})
    learned = time.perf_counter()
    if len(sample.ids) < len(tasks):
        state = with_all_counted(state, weights, sample.instances, batches)
    counted = time.perf_counter()
    pipeline = Pipeline(LearnedProjector(weights, state), labels=LABELS)
    answers = [answer for batch in batches for answer in pipeline.predict([task for _, task in batch])]
    ended = time.perf_counter()
    judged = [
        [msgspec.convert(item, JudgedTask, from_attributes=True) for item in items] for items in (tasks, answers)
    ]
    scores = evaluate(*judged, LABELS)
    print(
        f"{language} {len(sample.ids)} of {len(tasks)} teach: F1 {scores.f1:.4f} (P {scores.precision:.3f} R "
        f"{scores.recall:.3f}); learning {learned - begun:.0f} s, counting {counted - learned:.1f} s, projecting "
        f"{ended - counted:.1f} s",
        flush=True,
    )


def grown(tasks: list[Task], start: int, stop: int) -> list[tuple[Task, str]]:
    """Tasks ``start`` to ``stop`` of as many as one likes; each text ends in its number."""
    return [
        (
            msgspec.structs.replace(
                task, id=f"g{number}", text=f"{task.text} {number}", tokens=None, entities=None
            ),
            "pool",
        )
        for number in range(start, stop)
        for task in [tasks[number % len(tasks)]]
    ]


def in_store(url: str, count: int, limit: int, connection: Any) -> None:
    from xner_label.predicting.predictor import Predictor
    from xner_label.reporting.status import status
    from xner_label.settings.table import Settings
    from xner_label.store import migrating, projects
    from xner_label.store.database import open_store
    from xner_label.store.task_import import import_tasks

    tasks = [task for task in data("lug") if task.tokens is None or " ".join(task.tokens) == task.text]
    settings = Settings(labels=LABELS, aligner="given", tagger="given", corpus_limit=limit)
    times = {}
    with open_store(url, check=False) as store:
        migrating.upgrade(store)
        with store.write() as session:
            project = projects.ensure_project(session, settings.project, LABELS).id

        def add(start: int, stop: int) -> None:
            for first in range(start, stop, 2_000):
                with store.write() as session:
                    import_tasks(session, project, grown(tasks, first, min(first + 2_000, stop)))

        def measure(name: str, work: Any) -> None:
            begun = time.perf_counter()
            work()
            times[name] = time.perf_counter() - begun

        measure("import", lambda: add(0, count))
        measure("predict", lambda: Predictor(store, settings).predict_project())
        measure("status", lambda: status(store, settings.project))
        measure("import 1 % more", lambda: add(count, count + count // 100))
        measure("predict 1 % more", lambda: Predictor(store, settings).predict_project())
    connection.send((times, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def store(count: int, limit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        url = f"sqlite:///{folder}/store.db"
        process = context.Process(target=in_store, args=(url, count, limit, there))
        process.start()
        times, memory = here.recv()
        process.join()
        size = (Path(folder) / "store.db").stat().st_size / 2**20
    seconds = ", ".join(f"{name} {value:.2f} s" for name, value in times.items())
    print(f"{count} tasks, {limit} teach: {seconds}; at most {memory:.0f} MiB, store {size:.0f} MiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["quality", "store"])
    parser.add_argument("--languages", default="lug,tsn")
    parser.add_argument("--shares", default="1,0.5,0.25")
    parser.add_argument("--tasks", default="10000")
    parser.add_argument("--corpus-limit", default=1_000, type=int)
    arguments = parser.parse_args()
    print(f"xner-label {xner_label.__version__}, weights {Weights.load().digest}, {platform.platform()}")
    if arguments.what == "quality":
        for language in arguments.languages.split(","):
            for share in arguments.shares.split(","):
                quality(language, float(share))
    else:
        for count in arguments.tasks.split(","):
            store(int(count), arguments.corpus_limit)


if __name__ == "__main__":
    main()
