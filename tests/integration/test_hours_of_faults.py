"""Kills, a network that fails, and everything twice at once, again and again, against a real Label Studio.

A few seconds each in the suite; `make soak SOAK=50` makes hours of it. Each test prints what it counted.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from demo.studio_server import StudioServer
from tests.faulty_proxy import FaultyProxy, Request, reply
from tests.integration.test_studio_faults import shell
from tests.processes import LIMIT, begin, until
from tests.soak import FACTOR, rounds
from tests.studio_fixtures import LABELS, example
from tests.studio_state import Counts, People, require_nothing_lost
from tests.warm_process import WarmCommands, warm_commands
from xner_label.entities import Entity, Task
from xner_label.errors import StudioError
from xner_label.predicting.predictor import Predictor
from xner_label.settings.table import Settings
from xner_label.store import jobs, predictions, projects, tables, tasks
from xner_label.store.database import Store
from xner_label.studio import delivery, showing
from xner_label.studio.connect import ConnectOptions, connect
from xner_label.studio.push import PushOptions, push
from xner_label.studio.sync import sync

pytestmark = [pytest.mark.studio, pytest.mark.soak]

# More than there ever are: everything is to wait for people.
ALL = 100_000
# Tasks that came with their predictions; nothing else can predict them.
EXAMPLES = 20


def labelled(number: int) -> Task:
    """A task whose source is labelled, so that it can be predicted."""
    task, prediction = example(number)
    person, place = (entity.text for entity in prediction.entities)
    source = f"{person} went to {place}."
    spans = [(0, len(person), "PER"), (source.index(place), source.index(place) + len(place), "LOC")]
    return Task(id=task.id, text=task.text, source=source, source_entities=tuple(Entity(*span) for span in spans))


@pytest.fixture(autouse=True)
def soon_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the short form nobody waits a minute and a half for what may still be on its way."""
    if FACTOR == 1:
        for module in (delivery, showing):
            monkeypatch.setattr(module, "SETTLE", timedelta(seconds=5))


@dataclass
class Loop:
    """A connected project behind a proxy, with ``count`` tasks so far."""

    store: Store
    settings: Settings
    api: Any
    project: int
    proxy: FaultyProxy
    people: People
    examples: Callable[..., None]
    count: int = 0

    def grow(self, count: int, pipeline: str = "pipeline-1") -> None:
        """More tasks with predictions."""
        self.examples(self.store, range(self.count, self.count + count), pipeline)
        self.count += count

    def check(self) -> Counts:
        """Everything that must hold, asked without faults."""
        return require_nothing_lost(self.store, self.settings, self.api, self.project)


@pytest.fixture
def loop(
    store: Store,
    studio_settings: Settings,
    label_studio: StudioServer,
    api: Any,
    examples: Callable[..., None],
) -> Iterator[Loop]:
    proxy = FaultyProxy(label_studio.url)
    with proxy.open() as url:
        settings = replace(studio_settings, studio_url=url, aligner="none", projector="string")
        examples(store, range(EXAMPLES))
        number = connect(store, settings, ConnectOptions()).studio_project
        people = People(label_studio.url, label_studio.token, number)
        made = Loop(store, settings, api, number, proxy, people, examples, EXAMPLES)
        push(store, settings, PushOptions(limit=ALL))
        yield made


@pytest.fixture
def commands(loop: Loop, tmp_path: Path) -> Iterator[WarmCommands]:
    """Commands that are about to be killed."""
    pipeline = {"XNER_LABEL_PIPELINE_ALIGNER": "none", "XNER_LABEL_PIPELINE_PROJECTOR": "string"}
    with warm_commands(shell(loop.settings, **pipeline), tmp_path) as warm:
        yield warm


