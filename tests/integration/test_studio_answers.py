"""Answers that are none, listings that are cut short, servers that begin anew: nothing is concluded from them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from tests.faulty_proxy import FaultyProxy
from xner_label.errors import CheckFailedError, StudioError
from xner_label.reporting.undoing import undo
from xner_label.store import gold, reviews, tables
from xner_label.studio.connect import ConnectOptions, connect
from xner_label.studio.push import PushOptions, push
from xner_label.studio.sync import sync

pytestmark = pytest.mark.studio


def settled(store):
    with store.read() as session:
        return sorted(item.task.external_id for item in gold.gold_of(session, 1))


def annotation_rows(store):
    with store.read() as session:
        return session.scalar(select(func.count()).select_from(tables.Annotation))


@pytest.fixture
def proxy(label_studio):
    return FaultyProxy(label_studio.url)


@pytest.fixture
def reviewed(store, studio_settings, api, examples, proxy):
    """Settings through the proxy, the number of the project there, and 14 tasks of which 12 are reviewed."""
    examples(store, range(14))
    with proxy.open() as url:
        settings = replace(studio_settings, studio_url=url)
        project = connect(store, settings, ConnectOptions()).studio_project
        push(store, settings, PushOptions(limit=14))
        rows = list(api.tasks.list(project=project, fields="all"))
        for row in rows[:12]:
            api.annotations.create(row.id, result=row.predictions[0].result)
        assert sync(store, settings).added == 12
        yield settings, project, rows


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b"null", b'"text"', b"<html></html>", b'{"tasks": [], "total": 9}']
)
def test_an_answer_that_is_none_changes_nothing(body, store, reviewed, api, proxy):
    settings, _, rows = reviewed
    steps = {
        "/api/tasks/?": [lambda: sync(store, settings)],
        "/api/projects/": [
            lambda: sync(store, settings),
            lambda: push(store, settings, PushOptions(limit=30)),
            lambda: connect(store, settings, ConnectOptions()),
        ],
        "/api/dm/views/": [lambda: connect(store, settings, ConnectOptions())],
    }
    for part, several in steps.items():
        proxy.answer = lambda request, part=part: body if part in request[1] else None
        for step in several:
            with pytest.raises(StudioError, match="Label Studio") as caught:
                step()
            assert caught.value.exit_code == 4
    proxy.answer = lambda request: None
    api.tasks.delete(str(rows[0].id))
    proxy.answer = lambda request: body if request[0] == "GET" and "include=id&" in request[1] else None
    with pytest.raises(StudioError):
        sync(store, settings)
    assert len(settled(store)) == 12
    proxy.answer = lambda request: None
    assert sync(store, settings).deleted_tasks == 1


def test_deletions_on_a_large_scale_are_asked_about_and_what_comes_back_counts_again(store, reviewed, proxy):
    settings, _, _ = reviewed
    rows = annotation_rows(store)
    nothing = json.dumps({"tasks": [], "total": 0, "total_annotations": 0, "total_predictions": 0}).encode()
    proxy.answer = lambda request: nothing if request[1].startswith("/api/tasks/?") else None
    with pytest.raises(CheckFailedError, match=r"12 of 12 annotations are gone.*--allow-deletions"):
        sync(store, settings)
    assert len(settled(store)) == 12
    report = sync(store, settings, allow_deletions=True)
    assert (report.deleted, report.deleted_tasks) == (12, 14)
    assert settled(store) == []
    # Label Studio is restored, with every task and annotation as they were
    proxy.answer = lambda request: None
    report = sync(store, settings)
    assert (report.revived, report.added, report.new_tasks) == (12, 0, 0)
    assert len(settled(store)) == 12
    assert annotation_rows(store) == rows
    with store.read() as session:
        assert reviews.count_open(session, 1) == 2
    assert push(store, settings, PushOptions(limit=14)).pushed == 0
    again = sync(store, settings, full=True)
    assert (again.revived, again.added, again.updated, again.deleted) == (0, 0, 0, 0)


def test_withdrawn_answers_stay_withdrawn_until_they_change_over_there(store, reviewed, api):
    settings, _, rows = reviewed
    assert undo(store, settings.project, annotator=api.users.whoami().email).answers == 12
    for options in ({}, {"full": True}):
        report = sync(store, settings, **options)
        assert (report.revived, report.added, report.updated, report.deleted) == (0, 0, 0, 0)
        assert settled(store) == []
    first, second = (api.tasks.get(str(row.id)).annotations[0]["id"] for row in rows[:2])
    api.annotations.update(first, result=rows[0].predictions[0].result)
    api.annotations.delete(second)
    report = sync(store, settings)
    assert (report.revived, report.added + report.updated, report.deleted) == (0, 1, 0)
    assert len(settled(store)) == 1
    with store.read() as session:
        assert reviews.count_open(session, 1) == 13


def test_another_project_under_the_old_number_is_not_taken_for_the_old_one(store, reviewed, api):
    settings, project, _ = reviewed
    config = api.projects.get(project).label_config
    stranger = api.projects.create(title="begun anew", label_config=config)
    with store.write() as session:
        # as if the server had lost its data and handed the number out again
        session.get(tables.Project, 1).studio_project = stranger.id
    for step in (
        lambda: sync(store, settings, full=True, allow_deletions=True),
        lambda: push(store, settings, PushOptions(limit=14)),
        lambda: connect(store, settings, ConnectOptions()),
    ):
        with pytest.raises(StudioError, match=r"isn't the one that was connected.*connect --new"):
            step()
    assert len(settled(store)) == 12
    connection = connect(store, settings, ConnectOptions(new=True))
    assert connection.created
    assert "2 tasks waited there" in " ".join(connection.notes)
    report = sync(store, settings, full=True)
    assert (report.deleted, report.deleted_tasks) == (0, 0)
    report = push(store, settings, PushOptions(limit=2))
    assert (report.chosen, report.pushed) == (0, 2)
    assert len(settled(store)) == 12


def test_a_project_made_before_its_time_was_noted_is_told_by_its_mark(store, reviewed, api):
    settings, project, _ = reviewed
    with store.write() as session:
        session.get(tables.Project, 1).studio_created_at = None
    assert sync(store, settings).deleted == 0
    with store.read() as session:
        assert session.get(tables.Project, 1).studio_created_at is not None
    with store.write() as session:
        session.get(tables.Project, 1).studio_created_at = None
    mark = "Made by XNER-Label for its project 'default' of 2020-01-01T00:00:00+00:00"
    api.projects.update(project, description=mark)
    with pytest.raises(StudioError, match="isn't the one that was connected"):
        sync(store, settings)


def test_two_projects_of_the_store_never_share_one(store, reviewed):
    from xner_label.errors import UsageError

    settings, project, _ = reviewed
    other = replace(settings, project="other")
    with pytest.raises(UsageError, match="is connected with project 'default'"):
        connect(store, other, ConnectOptions(studio_project=project))
