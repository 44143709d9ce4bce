"""A database that goes away, a disk that is full, clocks that are wrong: nothing lost, nothing twice.

A few seconds each in the suite; `make soak SOAK=50` makes hours of it. Each test prints what it counted.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from demo.studio_server import StudioServer
from tests.faulty_proxy import FaultyProxy
from tests.integration.test_hours_of_faults import ALL, labelled
from tests.integration.test_hours_of_faults import soon_settled as soon_settled
from tests.integration.test_studio_faults import shell
from tests.postgres_process import PostgresProcess
from tests.processes import LIMIT, begin, until
from tests.soak import rounds
from tests.store_fixtures import each_store as each_store
from tests.store_fixtures import each_url as each_url
from tests.store_fixtures import sqlite_url as sqlite_url
from tests.studio_fixtures import LABELS
from tests.studio_state import Counts, People, require_nothing_lost
from xner_label.errors import StoreUnavailableError, XnerLabelError
from xner_label.jobs.worker import Worker
from xner_label.predicting.predictor import Predictor
from xner_label.settings.table import Settings
from xner_label.store import jobs, migrating, predictions, projects, reviews, tables, tasks
from xner_label.store.base import utc_now
from xner_label.store.database import Store, open_store
from xner_label.studio.connect import ConnectOptions, connect
from xner_label.studio.push import PushOptions, push
from xner_label.studio.sync import sync

_FAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)

studio_soak = [pytest.mark.studio, pytest.mark.soak]
needs_faketime = pytest.mark.skipif(
    _FAKETIME is None, reason="no libfaketime (on Debian: apt install libfaketime)"
)


def add_tasks(store: Store, settings: Settings, start: int, count: int) -> None:
    with store.write() as session:
        project = projects.ensure_project(session, settings.project, LABELS).id
        added = [labelled(start + offset) for offset in range(count)]
        tasks.add_tasks(session, project, [(task, "pool") for task in added])


# a cursor whose connection is gone can't be closed, and psycopg warns of every one that wasn't
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.postgres
@pytest.mark.parametrize("step", ["push", "sync", "predict", "worker"], ids=str)
class TestPostgresRestarts:
    """PostgreSQL is restarted, as after a crash, in the middle of a step."""

    pytestmark = studio_soak

    def test_nothing_is_lost(
        self,
        step: str,
        postgres_server: PostgresProcess,
        postgres_url: str,
        studio_settings: Settings,
        label_studio: StudioServer,
        api: Any,
    ) -> None:
        settings = replace(studio_settings, database_url=postgres_url, aligner="none", projector="string")
        chance = random.Random(step)
        outcomes: Counter[str] = Counter()
        with open_store(postgres_url, check=False) as store:
            migrating.upgrade(store)
            add_tasks(store, settings, 0, 20)
            number = connect(store, settings, ConnectOptions()).studio_project
        people = People(label_studio.url, label_studio.token, number)
        count, usual = 20, 1.0
        for turn in range(rounds(1)):
            with open_store(postgres_url) as store:
                add_tasks(store, settings, count, 20)
                count += 20
                if step in ("push", "sync"):
                    Predictor(store, settings).predict_project()
                if step == "sync":
                    push(store, settings, PushOptions(limit=ALL))
            people.submit(4 if turn else 0)
            restarting = threading.Timer(chance.uniform(0.0, usual), postgres_server.restart)
            restarting.start()
            began = time.monotonic()
            outcomes[self.attempt(step, settings)] += 1
            usual = max(0.2, min(5.0, time.monotonic() - began))
            restarting.join()
            with open_store(postgres_url) as store:
                Predictor(store, settings).predict_project()
                push(store, settings, PushOptions(limit=ALL))
        with open_store(postgres_url) as store:
            counts = require_nothing_lost(store, settings, api, number)
            with store.read() as session:
                states = Counter(session.scalars(select(tables.Job.state)))
        print(f"\n{step}: {dict(outcomes)}, {dict(states)}, {people.submitted} submitted,", counts)
        assert counts.tasks == count
        assert set(states) <= {"done", "failed"}

    def attempt(self, step: str, settings: Settings) -> str:
        """How a step ended."""
        try:
            with open_store(settings.database_url) as store:
                if step == "push":
                    push(store, settings, PushOptions(limit=ALL))
                elif step == "sync":
                    sync(store, settings)
                elif step == "predict":
                    Predictor(store, settings).predict_project()
                else:
                    work(store, settings)
        except XnerLabelError as error:
            return type(error).__name__
        return "well"


def work(store: Store, settings: Settings) -> None:
    """A worker that predicts and synchronises and isn't ended by a database that goes away."""
    worker = Worker(store, settings, ["predict", "sync"], lease=2.0)
    with store.write() as session:
        project = projects.get_project(session, settings.project).id
        for kind in ("predict", "sync"):
            jobs.enqueue(session, project, kind)
    stopping = threading.Event()
    problems: list[Exception] = []

    def run() -> None:
        try:
            worker.run(stopping, {})
        except Exception as error:  # noqa: BLE001 - the test looks at it
            problems.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline and thread.is_alive() and not idle(store):
        time.sleep(0.2)
    stopping.set()
    thread.join(LIMIT)
    assert problems == []
    assert idle(store)


