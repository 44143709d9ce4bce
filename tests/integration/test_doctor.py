"""`xner-label doctor` against real servers: what it finds, and that looking changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demo.studio_server import ROOT, StudioServer, running_studio
from tests.backend_process import PASSWORD, SECRET
from tests.backend_process import predicted as predicted
from tests.backend_process import served as served
from tests.processes import LIMIT, until
from xner_label import sample
from xner_label.entities import Task
from xner_label.reporting.connection import backend_checks, project_checks
from xner_label.settings.table import Settings
from xner_label.store import migrating, pipelines, projects, tables
from xner_label.store.database import Store, open_store
from xner_label.studio.connect import ConnectOptions, connect
from xner_label.studio.probe import probe
from xner_label.studio.sync import sync

BACKEND = "http://127.0.0.1:9090"


@pytest.fixture(scope="module")
def strict_studio(studio_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StudioServer]:
    """A Label Studio with its own defaults: no legacy tokens, no backends on private addresses."""
    folder = tmp_path_factory.mktemp("strict-studio")
    with running_studio(studio_path, folder, legacy_tokens=False, local_backends=False) as server:
        yield server


@pytest.mark.studio
def test_a_server_set_up_for_us(label_studio: StudioServer) -> None:
    before = _listed(label_studio, "/api/webhooks/")
    result = probe(label_studio.url, label_studio.token, BACKEND)
    assert (result.version, result.token, result.user) == ("1.23.2", "legacy", label_studio.user)
    assert (result.backend_allowed, result.webhook_allowed) == (True, True)
    assert _listed(label_studio, "/api/webhooks/") == before


@pytest.mark.studio
def test_a_personal_access_token(label_studio: StudioServer, access_token: str) -> None:
    result = probe(label_studio.url, access_token, BACKEND)
    assert (result.token, result.user) == ("personal access", label_studio.user)


@pytest.mark.studio
@pytest.mark.parametrize("wrong", ["0" * 40, "a.b.c"])
def test_a_wrong_token(label_studio: StudioServer, wrong: str) -> None:
    result = probe(label_studio.url, wrong, BACKEND)
    assert result.user is None
    assert result.refusal


@pytest.mark.studio
def test_a_server_with_its_own_defaults(
    strict_studio: StudioServer, issue_access_token: Callable[[StudioServer], str], tmp_path: Path
) -> None:
    refused = probe(strict_studio.url, strict_studio.token, BACKEND)
    assert "legacy" in refused.refusal
    result = probe(strict_studio.url, issue_access_token(strict_studio), BACKEND)
    assert (result.user, result.backend_allowed, result.webhook_allowed) == (strict_studio.user, False, False)


@pytest.mark.studio
def test_doctor_says_what_is_wrong_and_then_that_all_is_well(
    label_studio: StudioServer, command_line: list[str], tmp_path: Path
) -> None:
    flags = ("--studio-url", label_studio.url)
    code, document, shown = _doctor(command_line, tmp_path, label_studio.token, *flags)
    assert code == 6
    assert [check["name"] for check in document["checks"] if check["verdict"] == "no"] == ["database"]
    assert not (tmp_path / "xner-label.db").exists()
    assert label_studio.token not in shown

    with open_store(f"sqlite:///{tmp_path}/xner-label.db", check=False) as store:
        migrating.upgrade(store)
    code, document, shown = _doctor(command_line, tmp_path, label_studio.token, *flags)
    assert (code, document["healthy"]) == (0, True), shown


def test_doctor_without_a_label_studio(command_line: list[str], tmp_path: Path) -> None:
    code, document, _ = _doctor(command_line, tmp_path, "", "--studio-url", "http://127.0.0.1:1")
    check = next(check for check in document["checks"] if check["name"] == "Label Studio")
    assert code == 6
    assert check["verdict"] == "no"
    assert "LABEL_STUDIO_URL" in check["remedy"]


@pytest.mark.studio
def test_doctor_asks_the_backend_and_label_studio(
    served: Callable[..., Any],
    predicted: list[Task],
    store: Store,
    studio_settings: Settings,
    label_studio: StudioServer,
    api: Any,
    tmp_path: Path,
) -> None:
    """What it claims, against what is so: each wrong in turn."""
    with served(user="ls") as backend:
        right = replace(
            studio_settings,
            labels=sample.LABELS,
            aligner="none",
            projector="string",
            backend_url=backend.url,
            backend_user="ls",
            backend_password=PASSWORD,
            webhook_secret=SECRET,
        )

        def wrong(settings: Settings) -> dict[str, str]:
            checks = [*backend_checks(settings), *project_checks(settings)]
            return {check.name: check.found for check in checks if check.verdict == "no"}

        assert wrong(right) == {}
        number = connect(store, right, ConnectOptions()).studio_project
        assert set(wrong(right)) == {"last sync"}
        sync(store, right)
        assert wrong(right) == {}
        assert "refuses the user" in wrong(replace(right, backend_password="another"))["ML backend"]
        assert "another secret" in wrong(replace(right, webhook_secret="another"))["webhooks"]
        assert "another secret" in wrong(replace(right, webhook_secret="another"))["attached backend"]
        assert "doesn't answer" in wrong(replace(right, backend_url="http://127.0.0.1:9"))["ML backend"]
        assert "isn't an ML backend" in wrong(replace(right, backend_url=label_studio.url))["ML backend"]
        assert wrong(replace(right, webhook_secret=""))["webhooks"] == "without a secret there are none"
        (hook,) = api.webhooks.list(project=number)
        api.webhooks.update(hook.id, url=hook.url, is_active=False)
        assert wrong(right) == {"attached backend": "Label Studio: it calls no webhook"}
        api.webhooks.update(hook.id, url=hook.url, is_active=True)
        (row,) = api.ml.list(project=number)
        api.ml.delete(row.id)
        assert "it doesn't know the backend" in wrong(right)["attached backend"]
        with store.write() as session:
            project = projects.get_project(session, "default")
            project.pipeline = pipelines.ensure_pipeline(session, "another")
        until(lambda: not wrong(right).get("ML backend"))
        run = tables.ModelRun(
            project_id=project.id,
            version="crf-1",
            kind="crf",
            path="gone",
            gold_tasks=1,
            silver_tasks=0,
            config={},
            metrics={},
        )
        with store.write() as session:
            session.add(run)
            session.flush()
            session.add(tables.Promotion(project_id=project.id, model_run_id=run.id, reason="test"))
        assert "there is no" in wrong(right)["served model"]
        elsewhere = f"sqlite:///{tmp_path}/elsewhere.db"
        with open_store(elsewhere, check=False) as other:
            migrating.upgrade(other)
            with other.write() as session:
                row = projects.ensure_project(session, "default", sample.LABELS)
                row.pipeline = pipelines.ensure_pipeline(session, "somebody else's")
        assert "and the store" in wrong(replace(right, database_url=elsewhere))["ML backend"]
        api.projects.delete(number)
        assert "connected project" in wrong(right)


def _doctor(command: list[str], folder: Path, token: str, *flags: str) -> tuple[int, dict[str, Any], str]:
    environment = os.environ | {"LABEL_STUDIO_API_KEY": token, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "doctor", "--json", *flags],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    return done.returncode, json.loads(done.stdout), done.stdout + done.stderr


def _listed(server: StudioServer, path: str) -> list[Any]:
    request = urllib.request.Request(server.url + path, headers={"Authorization": f"Token {server.token}"})
    with urllib.request.urlopen(request, timeout=LIMIT) as response:
        result: list[Any] = json.load(response)
        return result
