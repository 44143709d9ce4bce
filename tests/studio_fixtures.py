"""A store with predictions, connected to the real Label Studio of the session, and a person to review there."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from demo.studio_server import StudioServer
from xner_label.entities import Prediction, ProjectedEntity, SourceMention, Task
from xner_label.settings.table import Settings
from xner_label.store import migrating, pipelines, predictions, projects, tasks
from xner_label.store.database import Store, open_store

LABELS = ("PER", "ORG", "LOC", "DATE")
# Emoji with modifiers, combining marks, a line break, right-to-left text: what shifts offsets elsewhere.
TEXTS = (
    "Waziri {name} aliwasili Nairobi Jumanne.",
    "👩🏽‍🌾 {name} alikutana na wakulima mjini Nairobi.",
    "Café\u0301 ya {name}\nNairobi ‏مرحبا‏.",
)


def example(number: int) -> tuple[Task, Prediction]:
    """A task and its prediction; the confidence rises with the number."""
    name = f"Amina{number} Wanjikũ"
    text = TEXTS[number % len(TEXTS)].format(name=name)
    spans = [(text.index(name), name, "PER"), (text.index("Nairobi"), "Nairobi", "LOC")]
    confidence = 0.2 + 0.0005 * number
    projected = tuple(
        ProjectedEntity(
            start, start + len(word), label, word, 1.0, confidence, SourceMention(0, len(word), label, word)
        )
        for start, word, label in spans
    )
    source = f"{name} went to Nairobi."
    task = Task(id=f"t{number:04}", text=text, source=source)
    return task, Prediction(task.id, text, projected, confidence, "pipeline-1")


def add_examples(store: Store, numbers: range, pipeline: str = "pipeline-1") -> None:
    """Tasks in split pool with predictions of a pipeline, which becomes the project's own."""
    examples = [example(number) for number in numbers]
    with store.write() as session:
        project = projects.ensure_project(session, "default", LABELS)
        tasks.add_tasks(session, project.id, [(task, "pool") for task, _ in examples])
        ids = tasks.ids_by_external(session, project.id, [str(task.id) for task, _ in examples])
        rows = [
            (
                ids[str(task.id)],
                Prediction(task.id, task.text, prediction.entities, prediction.confidence, pipeline),
            )
            for task, prediction in examples
        ]
        predictions.add_predictions(session, rows)
        project.pipeline = pipelines.ensure_pipeline(session, pipeline)


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    with open_store(database_url, check=False) as store:
        migrating.upgrade(store)
        yield store


@pytest.fixture
def examples() -> Callable[..., None]:
    return add_examples


@pytest.fixture
def studio_settings(label_studio: StudioServer, database_url: str) -> Settings:
    return Settings(
        labels=LABELS, database_url=database_url, studio_url=label_studio.url, studio_api_key=label_studio.token
    )


@pytest.fixture
def api(label_studio: StudioServer) -> Iterator[Any]:
    """The SDK's client, with which a test plays the reviewer."""
    import httpx
    from label_studio_sdk.client import LabelStudio

    with httpx.Client(timeout=60) as http:
        yield LabelStudio(base_url=label_studio.url, api_key=label_studio.token, httpx_client=http)


@pytest.fixture
def annotator(label_studio: StudioServer) -> Iterator[Callable[[], Any]]:
    """Signs another person up at the session's Label Studio; gives the SDK's client for them."""
    import httpx
    from label_studio_sdk.client import LabelStudio

    with httpx.Client(timeout=60) as http:

        def sign_up() -> Any:
            headers = {"Authorization": f"Token {label_studio.token}"}
            invitation = http.get(f"{label_studio.url}/api/invite", headers=headers).json()["invite_url"]
            with httpx.Client(base_url=label_studio.url, follow_redirects=True, timeout=60) as browser:
                browser.get(invitation)
                form = {
                    "email": f"{uuid4().hex}@example.org",
                    "password": uuid4().hex,
                    "allow_newsletters": "false",
                    "csrfmiddlewaretoken": browser.cookies["csrftoken"],
                }
                browser.post(invitation, data=form).raise_for_status()
                token = browser.get("/api/current-user/token").json()["token"]
            return LabelStudio(base_url=label_studio.url, api_key=token, httpx_client=http)

        yield sign_up


@pytest.fixture
def backend_address() -> Iterator[str]:
    """A server that answers Label Studio's health check and set-up, all that connecting needs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({"status": "UP"})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._answer({"model_version": "pipeline-1"})

        def _answer(self, document: object) -> None:
            body = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
