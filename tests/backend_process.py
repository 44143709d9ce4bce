"""A running backend, for tests that talk to it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from demo.studio_server import ROOT
from tests.processes import LIMIT
from xner_label import sample
from xner_label.entities import Task
from xner_label.predicting.predictor import Predictor
from xner_label.settings.table import Settings
from xner_label.store import projects, tables, tasks
from xner_label.store.database import Store
from xner_label.studio.labelling import labelling_config

SECRET = "hook-8d1f"
PASSWORD = "pass-41c7"
TOKEN = "0123456789abcdef0123456789abcdef01234567"
CONFIG = labelling_config(sample.LABELS)


@dataclass
class Served:
    """A running backend. ``log`` is everything it wrote."""

    url: str
    process: subprocess.Popen[str]
    folder: Path
    auth: tuple[str, str] | None = None
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = httpx.Client(base_url=self.url, timeout=60, auth=self.auth)

    @property
    def log(self) -> str:
        return (self.folder / "stderr").read_text(encoding="utf-8")

    def predict(self, *asked: dict, config: str = CONFIG, context: object = None, project: str = "7.179") -> list:
        body = {
            "tasks": list(asked),
            "project": project,
            "label_config": config,
            "params": {"login": None, "password": None, "context": context},
        }
        answer = self.client.post("/predict", json=body)
        assert answer.status_code == 200, answer.text
        results = answer.json()["results"]
        assert len(results) == len(asked)
        return results


@pytest.fixture
def served(
    command_line: list[str], database_url: str, tmp_path: Path
) -> Callable[..., contextlib.AbstractContextManager[Served]]:
    """Starts a backend on the test's store for the length of a block."""

    @contextlib.contextmanager
    def start(*flags: str, user: str = "", **environment: str) -> Iterator[Served]:
        variables = {
            "PYTHONPATH": str(ROOT),
            "XNER_LABEL_DATABASE_URL": database_url,
            "XNER_LABEL_PIPELINE_ALIGNER": "none",
            "XNER_LABEL_PIPELINE_PROJECTOR": "string",
            "XNER_LABEL_WEBHOOK_SECRET": SECRET,
            "LABEL_STUDIO_API_KEY": TOKEN,
        }
        if user:
            variables |= {"XNER_LABEL_BACKEND_USER": user, "XNER_LABEL_BACKEND_PASSWORD": PASSWORD}
        with (tmp_path / "stderr").open("w") as errors:
            process = subprocess.Popen(
                [*command_line, "serve", "--verbose", "--backend-port", "0", *flags],
                cwd=tmp_path,
                env=os.environ | variables | environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        with process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                assert line.startswith("listening on http://127.0.0.1:"), (tmp_path / "stderr").read_text()
                running = Served(line.split()[-1], process, tmp_path, (user, PASSWORD) if user else None)
                with running.client:
                    yield running
            finally:
                process.terminate()
                try:
                    process.wait(LIMIT)
                finally:
                    process.kill()

    return start


def asked(number: int, text: object, **data: object) -> dict:
    """A task as Label Studio sends it."""
    return {
        "id": number,
        "data": {"text": text, **data},
        "meta": {},
        "created_at": "2026-11-22T16:00:28.307709Z",
        "is_labeled": False,
        "inner_id": number,
        "total_annotations": 0,
        "project": 7,
        "annotations": [],
        "predictions": [],
    }


@pytest.fixture
def predicted(store: Store, database_url: str) -> list[Task]:
    """The sample's dev split in the store, predicted by string similarity."""
    dev = sample.read_sample(split="dev")
    with store.write() as session:
        project = projects.ensure_project(session, "default", sample.LABELS)
        tasks.add_tasks(session, project.id, [(task, "pool") for task in dev])
    Predictor(store, settings(database_url)).predict_project()
    return dev


def settings(database_url: str) -> Settings:
    return Settings(database_url=database_url, aligner="none", projector="string")


def waiting(store: Store) -> list[str]:
    """The kinds of jobs that wait for a worker."""
    with store.read() as session:
        return sorted(session.scalars(select(tables.Job.kind).where(tables.Job.state == "waiting")))
