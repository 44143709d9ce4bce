"""What the review desk takes in a project of a million tasks: `python bench/desk_scale.py --tasks 100000,1000000`.

The database fills itself: sentences of two names each, a person and a place, predicted by two versions; a thousand
are reviewed by two people over four weeks, two in five of these drawn at random. Each piece of work runs in a
process of its own: seconds of the clock and of CPU, and the most memory.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

import xner_label
from xner_label.cli.main import cli
from xner_label.review.plans import make_plan
from xner_label.review.selection import in_order
from xner_label.store import migrating, predictions, projects, reviews, tables
from xner_label.store.base import utc_now
from xner_label.store.database import Store, open_store
from xner_label.store.pipelines import ensure_pipeline

LABELS = ("PER", "LOC")
REVIEWED = 1_000
# Names that recur, drawn by the number of the task.
PERSON = "printf('Asha%05d', i * 7919 % 60000)"
TOWN = "printf('Mji%05d', i * 104729 % 20000)"
DRAWN = "((tasks.id * 2654435761) % 4294967296) / 4294967296.0"
SOURCES = '[{"start": 0, "end": 9, "label": "PER"}, {"start": 22, "end": 30, "label": "LOC"}]'


def entities(position: int, label: str, start: int, end: int, source: int) -> str:
    """Each prediction's entity at these code points of text and source."""
    words = f"substr(tasks.text, {start + 1}, {end - start})"
    return f"""
    INSERT INTO projected_entities (prediction_id, position, region, start, "end", label, text, score, confidence,
    source_start, source_end, source_label, source_text, provenance)
    SELECT predictions.id, {position}, '{label}' || predictions.id, {start}, {end}, '{label}', {words}, 1.0,
    min(0.999, sqrt(predictions.confidence) + 0.02), {source}, {source + end - start}, '{label}', {words},
    '{{"tagger": 0.9}}' FROM predictions JOIN tasks ON tasks.id = predictions.task_id"""


ROWS = (
    f"""
    WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < :tasks)
    INSERT INTO tasks (project_id, external_id, split, text, text_hash, source, source_entities, created_at)
    SELECT 1, i, 'pool', 'Jana ' || {PERSON} || ' alionekana katika mji wa ' || {TOWN} || ' siku ya soko',
    'hash ' || i, {PERSON} || ' was seen in ' || {TOWN}, '{SOURCES.replace(":", chr(92) + ":")}', '2026-01-01'
    FROM numbers""",
    f"""
    INSERT INTO predictions (task_id, pipeline_id, confidence, created_at)
    SELECT tasks.id, pipelines.id, 0.5 + 0.499 * {DRAWN}, '2026-01-01' FROM pipelines, tasks
    ORDER BY pipelines.id, tasks.id""",
    entities(0, "PER", 5, 14, 0).replace('"tagger":', '"tagger"\\:'),
    entities(1, "LOC", 40, 48, 22).replace('"tagger":', '"tagger"\\:'),
)


def fill(store: Store, count: int) -> None:
    """Tasks, predictions and answers of a project called default."""
    with store.write() as session:
        project = projects.ensure_project(session, "default", LABELS)
        ensure_pipeline(session, "p1")
        project.pipeline = ensure_pipeline(session, "p2")
        for statement in ROWS:
            session.execute(text(statement), {"tasks": count} if ":tasks" in statement else {})
    with store.write() as session:
        review(session, count)
    store.refresh_statistics()


def review(session: Session, count: int) -> None:
    """People's answers: the second name of every sixth task is another kind of thing."""
    ids = [1 + number * (count // REVIEWED) for number in range(REVIEWED)]
    shown = predictions.of_tasks(session, ids, "p2")
    drawn = {*ids[::5], *ids[::3]}
    reviews.add_batch(session, 1, "least-confident", [(task, shown[task].id) for task in ids], drawn)
    for number, task in enumerate(ids):
        said = [{"start": row.start, "end": row.end, "label": row.label} for row in shown[task].entities]
        if number % 6 == 0:
            said[1]["label"] = "PER"
        for who in ("ann", "bob") if number % 4 == 0 else ("ann",):
            session.add(
                tables.Annotation(
                    task_id=task,
                    origin="studio",
                    studio_annotation=2 * number + (who == "bob"),
                    studio_updated_at=utc_now() - timedelta(weeks=number % 4),
                    annotator=who,
                    lead_time=5.0 + number % 7,
                    regions=[],
                    entities=said,
                    prediction_id=shown[task].id,
                )
            )


def command(url: str, *arguments: str) -> None:
    cli.main([*arguments, "--database-url", url], standalone_mode=False)


def choose(url: str) -> None:
    """What `push --limit 100` chooses; Label Studio isn't part of it."""
    with open_store(url) as store, store.read() as session:
        project = projects.get_project(session, "default")
        in_order(session, project, "p2", "least-confident", 100, split="pool")


def plan(url: str) -> None:
    with open_store(url) as store:
        make_plan(store, "default", 120.0, keep=False)


def work(url: str) -> dict[str, Callable[[], None]]:
    page = str(Path(url.removeprefix("sqlite:///")).with_suffix(".html"))
    return {
        "push --limit 100 (choosing)": lambda: choose(url),
        "plan --minutes 120": lambda: plan(url),
        "calibrate": lambda: command(url, "calibrate", "--json"),
        "stop": lambda: command(url, "stop", "--json"),
        "drift": lambda: command(url, "drift", "--json"),
        "status": lambda: command(url, "status", "--json"),
        "report": lambda: command(url, "report", "-o", page),
    }


def measure(url: str, name: str, connection: Any) -> None:
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
    begun, used = time.perf_counter(), time.process_time()
    work(url)[name]()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    connection.send((time.perf_counter() - begun, time.process_time() - used, memory))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default="10000")
    parser.add_argument("--folder", type=Path, help="keeps the stores between runs")
    parser.add_argument("--only", nargs="+", help="pieces of work")
    options = parser.parse_args()
    print(f"xner-label {xner_label.__version__}, {REVIEWED} reviewed")
    with tempfile.TemporaryDirectory() as folder:
        for count in map(int, options.tasks.split(",")):
            file = (options.folder or Path(folder)) / f"desk-{count}.db"
            url = f"sqlite:///{file}"
            if not file.exists():
                begun = time.perf_counter()
                with open_store(url, check=False) as store:
                    migrating.upgrade(store)
                    fill(store, count)
                print(f"{count} tasks: made in {time.perf_counter() - begun:.0f} s", flush=True)
            context = multiprocessing.get_context("spawn")
            for name in options.only or work(url):
                here, there = context.Pipe()
                process = context.Process(target=measure, args=(url, name, there))
                process.start()
                wall, cpu, memory = here.recv()
                process.join()
                row = {"tasks": count, "work": name, "seconds": round(wall, 2), "cpu": round(cpu, 2)}
                print(json.dumps({**row, "MiB": round(memory), "load": round(os.getloadavg()[0], 1)}), flush=True)


if __name__ == "__main__":
    main()