@dataclass
class Killer:
    """Starts a command and kills it at a random moment: by the clock, or as one of its requests arrives, is
    answered, or a little later. ``requests`` is how many it makes, as far as is known."""

    command: Sequence[str]
    commands: WarmCommands
    proxy: FaultyProxy
    seed: int
    requests: int = 6
    seconds: float = 1.0
    moments: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    def run(self) -> bool:
        """Whether it was killed; it may have been done before."""
        moment = self._chance.choice(["clock", "arrives", "answered", "later", "later"])
        number = self._chance.randint(1, self.requests)
        seen = 0
        timers: list[threading.Timer] = []
        wait = self._chance.expovariate(1 / 0.1) if moment == "later" else 0.0

        def arrives(request: Request) -> None:
            nonlocal seen
            seen += 1
            if moment == "arrives" and seen == number:
                self.commands.kill()

        def answered(request: Request, body: bytes) -> bytes:
            if moment in ("answered", "later") and seen == number:
                if wait:
                    timers.append(threading.Timer(wait, self.commands.kill))
                    timers[-1].start()
                else:
                    self.commands.kill()
            return body

        self.proxy.before, self.proxy.alter = arrives, answered
        began = time.monotonic()
        self.commands.start(self.command)
        if moment == "clock":
            timers.append(threading.Timer(self._chance.uniform(0.0, 1.2) * self.seconds, self.commands.kill))
            timers[-1].start()
        code, said = self.commands.wait()
        for timer in timers:  # else it would hit what is started next
            timer.cancel()
            timer.join()
        self.proxy.before, self.proxy.alter = (lambda request: None), (lambda request, body: body)
        killed = code == -signal.SIGKILL
        assert killed or code == 0, said
        if not killed:
            self.seconds = time.monotonic() - began
            self.requests = max(seen, 1)
        self.moments[moment if killed else "ended before"] += 1
        return killed


def kill_often(
    loop: Loop, killer: Killer, prepare: Callable[[int], None], mend: Callable[[], object], name: str
) -> None:
    """Prepare, kill, mend and compare until so many kills have hit."""
    killed = attempts = 0
    while killed < rounds(1):
        with loop.people.at_work(1):
            for _ in range(5):
                prepare(attempts)
                attempts += 1
                hit = killer.run()
                killed += hit
                until(lambda: not loop.proxy.under_way)  # what it sent arrives before anybody looks for it
                if not hit or attempts % 3 == 0 or killed == rounds(1):
                    mend()
                if killed == rounds(1):
                    break
        counts, moments = loop.check(), dict(killer.moments)
        print(
            f"\n{name}: {killed} kills in {attempts} runs, {moments}, {loop.people.submitted} submitted,", counts
        )


def test_kills_of_push(loop: Loop, commands: WarmCommands) -> None:
    killer = Killer(["push", "--limit", str(ALL)], commands, loop.proxy, seed=1)

    def mend() -> None:
        push(loop.store, loop.settings, PushOptions(limit=ALL))

    kill_often(loop, killer, lambda _: loop.grow(15), mend, "push")
    assert loop.check().tasks == loop.count


def test_kills_of_sync(loop: Loop, commands: WarmCommands) -> None:
    killer = Killer(["sync"], commands, loop.proxy, seed=2)

    def prepare(_: int) -> None:
        loop.grow(10)
        push(loop.store, loop.settings, PushOptions(limit=ALL))
        loop.people.submit(5)

    kill_often(loop, killer, prepare, lambda: sync(loop.store, loop.settings), "sync")


def test_kills_of_a_refresh(loop: Loop, commands: WarmCommands) -> None:
    killer = Killer(["push", "--limit", "0"], commands, loop.proxy, seed=3)
    loop.people.pause = 1.5
    loop.grow(30)
    push(loop.store, loop.settings, PushOptions(limit=ALL))

    def prepare(number: int) -> None:
        if number % 10 == 9:
            loop.grow(20, f"pipeline-{number + 1}")
            push(loop.store, loop.settings, PushOptions(limit=ALL))
        loop.examples(loop.store, range(loop.count), f"pipeline-{number + 2}")

    def mend() -> None:
        push(loop.store, loop.settings, PushOptions(limit=0))

    kill_often(loop, killer, prepare, mend, "refresh")


