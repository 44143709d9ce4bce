"""How fast the loop through Label Studio is: `python bench/studio.py --tasks 2000 --reviewed 200`.

Starts a Label Studio of its own (XNER_LABEL_STUDIO_EXECUTABLE, or the one of `make setup`). `push` is measured
beside the bare import of the same tasks in one request, a `sync` of few changes beside one of everything.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from demo.studio_server import StudioServer, running_studio, studio_executable  # noqa: E402
from xner_label.entities import Prediction, ProjectedEntity, Task  # noqa: E402
from xner_label.settings.table import Settings  # noqa: E402
from xner_label.store import migrating, predictions, projects, tasks  # noqa: E402
from xner_label.store.database import Store, open_store  # noqa: E402
from xner_label.store.pipelines import ensure_pipeline  # noqa: E402
from xner_label.studio.client import open_studio  # noqa: E402
from xner_label.studio.connect import ConnectOptions, connect  # noqa: E402
from xner_label.studio.push import PushOptions, push  # noqa: E402
from xner_label.studio.sync import sync  # noqa: E402

TEXT = "Waziri Mkuu Amina Mwakasege alifungua ofisi mpya ya Benki ya Dunia mjini Dodoma siku ya Jumanne."
ENTITIES = (("Amina Mwakasege", "PER"), ("Benki ya Dunia", "ORG"), ("Dodoma", "LOC"), ("Jumanne", "DATE"))


# Annotations of the sync whose time is held against a full export.
CHANGES = 10
# Seconds before it: a sync also asks for what changed in the minute before the last one, here everything.
QUIET = 61


def fill(store: Store, settings: Settings, count: int) -> None:
    """Tasks with four predicted entities each."""
    with store.write() as session:
        project = projects.ensure_project(session, settings.project, settings.labels)
        new_tasks = [Task(id=str(number), text=f"{TEXT} {number}", source=TEXT) for number in range(count)]
        tasks.add_tasks(session, project.id, [(task, "pool") for task in new_tasks])
        ids = tasks.ids_by_external(session, project.id, [str(task.id) for task in new_tasks])
        entities = tuple(
            ProjectedEntity(TEXT.index(words), TEXT.index(words) + len(words), label, words, 1.0, 0.7)
            for words, label in ENTITIES
        )
        rows = [
            (ids[str(task.id)], Prediction(task.id, task.text, entities, 0.9 * int(task.id) / count, "bench"))
            for task in new_tasks
        ]
        predictions.add_predictions(session, rows)
        project.pipeline = ensure_pipeline(session, "bench")


class Clock:
    """Times steps, by the clock and by the CPU seconds that both sides took; the latter say something on a busy
    machine, too (Linux)."""

    def __init__(self, server: StudioServer) -> None:
        self._server = server
        self.cpu: dict[str, float] = {}

    def time(self, name: str, call: Callable[[], object]) -> float:
        begin, used = time.perf_counter(), self._used()
        call()
        self.cpu[name] = self._used() - used
        return time.perf_counter() - begin

    def _used(self) -> float:
        stat = Path(f"/proc/{self._server.process.pid}/stat").read_text().rpartition(")")[2].split()
        return time.process_time() + sum(map(int, stat[11:15])) / os.sysconf("SC_CLK_TCK")


def measure(server: StudioServer, count: int, reviewed: int) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds of each step, by the clock and of CPU."""
    with tempfile.TemporaryDirectory() as folder, open_store(f"sqlite:///{folder}/store.db", check=False) as store:
        migrating.upgrade(store)
        settings = Settings(studio_url=server.url, studio_api_key=server.token)
        fill(store, settings, count)
        clock = Clock(server)
        seconds: dict[str, float] = {}

        def timed(name: str, call: Callable[[], object]) -> None:
            seconds[name] = clock.time(name, call)

        timed("connect", lambda: connect(store, settings, ConnectOptions()))
        timed("push", lambda: push(store, settings, PushOptions(limit=count)))
        timed("push again", lambda: push(store, settings, PushOptions(limit=count)))
        with open_studio(settings) as studio:
            with store.read() as session:
                _, project = projects.connected_project(session, settings.project, studio.url)
            rows = list(studio.full_tasks(project, [row.id for row in studio.tasks(project, include="id")]))
            made = studio.write(
                studio.api.projects.create, title="reference", label_config=studio.project(project).label_config
            )
            body: list[dict[str, Any]] = [{"data": row.data, "predictions": _plain(row)} for row in rows]
            timed("bare import", lambda: studio.write(studio.api.projects.import_tasks, made.id, request=body))
            timed("sync, nothing reviewed", lambda: sync(store, settings))
            time.sleep(QUIET)
            timed("sync, nothing new", lambda: sync(store, settings))
            for row in rows[:reviewed]:
                studio.write(studio.api.annotations.create, row.id, result=row.predictions[0].result)
            timed(f"sync, {reviewed} reviewed", lambda: sync(store, settings))
            export = f"/api/projects/{project}/export?exportType=JSON&download_all_tasks=true"
            headers = {"Authorization": f"Token {server.token}"}
            with httpx.Client(base_url=server.url, headers=headers, timeout=600) as browser:
                timed("full export", lambda: browser.get(export).raise_for_status().json())
            time.sleep(QUIET)
            sync(store, settings)
            for row in rows[reviewed : reviewed + CHANGES]:
                studio.write(studio.api.annotations.create, row.id, result=row.predictions[0].result)
            timed(f"sync, {CHANGES} reviewed", lambda: sync(store, settings))
            timed("sync --full", lambda: sync(store, settings, full=True))
    return seconds, clock.cpu


def _plain(row: Any) -> list[dict[str, Any]]:
    return [
        {"model_version": "bench", "score": prediction.score, "result": prediction.result}
        for prediction in row.predictions
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--reviewed", type=int, default=200)
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    arguments = parser.parse_args()
    executable = studio_executable(os.environ)
    if executable is None:
        parser.error("no Label Studio: `make setup`, or name one in XNER_LABEL_STUDIO_EXECUTABLE")
    with tempfile.TemporaryDirectory() as folder, running_studio(executable, Path(folder)) as server:
        seconds, cpu = measure(server, arguments.tasks, arguments.reviewed)
    print(f"{'step':24} {'seconds':>8} {'CPU':>8}   {arguments.tasks} tasks with 4 entities")
    for name, value in seconds.items():
        print(f"{name:24} {value:8.2f} {cpu[name]:8.2f}")
    changes = f"sync, {CHANGES} reviewed"
    for unit, figures in (("by the clock", seconds), ("by CPU time", cpu)):
        rate, share = figures["bare import"] / figures["push"], figures[changes] / figures["full export"]
        print(f"{unit}: push brings {rate:.0%} of the tasks a second of the bare import,")
        print(f"  sync of {CHANGES} changes takes {share:.1%} of a full export")
    if arguments.json:
        arguments.json.write_text(
            json.dumps({**vars(arguments), "json": None, "seconds": seconds, "cpu_seconds": cpu}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