def idle(store: Store) -> bool:
    """Whether no job runs, and none waits that isn't put off."""
    try:
        with store.read() as session:
            due = (tables.Job.state == "waiting") & (tables.Job.due_at < utc_now())
            return session.scalar(select(tables.Job.id).where(due | (tables.Job.state == "running"))) is None
    except XnerLabelError:
        return False


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a few megabytes; only root can have one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    if mount is None or os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk can't be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


class TestFullDisk:
    """The disk of a SQLite store is full at any moment of the loop."""

    pytestmark = studio_soak

    def test_nothing_is_lost(
        self, small_disk: Path, studio_settings: Settings, label_studio: StudioServer, api: Any
    ) -> None:
        url = f"sqlite:///{small_disk}/store.db"
        settings = replace(studio_settings, database_url=url, aligner="none", projector="string")
        chance = random.Random(8)
        outcomes: Counter[str] = Counter()
        with open_store(url, check=False) as store:
            migrating.upgrade(store)
            add_tasks(store, settings, 0, 10)
            number = connect(store, settings, ConnectOptions()).studio_project
            Predictor(store, settings).predict_project()
            push(store, settings, PushOptions(limit=ALL))
        people = People(label_studio.url, label_studio.token, number)
        filler = small_disk / "filler"
        count = 10

        def attempt(name: str, step: Callable[[Store], object]) -> None:
            try:
                with open_store(url) as store:
                    step(store)
                outcomes[f"{name} well"] += 1
            except XnerLabelError as error:
                outcomes[f"{name} {type(error).__name__}"] += 1
            except OSError as error:
                outcomes[f"{name} {errno.errorcode[error.errno or 0]}"] += 1

        for _ in range(rounds(2)):
            people.submit(2)
            for name, step in (
                ("import", lambda store, start=count: add_tasks(store, settings, start, 10)),
                ("predict", lambda store: Predictor(store, settings).predict_project()),
                ("push", lambda store: push(store, settings, PushOptions(limit=ALL))),
                ("sync", lambda store: sync(store, settings)),
            ):
                fill(filler, leave=4096 * chance.choice([0, 0, 1, 3, 8, 20, 60, 150]))
                attempt(name, step)
                filler.unlink()
            with open_store(url) as store:
                add_tasks(store, settings, count, 10)
                count += 10
                Predictor(store, settings).predict_project()
                push(store, settings, PushOptions(limit=ALL))
        with open_store(url) as store:
            counts: Counts = require_nothing_lost(store, settings, api, number)
            with store.read() as session:
                (predicted,) = predictions.count_predictions(session, 1).values()
        print(f"\n{dict(outcomes)}, {people.submitted} submitted,", counts)
        assert counts.tasks == predicted == count
        kinds = {name.partition(" ")[2] for name in outcomes}
        assert kinds <= {"well", "ENOSPC", "StoreUnavailableError"}


def fill(file: Path, *, leave: int) -> None:
    """Take all the room of a disk but ``leave`` bytes."""
    room = shutil.disk_usage(file.parent).free
    with file.open("wb") as stream:
        stream.write(b"\0" * max(room - leave, 0))


def test_a_full_disk_is_no_wrong_setting(small_disk: Path) -> None:
    url, filler = f"sqlite:///{small_disk}/store.db", small_disk / "filler"
    with open_store(url, check=False) as store:
        migrating.upgrade(store)
    for leave in (0, 8_000, 20_000, 40_000):
        fill(filler, leave=leave)
        with pytest.raises(StoreUnavailableError, match="disk"), open_store(url) as store:
            add_tasks(store, Settings(), 0, 500)
        filler.unlink()
    with open_store(url) as store:
        add_tasks(store, Settings(), 0, 5)


