"""Traces that lead from a command to the backend to a job, as a receiver gets them; and nothing without one."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from demo.studio_server import ROOT
from tests.backend_process import SECRET, waiting
from tests.backend_process import predicted as predicted
from tests.backend_process import served as served
from tests.integration.test_logs import ENTITY, SOURCE, TEXT, make_due
from tests.processes import LIMIT, until
from xner_label.entities import Task
from xner_label.store.database import Store
from xner_label.studio.attaching import SECRET_HEADER

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is None, reason="without the extra otel"
)
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


class Receiver:
    """Takes spans on loopback, as OTLP over HTTP brings them."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self.bodies = b""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    import gzip

                    body = gzip.decompress(body)
                receiver.take(body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def take(self, body: bytes) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        self.bodies += body
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = next(
                item.value.string_value for item in group.resource.attributes if item.key == "service.name"
            )
            for scope in group.scope_spans:
                for span in scope.spans:
                    attributes = {
                        item.key: item.value.string_value or item.value.int_value for item in span.attributes
                    }
                    self.spans.append(
                        {
                            "service": service,
                            "name": span.name,
                            "trace": span.trace_id.hex(),
                            "id": span.span_id.hex(),
                            "parent": span.parent_span_id.hex(),
                            "status": span.status.message,
                            **attributes,
                        }
                    )

    def named(self, name: str) -> list[dict[str, Any]]:
        return [span for span in self.spans if span["name"] == name]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    with made.server:
        thread = threading.Thread(target=made.server.serve_forever, args=(0.05,))
        thread.start()
        yield made
        made.server.shutdown()
        thread.join()


def run(command_line: Sequence[str], folder: Path, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [*command_line, *arguments],
        cwd=folder,
        env={"PATH": "/usr/bin", "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_trace_leads_from_a_command_to_the_backend_to_a_job(
    receiver: Receiver,
    served: Callable[..., Any],
    predicted: list[Task],
    store: Store,
    command_line: Sequence[str],
    tmp_path: Path,
) -> None:
    database = {"XNER_LABEL_DATABASE_URL": f"sqlite:///{tmp_path}/store.db"}
    traced = database | {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
    with served(XNER_LABEL_TRACE_ENDPOINT=receiver.url) as backend:
        run(command_line, tmp_path, "doctor", "--backend-url", backend.url, TRACEPARENT=PARENT, **traced)
        hook = {SECRET_HEADER: SECRET, "traceparent": PARENT}
        backend.client.post("/webhook", json={"action": "ANNOTATION_CREATED"}, headers=hook)
        backend.client.get(f"/{ENTITY}", headers={"traceparent": "nonsense"})
        new = {"text": f"{TEXT} {ENTITY}", "source_text": f"{SOURCE} {ENTITY}"}
        backend.client.post(
            "/predict", json={"tasks": [{"id": 1, "data": new}], "project": "7.1"}, headers={"traceparent": PARENT}
        )
        until(lambda: waiting(store) == ["sync"])
    make_due(store)
    studio = {"LABEL_STUDIO_URL": "http://127.0.0.1:9", "LABEL_STUDIO_API_KEY": "0" * 40}
    run(command_line, tmp_path, "worker", "--once", "--kind", "sync", **traced, **studio)
    (doctor,) = receiver.named("xner-label doctor")
    (health,) = receiver.named("GET /health")
    (webhook,) = receiver.named("POST /webhook")
    (job,) = receiver.named("job sync")
    (predict,) = receiver.named("POST /predict")
    (batch,) = receiver.named("predict batch")
    assert {span["trace"] for span in (doctor, health, webhook, job, predict, batch)} == {TRACE}
    assert health["parent"] == doctor["id"]
    assert job["parent"] == webhook["id"]
    assert batch["parent"] == predict["id"]
    assert (health["service"], job["service"], doctor["service"]) == (
        "xner-label-backend",
        "xner-label-worker",
        "xner-label-cli",
    )
    assert predict["xner_label.status"] == 200
    assert job["xner_label.attempt"] == 1
    (stranger,) = receiver.named("GET another path")
    assert stranger["trace"] != TRACE
    for word in (TEXT, SOURCE, ENTITY, SECRET):
        assert word.encode() not in receiver.bodies


def test_stages_and_calls_of_label_studio_are_traced_without_texts(
    receiver: Receiver, store: Store, command_line: Sequence[str], tmp_path: Path
) -> None:
    environment = {
        "XNER_LABEL_DATABASE_URL": f"sqlite:///{tmp_path}/store.db",
        "XNER_LABEL_PIPELINE_ALIGNER": "none",
        "XNER_LABEL_PIPELINE_PROJECTOR": "string",
        "XNER_LABEL_TRACE_ENDPOINT": receiver.url,
        "LABEL_STUDIO_URL": "http://127.0.0.1:9",
        "LABEL_STUDIO_API_KEY": "0" * 40,
    }
    labelled = [{"start": 10, "end": 10 + len(ENTITY), "label": "PER"}]
    row = {"id": 1, "text": f"{TEXT} {ENTITY}", "source": f"{SOURCE} {ENTITY}", "source_entities": labelled}
    (tmp_path / "tasks.jsonl").write_text(json.dumps(row))
    run(command_line, tmp_path, "import", "tasks.jsonl", **environment)
    run(command_line, tmp_path, "predict", **environment)
    run(command_line, tmp_path, "connect", **environment)
    (predict,) = receiver.named("xner-label predict")
    stages = receiver.named("stage projector")
    assert stages
    assert {span["trace"] for span in stages} == {predict["trace"]}
    assert sum(span["xner_label.tasks"] for span in stages) == 1
    (connect,) = receiver.named("xner-label connect")
    assert connect["status"] == "StudioError"
    calls = [span for span in receiver.spans if span["name"].startswith("label-studio ")]
    assert {span["trace"] for span in calls} == {connect["trace"]}
    for word in (TEXT, SOURCE, ENTITY, "0" * 40):
        assert word.encode() not in receiver.bodies


def test_nothing_is_imported_without_an_address(tmp_path: Path, store: Store) -> None:
    program = (
        "import sys; from xner_label.cli.main import cli; "
        f"cli(['status', '--database-url', 'sqlite:///{tmp_path}/store.db'], standalone_mode=False)"
    )
    check = "\nprint([name for name in sys.modules if name.startswith('opentelemetry')])"
    code = (
        f"try:\n    {program.replace('; ', chr(10) + '    ')}\nexcept Exception as error:\n    print(error){check}"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_a_receiver_that_is_away_fails_nothing(store: Store, command_line: Sequence[str], tmp_path: Path) -> None:
    environment = {"XNER_LABEL_DATABASE_URL": f"sqlite:///{tmp_path}/store.db"}
    address = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    assert run(command_line, tmp_path, "labels", **environment) is not None
    done = subprocess.run(
        [*command_line, "doctor", "--json"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin", "PYTHONPATH": str(ROOT), **environment, **address},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert json.loads(done.stdout)["checks"]
