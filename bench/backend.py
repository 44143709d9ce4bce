"""How quickly the ML backend answers, and what joining concurrent requests saves: `python bench/backend.py`.

A real server process on the sample corpus. Latencies are of one client asking again and again. For the comparison
32 clients ask for one new task each, again and again: once of a server that predicts up to 64 tasks together, once
of one that predicts every task alone. CPU seconds are the server's own, children included (Linux).
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xner_label
from xner_label import sample
from xner_label.entities import Task
from xner_label.predicting.predictor import Predictor
from xner_label.settings.table import Settings
from xner_label.store import migrating, projects, tasks
from xner_label.store.database import open_store
from xner_label.studio.labelling import SOURCE, labelling_config

ROOT = Path(__file__).resolve().parents[1]
CONFIG = labelling_config(sample.LABELS)


@dataclass
class Server:
    """A backend process at a loopback port."""

    port: int
    process: subprocess.Popen[str]

    def cpu_seconds(self) -> float:
        """User and system time so far, with that of ended children."""
        values = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(int(value) for value in values[11:15]) / os.sysconf("SC_CLK_TCK")


class Client:
    """One connection that is kept open, as Label Studio keeps its own."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)

    def ask(self, path: str, body: object = None) -> Any:
        method, data = ("GET", None) if body is None else ("POST", json.dumps(body))
        self._connection.request(method, path, data, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        document = json.loads(answer.read())
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {document}")
        return document

    def predict(self, asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
        body = {"tasks": asked, "project": "1.1", "label_config": CONFIG, "params": {"context": None}}
        results: list[dict[str, Any]] = self.ask("/predict", body)["results"]
        return results


@contextlib.contextmanager
def serving(folder: Path, aligner: str, batch: int) -> Iterator[Server]:
    """A server on a fresh store that holds the sample, predicted."""
    folder.mkdir()
    url = f"sqlite:///{folder}/store.db"
    with open_store(url, check=False) as store:
        migrating.upgrade(store)
        with store.write() as session:
            project = projects.ensure_project(session, "default", sample.LABELS)
            tasks.add_tasks(session, project.id, [(task, "pool") for task in sample.read_sample()])
            labelled = [
                (str(task.id), task.text, task.entities or ())
                for task in sample.read_sample(sample.LABELLED_SOURCE)
            ]
            tasks.add_source_sentences(session, project.id, labelled)
        Predictor(store, Settings(database_url=url, aligner=aligner, tagger="crf")).predict_project()
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "XNER_LABEL_DATABASE_URL": url,
        "XNER_LABEL_PIPELINE_ALIGNER": aligner,
        "XNER_LABEL_PIPELINE_TAGGER": "crf",
        "XNER_LABEL_BACKEND_BATCH": str(batch),
        "XNER_LABEL_BACKEND_STORE_ASKED": "always",
    }
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "xner_label", "serve", "--backend-port", "0"],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    with process:
        try:
            assert process.stdout is not None
            yield Server(int(process.stdout.readline().rpartition(":")[2]), process)
        finally:
            process.terminate()


def new_tasks(count: int, first: int) -> list[dict[str, Any]]:
    """Tasks that the store doesn't hold: sentences of the sample with a number at the end."""
    known = sample.read_sample()
    made: list[Task] = [known[number % len(known)] for number in range(first, first + count)]
    return [
        asked(first + offset, f"{task.text} ({first + offset})", **{SOURCE: f"{task.source} ({first + offset})"})
        for offset, task in enumerate(made)
    ]


def asked(number: int, text: str, **data: str) -> dict[str, Any]:
    """A task as Label Studio sends it."""
    return {"id": 100_000 + number, "data": {"text": text, **data}, "annotations": [], "predictions": []}


def latencies(call: Callable[[int], object], count: int) -> dict[str, float]:
    """Milliseconds of ``count`` calls, one after the other, after three that don't count."""
    seconds = []
    for number in range(count + 3):
        began = time.perf_counter()
        call(number)
        seconds.append(time.perf_counter() - began)
    ordered = sorted(seconds[3:])
    return {"p50_ms": 1000 * statistics.median(ordered), "p99_ms": 1000 * ordered[int(0.99 * (count - 1))]}