def test_kills_of_the_worker(loop: Loop, commands: WarmCommands) -> None:
    """Syncs and predictions as jobs: each done in the end, whoever died of it."""
    command = ["worker", "--once", "--lease", "1", "--kind", "sync", "--kind", "predict"]
    killer = Killer(command, commands, loop.proxy, seed=4)

    def prepare(number: int) -> None:
        added = [labelled(loop.count + offset) for offset in range(10)]
        loop.count += 10
        with loop.store.write() as session:
            project = projects.get_project(session, loop.settings.project).id
            tasks.add_tasks(session, project, [(task, "pool") for task in added])
            jobs.enqueue(session, project, "sync")
            jobs.enqueue(session, project, "predict")
        loop.people.submit(3)

    def mend() -> None:
        time.sleep(1.1)  # the lease
        code, said = commands.run(command)
        assert code == 0, said
        push(loop.store, loop.settings, PushOptions(limit=ALL))

    kill_often(loop, killer, prepare, mend, "worker")
    with loop.store.read() as session:
        project = projects.get_project(session, loop.settings.project)
        assert project.pipeline is not None
        predicted = predictions.predicted_task_ids(session, project.id, project.pipeline.name)
        assert len(predicted) == loop.count - EXAMPLES
        ended = Counter((job.state, job.problem) for job in session.query(tables.Job))
    print(dict(ended))
    # a job that three workers died of is given up, and the next one did what it should have done
    assert set(ended) <= {("done", None), ("failed", "its worker died 3 times")}


