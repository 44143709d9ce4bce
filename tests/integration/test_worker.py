"""Jobs and their workers: asked for once, done once, whoever is killed, on both databases."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from tests.backend_process import SECRET, waiting
from tests.processes import LIMIT, begin, until
from tests.soak import rounds
from tests.store_fixtures import each_store as each_store
from tests.store_fixtures import each_url as each_url
from tests.store_fixtures import sqlite_url as sqlite_url
from xner_label import sample
from xner_label.errors import PartialError, StudioError, UsageError
from xner_label.jobs import kinds
from xner_label.jobs.worker import Done, Worker
from xner_label.settings.table import Settings
from xner_label.store import jobs, migrating, predictions, projects, tables, tasks
from xner_label.store.base import utc_now
from xner_label.store.database import Store, open_store
from xner_label.studio.attaching import SECRET_HEADER

SAMPLE = sample.read_sample(split="dev")


@pytest.fixture
def project(each_store: Store) -> int:
    """The id of a project of some tasks of the sample, which nothing has predicted."""
    with each_store.write() as session:
        row = projects.ensure_project(session, "default", sample.LABELS)
        tasks.add_tasks(session, row.id, [(task, "pool") for task in SAMPLE])
        return row.id


def settings(url: str) -> Settings:
    return Settings(database_url=url, aligner="none", projector="string")


def rows(store: Store) -> list[tables.Job]:
    with store.read() as session:
        return list(session.scalars(select(tables.Job).order_by(tables.Job.id)))


def expire(store: Store) -> None:
    """Let every lease have run out."""
    with store.write() as session:
        for job in session.scalars(select(tables.Job).where(tables.Job.state == "running")):
            job.lease_until = utc_now() - timedelta(seconds=1)


def replace_kinds(monkeypatch: pytest.MonkeyPatch, **runs: Callable[..., dict[str, Any]]) -> None:
    """Let jobs of these kinds run functions of the test's."""
    monkeypatch.setattr(kinds, "KINDS", runs)
    monkeypatch.setattr("xner_label.jobs.worker.KINDS", runs)


def test_asking_again_adds_nothing_and_puts_off(each_store: Store, project: int) -> None:
    with each_store.write() as session:
        assert jobs.enqueue(session, project, "sync", delay=1000)
    (first,) = rows(each_store)
    with each_store.write() as session:
        assert not jobs.enqueue(session, project, "sync", delay=2000)
        assert jobs.enqueue(session, project, "train")
    later, _ = rows(each_store)
    assert timedelta(seconds=999) < later.due_at - first.due_at < timedelta(seconds=1000 + LIMIT)
    with each_store.write() as session:
        assert jobs.claim(session, project, "w", ["sync"], 60) is None  # not due yet
        claim = jobs.claim(session, project, "w", ["sync", "train"], 60)
    assert claim is not None
    assert claim.kind == "train"


def test_reasons_that_go_on_arriving_cannot_put_a_job_off_for_ever(each_store: Store, project: int) -> None:
    with each_store.write() as session:
        jobs.enqueue(session, project, "sync", delay=10)
        (job,) = session.scalars(select(tables.Job))
        job.created_at = utc_now() - timedelta(seconds=95)
        jobs.enqueue(session, project, "sync", delay=10)
        assert job.due_at <= job.created_at + timedelta(seconds=106)


def test_one_of_a_kind_runs_at_a_time(each_store: Store, project: int) -> None:
    with each_store.write() as session:
        jobs.enqueue(session, project, "sync")
    with each_store.write() as session:
        assert jobs.claim(session, project, "a", ["sync"], 60) is not None
    with each_store.write() as session:
        assert jobs.enqueue(session, project, "sync")
    with each_store.write() as session:
        assert jobs.claim(session, project, "b", ["sync"], 60) is None


def test_a_killed_workers_job_is_taken_again_and_given_up_in_the_end(each_store: Store, project: int) -> None:
    with each_store.write() as session:
        jobs.enqueue(session, project, "train")
    for attempt in range(1, jobs.MAX_ATTEMPTS + 1):
        with each_store.write() as session:
            claim = jobs.claim(session, project, f"worker {attempt}", ["train"], 60)
        assert claim is not None
        assert claim.attempt == attempt
        expire(each_store)
        with each_store.write() as session:
            # Whoever comes back finds that the job isn't theirs.
            assert not jobs.prolong(session, claim.id, "worker 0", 60)
            assert not jobs.finish(session, claim.id, "worker 0", {}, None)
    with each_store.write() as session:
        assert jobs.claim(session, project, "w", ["train"], 60) is None
    (job,) = rows(each_store)
    assert (job.state, job.problem) == ("failed", "its worker died 3 times")