def besiege(port: int, clients: int) -> None:
    """That many clients ask for stored predictions as fast as they can, until the process is ended."""
    known = sample.read_sample()

    def run(number: int) -> None:
        client = Client(port)
        while True:
            client.predict([asked(number, known[number % len(known)].text)])
            number += 1

    for number in range(clients):
        threading.Thread(target=run, args=(number,), daemon=True).start()
    threading.Event().wait()


def besieged(server: Server, clients: int, runs: int) -> dict[str, float]:
    """How long /health takes while ``clients`` in another process saturate /predict."""
    crowd = multiprocessing.get_context("spawn").Process(target=besiege, args=(server.port, clients), daemon=True)
    crowd.start()
    try:
        time.sleep(5)
        client = Client(server.port)
        return latencies(lambda _: client.ask("/health"), runs)
    finally:
        crowd.kill()
        crowd.join()


def storm(server: Server, clients: int, each: int) -> dict[str, float]:
    """``clients`` at once ask for ``each`` new tasks, one per request."""
    failures: list[BaseException] = []

    def run(number: int) -> None:
        client = Client(server.port)
        try:
            for task in new_tasks(each, 10_000 + number * each):
                client.predict([task])
        except (OSError, RuntimeError) as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    cpu, began = server.cpu_seconds(), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall, cpu = time.perf_counter() - began, server.cpu_seconds() - cpu
    if failures:
        raise failures[0]
    return {
        "tasks": clients * each,
        "tasks_per_second": clients * each / wall,
        "cpu_ms_per_task": 1000 * cpu / clients / each,
    }


def measure(folder: Path, aligner: str, runs: int, each: int) -> dict[str, Any]:
    """Everything about one aligner."""
    figures: dict[str, Any] = {}
    with serving(folder / f"{aligner}-joined", aligner, 64) as server:
        client = Client(server.port)
        known = sample.read_sample()
        client.predict(new_tasks(1, 0))  # opens the models
        figures["GET /health"] = latencies(lambda _: client.ask("/health"), runs)
        figures["POST /setup"] = latencies(lambda _: client.ask("/setup", {"project": "1.1"}), runs)
        figures["POST /predict, stored"] = latencies(
            lambda number: client.predict([asked(number, known[number % len(known)].text)]), runs
        )
        figures["POST /predict, new"] = latencies(
            lambda number: client.predict(new_tasks(1, 1 + number)), max(runs // 4, 20)
        )
        for name, many in (
            ("470 stored", [asked(n, task.text) for n, task in enumerate(known)]),
            ("500 new", new_tasks(500, 5_000)),
        ):
            began = time.perf_counter()
            client.predict(many)
            figures[f"POST /predict, {name}"] = {"seconds": time.perf_counter() - began}
        figures["GET /health beside 64 clients"] = besieged(server, 64, runs)
        figures["32 clients, joined"] = storm(server, 32, each)
    with serving(folder / f"{aligner}-alone", aligner, 1) as server:
        Client(server.port).predict(new_tasks(1, 0))
        figures["32 clients, alone"] = storm(server, 32, each)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--aligners", default="none,eflomal", help="aligners of new tasks, with commas")
    parser.add_argument("--runs", type=int, default=200, help="requests per latency")
    parser.add_argument("--each", type=int, default=8, help="requests of each of the 32 clients")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    arguments = parser.parse_args()
    document: dict[str, Any] = {
        "version": xner_label.__version__,
        "python": platform.python_version(),
        "aligners": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        for aligner in arguments.aligners.split(","):
            figures_of_aligner = measure(Path(folder), aligner, arguments.runs, arguments.each)
            document["aligners"][aligner] = figures_of_aligner
            print(f"\naligner {aligner}")
            for name, figures in figures_of_aligner.items():
                print(f"  {name:28} " + "  ".join(f"{key} {value:.4g}" for key, value in figures.items()))
            joined, alone = figures_of_aligner["32 clients, joined"], figures_of_aligner["32 clients, alone"]
            faster = joined["tasks_per_second"] / alone["tasks_per_second"]
            cheaper = joined["cpu_ms_per_task"] / alone["cpu_ms_per_task"]
            print(f"  joined: {faster:.2f} times the tasks per second, {cheaper:.2f} of the CPU time per task")
    if arguments.json:
        arguments.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
