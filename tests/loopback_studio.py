"""A loopback server that speaks as much of Label Studio's protocol as push and sync use, with tasks in memory.

For sizes that a real Label Studio takes hours to be filled with: what the store costs shows, what the server
costs doesn't. Answers have the form of Label Studio 1.23, as `xner_label.studio.answers` checks it.
"""

from __future__ import annotations

import json
import re
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from xner_label.store import projects
from xner_label.store.database import Store
from xner_label.studio.labelling import labelling_config

PROJECT = 1
_MADE = datetime(2026, 1, 1, tzinfo=UTC)
_USER = {"id": 1, "email": "ann@example.org"}


class LoopbackStudio:
    """One project. ``tasks`` by id, which rises; ``annotate`` is what a person does."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.tasks: dict[int, dict[str, Any]] = {}
        self.url = ""
        self._project = {
            "id": PROJECT,
            "label_config": labelling_config(labels),
            "created_at": _MADE.isoformat(),
            "description": "",
            "model_version": "",
        }
        self._annotations = 0

    def add(self, bodies: Sequence[dict[str, Any]]) -> list[int]:
        """Take tasks in, as an import does; returns their ids."""
        first = len(self.tasks) + 1
        for number, body in enumerate(bodies, first):
            versions = ",".join({row["model_version"] for row in body.get("predictions", ())})
            self.tasks[number] = {
                "id": number,
                "data": body["data"],
                "updated_at": _MADE.isoformat(),
                "annotations": [],
                "predictions_model_versions": versions,
            }
        return list(range(first, first + len(bodies)))

    def annotate(self, number: int, result: list[dict[str, Any]]) -> None:
        """An annotation by a person, now."""
        self._annotations += 1
        now = datetime.now(UTC).isoformat()
        task = self.tasks[number]
        task["updated_at"] = now
        task["annotations"].append(
            {
                "id": self._annotations,
                "updated_at": now,
                "result": result,
                "was_cancelled": False,
                "completed_by": _USER["id"],
                "lead_time": 12.5,
            }
        )

    def connect(self, store: Store, name: str) -> None:
        """Let a project of the store be connected with this one."""
        with store.write() as session:
            project = projects.get_project(session, name)
            project.studio_url, project.studio_project, project.studio_created_at = self.url, PROJECT, _MADE

    @contextmanager
    def open(self) -> Iterator[LoopbackStudio]:
        """Serve for the length of a block, at :attr:`url`."""
        studio = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = json.loads(self.rfile.read(length) or b"null")
                content = json.dumps(studio._answer(self.command, self.path, body)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PATCH = answer

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads = True
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            self.url = f"http://127.0.0.1:{server.server_port}"
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()

    def _answer(self, method: str, path: str, body: Any) -> Any:
        parts = urlsplit(path)
        if parts.path == "/api/tasks/":
            return self._listed({name: values[0] for name, values in parse_qs(parts.query).items()})
        if parts.path == f"/api/projects/{PROJECT}/import":
            rows = self.add(body)
            return {"task_count": len(rows), "task_ids": rows, "prediction_count": len(rows)}
        if parts.path == f"/api/projects/{PROJECT}/import/predictions":
            for prediction in body:
                self.tasks[prediction["task"]]["predictions_model_versions"] += f",{prediction['model_version']}"
            return {"created": len(body)}
        if parts.path == f"/api/projects/{PROJECT}/":
            self._project |= body if method == "PATCH" else {}
            return self._project
        if number := re.fullmatch(r"/api/tasks/(\d+)/", parts.path):
            self.tasks[int(number[1])] |= body
            return self.tasks[int(number[1])]
        return [_USER] if parts.path == "/api/users/" else {}

    def _listed(self, asked: dict[str, str]) -> dict[str, Any]:
        query, size = json.loads(asked["query"]), int(asked["page_size"])
        if "selectedItems" in query:
            chosen = [self.tasks[row] for row in query["selectedItems"]["included"] if row in self.tasks]
            return {"tasks": chosen[:size], "total": len(chosen)}
        filters = {item["filter"]: item["value"] for item in query["filters"]["items"]}
        last = filters.get("filter:tasks:id", 0)
        changed_after = filters.get("filter:tasks:updated_at")
        if changed_after is None:
            rows = range(last + 1, len(self.tasks) + 1)
            return {"tasks": [self.tasks[row] for row in rows[:size]], "total": len(rows)}
        moment = datetime.fromisoformat(changed_after).isoformat()
        # what changed last was changed by `annotate`: keep this server's own work out of what is measured
        recent = sorted((task["updated_at"], row) for row, task in self.tasks.items() if task["annotations"])
        newer = sorted(row for _, row in recent[bisect_right(recent, (moment, len(self.tasks))) :] if row > last)
        if moment < _MADE.isoformat():
            newer = [row for row in self.tasks if row > last]
        return {"tasks": [self.tasks[row] for row in newer[:size]], "total": len(newer)}