def test_what_is_due_is_done(each_store: Store, each_url: str, project: int) -> None:
    with each_store.write() as session:
        jobs.enqueue(session, project, "predict")
        jobs.enqueue(session, project, "train", delay=3600)
    ended: list[Done] = []
    assert Worker(each_store, settings(each_url), ended=ended.append).run_due() == (1, 0)
    assert [(done.kind, done.problem) for done in ended] == [("predict", None)]
    assert ended[0].outcome is not None
    assert ended[0].outcome["predicted"] == len(SAMPLE)
    assert {row.kind: row.state for row in rows(each_store)} == {"predict": "done", "train": "waiting"}
    assert Worker(each_store, settings(each_url)).run_due() == (0, 0)


def test_what_may_pass_is_tried_again(
    each_store: Store, each_url: str, project: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object) -> dict[str, Any]:
        raise StudioError("Label Studio can't be reached")

    def broken(*_: object) -> dict[str, Any]:
        raise ValueError("a text that must not be told")

    replace_kinds(monkeypatch, sync=unreachable, train=broken)
    with each_store.write() as session:
        jobs.enqueue(session, project, "sync")
        jobs.enqueue(session, project, "train")
    assert Worker(each_store, settings(each_url), ["sync", "train"]).run_due() == (0, 2)
    assert {(row.kind, row.state, row.problem) for row in rows(each_store)} == {
        ("sync", "failed", "Label Studio can't be reached"),
        ("sync", "waiting", None),
        ("train", "failed", "ValueError"),
    }


