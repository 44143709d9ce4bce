"""Two syncs at once, in two processes: the one that asked first and writes last knows less."""

from __future__ import annotations

import subprocess
import threading
from dataclasses import replace

import pytest
from sqlalchemy import select

from tests.faulty_proxy import FaultyProxy
from tests.integration.test_studio_faults import shell
from tests.integration.test_studio_loop import region
from tests.processes import LIMIT, begin
from xner_label.store import gold, tables
from xner_label.studio.connect import ConnectOptions, connect
from xner_label.studio.push import PushOptions, push
from xner_label.studio.sync import sync

pytestmark = pytest.mark.studio


class Barrier(FaultyProxy):
    """Holds the first question for users, the last thing a sync asks, until it is let go."""

    def __init__(self, upstream):
        super().__init__(upstream)
        self.held, self.go, self.armed = threading.Event(), threading.Event(), True
        self.before = self.wait

    def wait(self, request):
        if self.armed and request[1].startswith("/api/users"):
            self.armed = False
            self.held.set()
            assert self.go.wait(LIMIT)


@pytest.fixture
def slow(store, studio_settings, label_studio, api, examples, command_line, tmp_path):
    """Settings, the two tasks over there, and a sync in another process that has asked everything and waits."""
    examples(store, range(2))
    barrier = Barrier(label_studio.url)
    with barrier.open() as url:
        settings = replace(studio_settings, studio_url=url)
        project = connect(store, settings, ConnectOptions()).studio_project
        push(store, settings, PushOptions(limit=2))
        rows = list(api.tasks.list(project=project, fields="all"))
        started = []

        def start():
            process = begin(
                [*command_line, "sync"], env=shell(settings), cwd=tmp_path, stderr=subprocess.PIPE, text=True
            )
            started.append(process)
            assert barrier.held.wait(LIMIT)

        def finish():
            barrier.go.set()
            _, said = started[0].communicate(timeout=LIMIT)
            assert started[0].returncode == 0, said

        yield settings, rows, start, finish
        barrier.go.set()


def answers(store):
    with store.read() as session:
        return [
            [(entity["start"], entity["label"]) for entity in row.entities]
            for row in gold.current_annotations(session, 1)
        ]


def test_what_the_slower_one_never_saw_is_not_deleted(store, slow, api):
    settings, (row, _), start, finish = slow
    api.annotations.create(row.id, result=row.predictions[0].result)
    start()
    api.annotations.create(row.id, result=[])
    assert sync(store, settings).added == 2
    finish()
    assert len(answers(store)) == 2
    again = sync(store, settings, full=True)
    assert (again.added, again.updated, again.deleted, again.revived) == (0, 0, 0, 0)


def test_the_older_state_of_an_annotation_does_not_win(store, slow, api):
    settings, (row, _), start, finish = slow
    text = row.data["text"]
    made = api.annotations.create(row.id, result=[region(0, 6, "PER", text)])
    start()
    api.annotations.update(made.id, result=[region(0, 6, "LOC", text)])
    assert sync(store, settings).added == 1
    finish()
    assert answers(store) == [[(0, "LOC")]]
    assert sync(store, settings).updated == 0
    assert sync(store, settings, full=True).updated == 0


def test_what_was_deleted_meanwhile_stays_deleted(store, slow, api):
    settings, (row, _), start, finish = slow
    made = api.annotations.create(row.id, result=[])
    start()
    api.annotations.delete(made.id)
    sync(store, settings)
    finish()
    assert answers(store) == []
    sync(store, settings)
    assert answers(store) == []


def test_a_store_in_which_the_older_state_came_last_is_mended(store, studio_settings, api, examples):
    """As an earlier version could leave it: every sync then failed."""
    examples(store, range(1))
    project = connect(store, studio_settings, ConnectOptions()).studio_project
    push(store, studio_settings, PushOptions(limit=1))
    (row,) = api.tasks.list(project=project, fields="all")
    made = api.annotations.create(row.id, result=[])
    sync(store, studio_settings)
    api.annotations.update(made.id, result=[region(0, 6, "PER", row.data["text"])])
    sync(store, studio_settings)
    with store.write() as session:
        older = session.scalars(select(tables.Annotation).order_by(tables.Annotation.id)).first()
        columns = {
            column.key: getattr(older, column.key)
            for column in tables.Annotation.__table__.columns
            if column.key != "id"
        }
        session.delete(older)
        session.flush()
        session.add(tables.Annotation(**columns))
    assert answers(store) == [[(0, "PER")]]
    report = sync(store, studio_settings, full=True)
    assert (report.added, report.updated) == (0, 0)


def test_two_new_tasks_with_one_id_are_both_taken_in(store, studio_settings, api):
    project = connect(store, studio_settings, ConnectOptions()).studio_project
    body = [{"data": {"text": f"Mto Tana {number}", "source_text": "", "xner_id": "river"}} for number in range(2)]
    made = api.projects.import_tasks(project, request=body, return_task_ids=True)
    for number in made.task_ids:
        api.annotations.create(number, result=[region(4, 8, "LOC", "Mto Tana 0")])
    report = sync(store, studio_settings)
    assert (report.new_tasks, report.added) == (2, 2)
    (doubled,) = report.doubled
    assert (doubled.xner_id, doubled.stored_as) == ("river", f"studio-{doubled.studio_task}")
    again = sync(store, studio_settings, full=True)
    assert (again.new_tasks, again.added, again.deleted) == (0, 0, 0)
    with store.read() as session:
        names = [item.task.external_id for item in gold.gold_of(session, 1)]
    assert sorted(names) == ["river", doubled.stored_as]