class FailingProxy(FaultyProxy):
    """Lets ``share`` of the requests, or of their answers, go wrong in one of many ways."""

    KINDS = ("cut", "lost", "half", "500", "502", "429", "page", "{}", "[]", "null")

    def __init__(self, upstream: str, seed: int) -> None:
        super().__init__(upstream)
        self.share = 0.0
        self.faults: Counter[str] = Counter()
        self._chance = random.Random(seed)

    def relay(self, handler: BaseHTTPRequestHandler) -> None:
        if self._chance.random() >= self.share:
            super().relay(handler)
            return
        kind = self._chance.choice(self.KINDS)
        self.faults[kind] += 1
        # who is told to come back later hasn't been served
        arrives = kind != "429" and self._chance.random() < 0.5
        if kind in ("lost", "half") or arrives:
            self._lose(handler, half=kind == "half")
        if kind in ("cut", "lost", "half"):
            handler.close_connection = True
            return
        if not arrives:
            handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        as_json, as_page = [("Content-Type", "application/json")], [("Content-Type", "text/html")]
        answers = {
            "500": (500, as_json, b'{"detail": "failed"}'),
            "502": (502, as_page, b"<html>Bad Gateway</html>"),
            "429": (429, as_json, b'{"detail": "Request was throttled"}'),
            "page": (200, as_page, b"<html>Sign in</html>"),
        }
        reply(handler, *answers.get(kind, (200, as_json, kind.encode())))

    def _lose(self, handler: BaseHTTPRequestHandler, *, half: bool) -> None:
        """Carry the request out and keep its answer, or the second half of it, back."""
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        host, _, port = self.upstream.removeprefix("http://").partition(":")
        with contextlib.closing(http.client.HTTPConnection(host, int(port), timeout=60)) as server:
            headers = {
                name: value
                for name, value in handler.headers.items()
                if name.lower() not in ("content-length", "accept-encoding", "connection")
            }
            server.request(handler.command, handler.path, body, headers)
            answer = server.getresponse().read()
        if half and len(answer) > 1:
            handler.send_response(200)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Content-Length", str(len(answer)))
            handler.end_headers()
            handler.wfile.write(answer[: len(answer) // 2])


def test_a_network_that_fails_a_quarter_of_the_time(
    store: Store, studio_settings: Settings, label_studio: StudioServer, api: Any
) -> None:
    proxy = FailingProxy(label_studio.url, seed=6)
    outcomes: Counter[str] = Counter()
    with proxy.open() as url:
        settings = replace(studio_settings, studio_url=url, aligner="none", projector="string")
        with store.write() as session:
            project = projects.ensure_project(session, settings.project, LABELS).id
        number = connect(store, settings, ConnectOptions()).studio_project
        people = People(label_studio.url, label_studio.token, number)

        def attempt(name: str, step: Callable[[], object]) -> None:
            try:
                step()
                outcomes[f"{name} well"] += 1
            except StudioError:
                outcomes[f"{name} stopped"] += 1

        count = 0
        with people.at_work(2):
            for _ in range(rounds(2)):
                with store.write() as session:
                    added = [labelled(count + offset) for offset in range(20)]
                    tasks.add_tasks(session, project, [(task, "pool") for task in added])
                count += 20
                proxy.share = 0.25
                Predictor(store, settings).predict_project()
                attempt("push", lambda: push(store, settings, PushOptions(limit=ALL)))
                attempt("sync", lambda: sync(store, settings))
        proxy.share = 0.0
        push(store, settings, PushOptions(limit=ALL))
        counts = require_nothing_lost(store, settings, api, number)
    print(f"\n{dict(proxy.faults)}; {dict(outcomes)}; {people.submitted} submitted;", counts)
    assert counts.tasks == count


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_two_of_everything_at_once(
    kind: str,
    request: pytest.FixtureRequest,
    label_studio: StudioServer,
    studio_settings: Settings,
    api: Any,
    command_line: list[str],
    tmp_path: Path,
) -> None:
    from xner_label.store import migrating
    from xner_label.store.database import open_store

    if kind == "postgresql" and FACTOR == 1:
        pytest.skip("only in the long form: `make soak`")
    url = request.getfixturevalue("database_url" if kind == "sqlite" else "postgres_url")
    settings = replace(studio_settings, database_url=url, aligner="none", projector="string")
    environment = shell(settings, XNER_LABEL_PIPELINE_ALIGNER="none", XNER_LABEL_PIPELINE_PROJECTOR="string")
    commands = [
        ["push", "--limit", str(ALL)],
        ["sync"],
        ["predict"],
        ["worker", "--once"],
    ]
    codes: Counter[str] = Counter()
    with open_store(url, check=False) as store:
        migrating.upgrade(store)
        with store.write() as session:
            project = projects.ensure_project(session, settings.project, LABELS).id
        number = connect(store, settings, ConnectOptions()).studio_project
        people = People(label_studio.url, label_studio.token, number)
        count = 0
        with people.at_work(2):
            for _ in range(rounds(1)):
                with store.write() as session:
                    added = [labelled(count + offset) for offset in range(20)]
                    tasks.add_tasks(session, project, [(task, "pool") for task in added])
                    for name in ("sync", "predict"):
                        jobs.enqueue(session, project, name)
                count += 20
                running = [
                    (
                        command[0],
                        begin(
                            [*command_line, *command],
                            env=environment,
                            cwd=tmp_path,
                            stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE,
                            text=True,
                        ),
                    )
                    for command in commands
                    for _ in range(2)
                ]
                for name, process in running:
                    _, said = process.communicate(timeout=LIMIT)
                    codes[f"{name} {process.returncode}"] += 1
                    assert process.returncode in (0, 5), f"{name}: {said}"
                    assert "Traceback" not in said
        Predictor(store, settings).predict_project()
        push(store, settings, PushOptions(limit=ALL))
        counts = require_nothing_lost(store, settings, api, number)
        with store.read() as session:
            states = Counter(job.state for job in session.query(tables.Job))
    print(f"\n{dict(codes)}; {people.submitted} submitted;", counts, dict(states))
    assert counts.tasks == count