def fake_clock(offset: str, *, sleeps: bool = False) -> dict[str, str]:
    """The environment of a process whose clock is off by so much, as in +2h.

    libfaketime breaks one way of waiting or the other: ``sleeps`` says that the process calls time.sleep, which
    needs a monotonic clock that is off, too; waiting for events needs one that isn't.
    """
    monotonic = {} if sleeps else {"FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    return {"LD_PRELOAD": str(_FAKETIME), "FAKETIME": offset, **monotonic}


def job_rows(store: Store) -> list[tables.Job]:
    with store.read() as session:
        return list(session.scalars(select(tables.Job)))


@pytest.mark.postgres
@needs_faketime
def test_a_worker_whose_clock_is_ahead_leaves_a_job_to_its_worker(
    postgres_url: str, command_line: list[str], tmp_path: Path
) -> None:
    settings = Settings(database_url=postgres_url, aligner="none", projector="string")
    environment = os.environ | {
        "XNER_LABEL_DATABASE_URL": postgres_url,
        "XNER_LABEL_PIPELINE_ALIGNER": "none",
        "XNER_LABEL_PIPELINE_PROJECTOR": "string",
    }
    once = [*command_line, "worker", "--once", "--kind", "predict", "--lease", "5"]
    with open_store(postgres_url, check=False) as store:
        migrating.upgrade(store)
        add_tasks(store, settings, 0, 5)
        with store.write() as session:
            project = projects.get_project(session, settings.project).id
            jobs.enqueue(session, project, "predict")
            claim = jobs.claim(session, project, "here", ["predict"], 1000.0)
        assert claim is not None
        done = subprocess.run(
            once, cwd=tmp_path, env=environment | fake_clock("+2h"), capture_output=True, text=True, timeout=LIMIT
        )
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        (job,) = job_rows(store)
        assert (job.worker, job.attempts) == ("here", 1)
        # and one that it held itself is free once its lease is over, not two hours later
        with store.write() as session:
            assert jobs.finish(session, claim.id, "here", {}, None)
            jobs.enqueue(session, project, "predict")
        add_tasks(store, settings, 5, 2000)
        with store.write() as session:  # what it predicts can't be stored: it isn't done before it is killed
            session.execute(text("LOCK TABLE predictions IN SHARE MODE"))
            ahead = begin(once, cwd=tmp_path, env=environment | fake_clock("+2h"), stdout=subprocess.DEVNULL)
            until(lambda: [job.state for job in job_rows(store)] == ["done", "running"])
            ahead.send_signal(signal.SIGKILL)
            assert ahead.wait() == -signal.SIGKILL
        running = job_rows(store)[1]
        assert running.lease_until is not None
        assert running.lease_until < utc_now() + timedelta(seconds=6)


@pytest.mark.parametrize("hours", [1, -1])
def test_jobs_of_a_clock_that_was_wrong_are_not_waited_for(each_store: Store, hours: int) -> None:
    """The database's own clock is set, back or forth, between one look and the next."""

    def shift(session: Any) -> None:
        for job in session.scalars(select(tables.Job)):
            for name in ("due_at", "lease_until", "created_at", "started_at", "finished_at"):
                moment = getattr(job, name)
                if moment is not None:
                    setattr(job, name, moment + timedelta(hours=hours))

    with each_store.write() as session:
        project = projects.ensure_project(session, "default", LABELS).id
        jobs.enqueue(session, project, "sync", delay=0.0)
        jobs.enqueue(session, project, "train", delay=0.0)
    with each_store.write() as session:
        shift(session)
    with each_store.write() as session:
        claim = jobs.claim(session, project, "a", ["sync"], 60)
        assert claim is not None
    with each_store.write() as session:
        shift(session)
        assert jobs.prolong(session, claim.id, "a", 60)
    with each_store.write() as session:
        assert jobs.claim(session, project, "b", ["sync"], 60) is None, "its worker lives"
        shift(session)
    with each_store.write() as session:
        again = jobs.claim(session, project, "b", ["sync"], 60)
        assert again is not None
        assert again.id == claim.id
        assert jobs.finish(session, claim.id, "b", {}, None)
    with each_store.write() as session:
        assert not jobs.is_due_again(session, project, "sync", 60.0)
        shift(session)
        assert jobs.is_due_again(session, project, "sync", 60.0)


@pytest.mark.studio
@pytest.mark.postgres
@needs_faketime
def test_a_push_whose_clock_is_ahead_waits_for_what_another_is_sending(
    postgres_url: str,
    studio_settings: Settings,
    label_studio: StudioServer,
    api: Any,
    command_line: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy = FaultyProxy(label_studio.url)
    arrived = threading.Event()

    def hold(request: tuple[str, str, bytes]) -> None:
        if "/import?" in request[1] and not arrived.is_set():
            arrived.set()
            time.sleep(6.0)

    with proxy.open() as url, open_store(postgres_url, check=False) as store:
        settings = replace(studio_settings, database_url=postgres_url, studio_url=url, projector="string")
        settings = replace(settings, aligner="none")
        migrating.upgrade(store)
        add_tasks(store, settings, 0, 10)
        number = connect(store, settings, ConnectOptions()).studio_project
        Predictor(store, settings).predict_project()
        proxy.before = hold
        sending = threading.Thread(target=push, args=(store, settings, PushOptions(limit=10)))
        sending.start()
        assert arrived.wait(LIMIT)
        done = subprocess.run(
            [*command_line, "push", "--limit", "10"],
            cwd=tmp_path,
            env=shell(settings) | fake_clock("+2h", sleeps=True),
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
        sending.join()
        assert done.returncode == 0, done.stderr
        assert require_nothing_lost(store, settings, api, number).tasks == 10


def test_what_was_sent_before_the_clock_was_set_back_is_looked_for_in_time(each_store: Store) -> None:
    settings = Settings(database_url=each_store.url, aligner="none", projector="string")
    add_tasks(each_store, settings, 0, 3)
    Predictor(each_store, settings).predict_project()
    with each_store.write() as session:
        rows = session.execute(select(tables.Prediction.task_id, tables.Prediction.id)).all()
        reviews.add_batch(session, 1, "confidence", [(task, prediction) for task, prediction in rows])
        items = list(session.scalars(select(tables.ReviewItem.id)))
        assert reviews.claim_items(session, items) == set(items)
    settle = timedelta(seconds=0.2)
    with each_store.write() as session:
        for item in session.scalars(select(tables.ReviewItem)):
            item.sent_at = item.prediction_sent_at = utc_now() + timedelta(hours=1)
    with each_store.write() as session:
        assert reviews.lost_items(session, items, settle) == []
        assert reviews.claim_predictions(session, items, settle) == set()
    time.sleep(0.3)
    with each_store.write() as session:
        assert sorted(reviews.lost_items(session, items, settle)) == sorted(items)
        assert reviews.claim_predictions(session, items, settle) == set(items)


@needs_faketime
class TestJumpingClock:
    """The machine's clock jumps hours to and fro while commands run."""

    pytestmark = studio_soak

    def test_nothing_is_lost(
        self,
        studio_settings: Settings,
        label_studio: StudioServer,
        api: Any,
        store: Store,
        command_line: list[str],
        tmp_path: Path,
    ) -> None:
        settings = replace(studio_settings, aligner="none", projector="string")
        clock = tmp_path / "clock"
        clock.write_text("+0")
        fake = {
            "LD_PRELOAD": str(_FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        pipeline = {"XNER_LABEL_PIPELINE_ALIGNER": "none", "XNER_LABEL_PIPELINE_PROJECTOR": "string"}
        environment = shell(settings, **pipeline) | fake
        add_tasks(store, settings, 0, 10)
        Predictor(store, settings).predict_project()
        number = connect(store, settings, ConnectOptions()).studio_project
        people = People(label_studio.url, label_studio.token, number)
        over = threading.Event()
        jumps = 0

        def jump() -> None:
            nonlocal jumps
            chance = random.Random(9)
            while not over.wait(chance.uniform(0.1, 0.8)):
                clock.write_text(f"{chance.choice([-7200, -90, 0, 45, 3600, 86400]):+d}")
                jumps += 1

        thread = threading.Thread(target=jump)
        thread.start()
        count = 10
        try:
            with people.at_work(1):
                for _ in range(rounds(1)):
                    add_tasks(store, settings, count, 10)
                    count += 10
                    with store.write() as session:
                        jobs.enqueue(session, 1, "predict")
                        jobs.enqueue(session, 1, "sync")
                    for command in (["worker", "--once"], ["push", "--limit", str(ALL)], ["sync"]):
                        done = subprocess.run(
                            [*command_line, *command],
                            cwd=tmp_path,
                            env=environment,
                            capture_output=True,
                            text=True,
                            timeout=LIMIT,
                        )
                        assert done.returncode == 0, done.stderr
        finally:
            over.set()
            thread.join()
        assert Worker(store, settings, ["predict", "sync"]).run_due()[1] == 0
        push(store, settings, PushOptions(limit=ALL))
        counts = require_nothing_lost(store, settings, api, number)
        print(f"\n{jumps} jumps, {people.submitted} submitted,", counts)
        assert counts.tasks == count
        assert {job.state for job in job_rows(store)} == {"done"}