def test_a_stopped_worker_gives_its_job_back(
    each_store: Store, each_url: str, project: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> dict[str, Any]:
        raise KeyboardInterrupt

    replace_kinds(monkeypatch, sync=interrupted)
    with each_store.write() as session:
        jobs.enqueue(session, project, "sync")
    for _ in range(5):  # as often as it likes: being stopped is no attempt
        with pytest.raises(KeyboardInterrupt):
            Worker(each_store, settings(each_url), ["sync"]).run_due()
        time.sleep(0.01)
    replace_kinds(monkeypatch, sync=lambda *_: {"added": 1})
    assert Worker(each_store, settings(each_url), ["sync"]).run_due() == (1, 0)


def test_a_long_job_stays_its_workers(
    each_store: Store, each_url: str, project: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, over = Event(), Event()

    def slow(*_: object) -> dict[str, Any]:
        begun.set()
        assert over.wait(LIMIT)
        return {}

    replace_kinds(monkeypatch, train=slow)
    with each_store.write() as session:
        jobs.enqueue(session, project, "train")
    outcome: list[tuple[int, int]] = []
    worker = Worker(each_store, settings(each_url), ["train"], lease=3.0)
    thread = Thread(target=lambda: outcome.append(worker.run_due()))
    thread.start()
    assert begun.wait(LIMIT)
    try:
        first = rows(each_store)[0].lease_until
        assert first is not None
        until(lambda: utc_now() > first)
        assert Worker(each_store, settings(each_url), ["train"]).run_due() == (0, 0)
    finally:
        over.set()
    thread.join(LIMIT)
    assert outcome == [(1, 0)]


def test_the_clock_asks(each_store: Store, each_url: str, project: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xner_label.jobs.worker.POLL", 0.02)
    stopping = Event()
    replace_kinds(monkeypatch, sync=lambda *_: {}, train=lambda *_: {})
    ended: list[str] = []
    worker = Worker(each_store, settings(each_url), ["sync", "train"], ended=lambda done: ended.append(done.kind))
    thread = Thread(target=worker.run, args=(stopping, {"sync": 0.3, "train": 3600.0, "predict": 0.0}))
    thread.start()
    try:
        until(lambda: ended.count("sync") >= 3)
    finally:
        stopping.set()
    thread.join(LIMIT)
    assert ended.count("sync") >= 3
    assert ended.count("train") == 1


def test_the_clock_trains_only_on_new_gold_and_people_whenever_they_ask(
    each_store: Store, each_url: str, project: int
) -> None:
    chosen = replace(settings(each_url), train_if_new_gold=5)
    ended: list[Done] = []
    worker = Worker(each_store, chosen, ["train"], ended=ended.append)
    worker._ask_for({"train": 3600.0})
    assert worker.run_due() == (1, 0)
    assert ended[0].outcome == {"new_gold": 0, "trained": 0}
    with each_store.write() as session:
        jobs.enqueue(session, project, "train", {"if_new_gold": 5})
        jobs.enqueue(session, project, "train")  # somebody asks while the clock's job waits
    assert worker.run_due() == (0, 1)
    assert "nothing to learn from" in str(ended[1].problem)


def test_no_such_project(each_store: Store, each_url: str) -> None:
    with pytest.raises(UsageError):
        Worker(each_store, settings(each_url))


def run_worker(command_line: Sequence[str], url: str, folder: Path, *options: str) -> subprocess.Popen[str]:
    line = [*command_line, "worker", "--database-url", url, *options]
    environment = {"XNER_LABEL_PIPELINE_PROJECTOR": "string", "XNER_LABEL_PIPELINE_ALIGNER": "none"}
    return begin(
        line, cwd=folder, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.soak
def test_killed_workers_leave_each_task_with_one_prediction(
    command_line: Sequence[str], each_store: Store, each_url: str, project: int, tmp_path: Path
) -> None:
    chance = random.Random(3)
    for number in range(rounds(2)):
        with each_store.write() as session:
            jobs.enqueue(session, project, "predict")
            tasks.add_tasks(
                session,
                project,
                [
                    (msgspec.structs.replace(SAMPLE[copy % len(SAMPLE)], id=f"{number}-{copy}"), "pool")
                    for copy in range(300)
                ],
            )
        pair = [run_worker(command_line, each_url, tmp_path, "--once", "--lease", "1") for _ in range(2)]
        time.sleep(chance.uniform(0.4, 2.0))
        pair[0].send_signal(signal.SIGKILL)
        for process in pair:
            process.communicate(timeout=LIMIT)
        expire(each_store)
        last = run_worker(command_line, each_url, tmp_path, "--once", "--json")
        out, err = last.communicate(timeout=LIMIT)
        assert last.returncode == 0, err
        assert all(json.loads(line)["problem"] is None for line in out.splitlines())
        with each_store.read() as session:
            (count,) = predictions.count_predictions(session, project).values()
            assert count == len(SAMPLE) + 300 * (number + 1)
    assert {row.state for row in rows(each_store)} == {"done"}


def test_a_worker_ends_in_order(
    command_line: Sequence[str], each_store: Store, each_url: str, project: int, tmp_path: Path
) -> None:
    with each_store.write() as session:
        jobs.enqueue(session, project, "predict")
    process = run_worker(command_line, each_url, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("predict: ")
    process.send_signal(signal.SIGTERM)
    _, problem = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, problem


_ASKING = """
import sys
from contextlib import suppress
from sqlalchemy import select
from xner_label.jobs.interrupts import terminating_interrupts
from xner_label.store.database import open_store
with open_store(sys.argv[1]) as store, suppress(KeyboardInterrupt), terminating_interrupts() as interrupts:
    print("asking", flush=True)
    while not interrupts.received:
        with store.read() as session:
            session.scalar(select(1))
"""


def test_a_signal_in_the_middle_of_a_statement_ends_in_order(each_store: Store, each_url: str) -> None:
    for _ in range(rounds(5)):
        process = begin(
            [sys.executable, "-c", _ASKING, each_url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "asking\n"
        process.send_signal(signal.SIGTERM)
        _, problem = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, problem


def test_once_says_what_failed(
    command_line: Sequence[str], each_store: Store, each_url: str, project: int, tmp_path: Path
) -> None:
    with each_store.write() as session:
        jobs.enqueue(session, project, "sync")
    process = run_worker(command_line, each_url, tmp_path, "--once")
    out, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == PartialError.exit_code
    assert out.startswith("sync: ")


def test_strangers_start_no_training(served: Callable[..., Any], store: Store) -> None:
    with store.write() as session:
        projects.ensure_project(session, "default", sample.LABELS)
    with served() as backend:
        assert backend.client.post("/webhook", json={"action": "START_TRAINING"}).status_code == 202
        body = {"action": "ANNOTATION_CREATED"}
        assert backend.client.post("/webhook", json=body, headers={SECRET_HEADER: SECRET}).status_code == 202
        until(lambda: waiting(store) == ["sync"])
        assert "set backend.user" in backend.log


def test_status_checks_for_cron(
    command_line: Sequence[str], sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XNER_LABEL_DATABASE_URL", sqlite_url)
    with open_store(sqlite_url, check=False) as store:
        migrating.upgrade(store)
        with store.write() as session:
            project = projects.ensure_project(session, "default", sample.LABELS).id
            jobs.enqueue(session, project, "train")

        def check() -> tuple[int, str]:
            line = [*command_line, "status", "--check", "--json"]
            done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT)
            assert json.loads(done.stdout)["jobs"][0]["kind"] == "train"
            return done.returncode, done.stderr

        assert check() == (0, "")
        with store.write() as session:
            (job,) = session.scalars(select(tables.Job))
            job.due_at = utc_now() - timedelta(hours=1)
        code, told = check()
        assert (code, "xner-label worker" in told) == (6, True)
