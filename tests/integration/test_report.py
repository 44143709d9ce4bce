"""`xner-label report`: the same numbers as a page and as a document."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests import report_store
from tests.store_fixtures import each_store as each_store
from tests.store_fixtures import each_url as each_url
from tests.store_fixtures import sqlite_url as sqlite_url
from xner_label.cli.main import cli
from xner_label.errors import UsageError
from xner_label.reporting.report import report
from xner_label.reporting.report_page import render
from xner_label.reporting.second_look import second_looks
from xner_label.store import projects, tasks
from xner_label.store.database import Store


def test_what_the_report_holds(each_store: Store) -> None:
    report_store.fill(each_store)
    document = report(each_store, "default")
    assert document.desk is not None
    assert document.desk.calibration.raw is not None
    assert document.errors is not None
    # The last task isn't settled; tasks 2, 5 and 8 lost their entity, 3 and 7 its label.
    assert (document.desk.calibration.raw.n, document.desk.calibration.raw.errors) == (11, 5)
    assert {row.stage: row.kinds for row in document.errors.stages} == {
        "source tagger": {"invented": 3, "mislabelled": 2}
    }
    ann, bob = document.people
    assert (ann.annotator, ann.tasks, bob.tasks) == ("ann@example.org", 11, 4)
    assert ann.seconds == 15.0
    assert bob.agreement is not None
    assert bob.agreement.hits == bob.agreement.n == 6
    (plan,) = document.desk.plans
    assert (plan.answered_names, plan.planned_names, plan.name_changes) == (1, 1, 0)
    assert document.desk.drift.verdict.action is None
    assert [(name.target, name.answers) for name in document.names] == [("kenya", {"ann@example.org": "LOC"})]
    assert [(run.version, run.promoted, run.low) for run in document.runs] == [
        ("crf-10", False, 0.7),
        ("crf-20", True, 0.7),
    ]


def test_the_page_says_the_same_and_needs_nothing_else(each_store: Store) -> None:
    report_store.fill(each_store)
    page = render(report(each_store, "default"))
    assert page.count("<svg") == 7
    assert "<script" not in page
    assert not re.search(r"(?:src|href)=[\"'](?!#)", page)  # nothing is fetched
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for shown in ("crf-20", "ann@example.org", "source tagger", "11 reviewed entities", "Go on"):
        assert shown in page


def test_what_people_wrote_stays_text(each_store: Store) -> None:
    report_store.fill(each_store)
    with each_store.write() as session:
        projects.get_project(session, "default").name = "<img src=x onerror=alert(1)>"
    page = render(report(each_store, "<img src=x onerror=alert(1)>"))
    assert "<img" not in page
    assert "&lt;img" in page


def test_a_project_without_anything(each_store: Store) -> None:
    with each_store.write() as session:
        projects.ensure_project(session, "default", ["PER"])
    document = report(each_store, "default")
    assert (document.desk, document.errors, document.people) == (None, None, [])
    page = render(document)
    assert "Nothing that was predicted has been reviewed yet." in page
    assert "<svg" not in page


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, each_url: str, each_store: Store) -> None:
    monkeypatch.chdir(tmp_path)
    report_store.fill(each_store)
    options = ["report", "--database-url", each_url]
    done = CliRunner().invoke(cli, options)
    assert done.exit_code == 0, done.output
    assert "report.html" in done.stderr
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    document = json.loads(CliRunner().invoke(cli, [*options, "--json"]).stdout)
    assert document["desk"]["calibration"]["raw"]["n"] == 11
    for wrong in (["-o", "nowhere/report.html"], ["--project", "other"]):
        assert isinstance(CliRunner().invoke(cli, [*options, *wrong]).exception, UsageError)


def test_second_looks_name_the_task_in_label_studio(each_store: Store) -> None:
    report_store.fill(each_store)
    with each_store.write() as session:
        row = projects.get_project(session, "default")
        row.studio_url, row.studio_project = "http://127.0.0.1:8080", 3
        for task in tasks.iterate_tasks(session, row.id):
            task.studio_task = 100 + task.id
    looks = second_looks(each_store, "default", 4)
    assert len(looks) == 4
    # Most of the other places called Kenya are places.
    assert {look.slip.label for look in looks if look.slip.marked} == {"PER"}
    assert all(look.studio_task and "/projects/3/data?task=1" in look.studio_task for look in looks)
