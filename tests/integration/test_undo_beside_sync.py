"""`undo` beside a running `sync`, each a process of its own, whichever is killed: what was withdrawn stays so
until it changes in Label Studio, and nothing that people say is lost."""

from __future__ import annotations

import random
import signal
import subprocess
import threading
from collections import Counter
from dataclasses import replace

import pytest
from sqlalchemy import select

from tests.faulty_proxy import FaultyProxy
from tests.integration.test_name_cards import add_occurrences, cards, say
from tests.integration.test_studio_faults import shell
from tests.processes import LIMIT, begin
from tests.soak import rounds
from tests.store_fixtures import sqlite_url as sqlite_url
from tests.warm_process import warm_commands
from xner_label.store import gold, migrating, names, tables
from xner_label.store.checking import check_store
from xner_label.store.database import open_store
from xner_label.studio.asking_names import ask_names
from xner_label.studio.connect import ConnectOptions, connect
from xner_label.studio.push import PushOptions, push
from xner_label.studio.sync import sync

pytestmark = pytest.mark.studio

SAID, CHANGED, NEW = "said before", "changed meanwhile", "new"
UNDO = ("undo", "--since", "2020-01-01")


class Barrier(FaultyProxy):
    """Holds the ``held_back``-th question for users until it is let go: an annotation's authors are asked for
    first, then those of answers about names."""

    def __init__(self, upstream, held_back):
        super().__init__(upstream)
        self.held, self.go, self.left = threading.Event(), threading.Event(), held_back
        self.before = self.wait

    def wait(self, request):
        if request[1].startswith("/api/users"):
            self.left -= 1
            if not self.left:
                self.held.set()
                assert self.go.wait(LIMIT)


SQLITE, POSTGRES = "sqlite_url", pytest.param("postgres_url", marks=pytest.mark.postgres)


@pytest.fixture
def database_url(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def store(database_url):
    with open_store(database_url, check=False) as store:
        migrating.upgrade(store)
        yield store


@pytest.fixture
def answered(store, studio_settings, label_studio, api, examples):
    """A function that gives a proxy's settings and makes three answered tasks, one answered card and another."""

    def prepare(url):
        settings = replace(studio_settings, studio_url=url)
        examples(store, range(3))
        add_occurrences(store, settings, first=100)
        add_occurrences(store, settings, "Nairobi", "PER", "Nairobi", first=200)
        connect(store, settings, ConnectOptions(backend=False))
        project = connect(store, settings, ConnectOptions(backend=False)).studio_project
        push(store, settings, PushOptions(limit=3))
        ask_names(store, settings, 5)
        rows = list(api.tasks.list(project=project, fields="all"))
        _, (card, other) = cards(api, store)
        made = {row.id: api.annotations.create(row.id, result=[]) for row in rows[:2]}
        say(api, card, "label:ORG")
        sync(store, settings)
        return settings, rows, made, other

    return prepare


def counted(store):
    """Tasks of Label Studio with answers that count, and questions about names that have one."""
    with store.read() as session:
        tasks = {
            session.get_one(tables.Task, row.task_id).studio_task for row in gold.current_annotations(session, 1)
        }
        asked = names.questions(session, 1)
        said = {
            asked[state.question].studio_task for state in names.answer_states(session, 1) if not state.withdrawn
        }
    return tasks, said


def require_sound(store):
    """Each state of an answer is stored once, and every row holds together with the others."""
    with store.read() as session:
        columns = (
            tables.Annotation.studio_annotation,
            tables.Annotation.studio_updated_at,
            tables.Annotation.deleted,
        )
        states = Counter(map(tuple, session.execute(select(*columns))))
    assert max(states.values()) == 1
    assert check_store(store).problems == {}


@pytest.mark.parametrize(
    ("database_url", "killed"),
    [
        (SQLITE, False),
        (SQLITE, True),
        pytest.param("postgres_url", False, marks=pytest.mark.postgres),
    ],
    indirect=["database_url"],
)
@pytest.mark.parametrize("held_back", [1, 2], ids=["tasks", "names"])
def test_undo_while_a_sync_is_under_way(
    held_back, killed, store, answered, label_studio, api, command_line, tmp_path
):
    barrier = Barrier(label_studio.url, 10**6)
    with barrier.open() as url:
        settings, rows, made, other = answered(url)
        line, environment = [*command_line, "sync"], shell(settings)
        said, changed, new = (row.id for row in rows)
        api.annotations.update(made[changed].id, result=rows[1].predictions[0].result)
        api.annotations.create(new, result=[])
        say(api, other, "label:ORG")
        barrier.left = held_back
        syncing = begin(line, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        assert barrier.held.wait(LIMIT)
        done = subprocess.run(
            [*command_line, *UNDO], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT
        )
        assert done.returncode == 0, done.stderr
        if killed:
            syncing.kill()
        barrier.go.set()
        _, told = syncing.communicate(timeout=LIMIT)
        assert syncing.returncode == (-signal.SIGKILL if killed else 0), told
        # where the sync is held at the names, its answers in tasks are stored when undo comes, and go, too
        later = {changed, new} if held_back == 1 else set()
        for _ in range(2):
            sync(store, settings)
            assert counted(store) == (later, {other.id})
        assert sync(store, settings, full=True).revived == 0
        assert counted(store) == (later, {other.id})
        assert said not in counted(store)[0]
        require_sound(store)


@pytest.mark.soak
@pytest.mark.parametrize("database_url", [SQLITE, POSTGRES], indirect=True)
def test_kills_of_either_at_any_moment(store, answered, label_studio, api, tmp_path):
    """Answers change, a sync and an undo begin together, and one or both are killed."""
    drawn, ended = random.Random(5), Counter()
    settings, rows, made, other = answered(label_studio.url)
    said, *_ = (row.id for row in rows)
    environment = shell(settings) | {"LABEL_STUDIO_API_KEY": settings.studio_api_key}
    folders = [tmp_path / "sync", tmp_path / "undo"]
    for folder in folders:
        folder.mkdir()
    results = [[], rows[1].predictions[0].result]
    with warm_commands(environment, folders[0]) as syncs, warm_commands(environment, folders[1]) as undos:
        for number in range(rounds(2)):
            for row in rows[1:]:
                if row.id not in made:
                    made[row.id] = api.annotations.create(row.id, result=[])
                api.annotations.update(made[row.id].id, result=results[number % 2])
            syncs.start(["sync"])
            waiting = threading.Event()
            waiting.wait(drawn.uniform(0.0, 0.8))
            undos.start(UNDO)
            waiting.wait(drawn.uniform(0.0, 0.4))
            for commands in drawn.choice([(syncs,), (undos,), (syncs, undos)]):
                commands.kill()
            for name, commands in (("sync", syncs), ("undo", undos)):
                code, told = commands.wait()
                assert code in (0, -signal.SIGKILL), told
                ended[name, code] += 1
            require_sound(store)
            sync(store, settings)
            before = counted(store)
            assert undos.run(UNDO)[0] == 0
            for options in ({}, {"full": True}):
                sync(store, settings, **options)
                assert counted(store) == (set(), set())
            assert said not in before[0] or not number
            require_sound(store)
        say(api, other, "label:ORG")
        api.annotations.update(made[rows[1].id].id, result=results[rounds(2) % 2])
        sync(store, settings)
        assert counted(store) == ({rows[1].id}, {other.id})
    print(dict(ended))
