"""A server on loopback that speaks the recorded protocol of OpenAI's chat completions, faults included."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-secret-of-the-test"


@dataclass
class Fault:
    """What the server does in place of an answer: a status with a body and headers, or a wait (seconds)."""

    status: int = 200
    message: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    cut_connection: bool = False


Answer = str | dict[str, Any] | Fault


@dataclass
class ChatServer:
    """``answer`` gets a request's body and says the content of the message, a whole choice, or a fault.

    ``formats`` are the response formats that the server knows; another one gets the 400 that real servers give.
    """

    answer: Callable[[dict[str, Any]], Answer]
    formats: tuple[str, ...] = ("json_schema", "json_object")
    temperature: bool = True
    usage: bool = True
    key: str = KEY
    seen: list[dict[str, Any]] = field(default_factory=list)

    @contextlib.contextmanager
    def open(self) -> Iterator[str]:
        """The address for ``llm.url``, for the length of a block."""
        chat = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with contextlib.suppress(ConnectionError):
                    self.respond(*chat.respond(self.path, self.headers.get("Authorization", ""), body))

            def respond(self, status: int, headers: dict[str, str], content: Any) -> None:
                if content is None:
                    self.close_connection = True
                    self.send_response(200)
                    self.send_header("Content-Length", "1000")
                    self.end_headers()
                    self.wfile.write(b'{"id": "half')
                    return
                encoded = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(encoded)))
                self.end_headers()
                self.wfile.write(encoded)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

        with Server(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_address[1]}/v1"
            finally:
                server.shutdown()
                thread.join()

    def respond(
        self, path: str, authorization: str, body: dict[str, Any]
    ) -> tuple[int, dict[str, str], dict[str, Any] | bytes | None]:
        """Status, headers and body; no body: the connection is cut within it."""
        self.seen.append(body)
        if authorization != f"Bearer {self.key}":
            said = f"Incorrect API key provided: {authorization.removeprefix('Bearer ')}."
            return 401, {}, _error(said, "invalid_request_error", "invalid_api_key")
        if path != "/v1/chat/completions" or body["model"] == "nobody":
            said = f"The model `{body['model']}` does not exist or you do not have access to it."
            return 404, {}, _error(said, "invalid_request_error", "model_not_found")
        wanted = body.get("response_format", {}).get("type")
        if wanted and wanted not in self.formats:
            said = f"Invalid parameter: 'response_format' of type '{wanted}' is not supported with this model."
            return 400, {}, _error(said, "invalid_request_error", None)
        if "temperature" in body and not self.temperature:
            said = "Unsupported value: 'temperature' does not support 0 with this model."
            return 400, {}, _error(said, "invalid_request_error", "unsupported_value")
        answer = self.answer(body)
        if isinstance(answer, Fault):
            time.sleep(answer.seconds)
            if answer.cut_connection:
                return 200, {}, None
            if answer.status != 200:
                return answer.status, answer.headers, _error(answer.message, "server_error", None)
            return 200, {}, answer.message.encode()
        choice = answer if isinstance(answer, dict) else {"message": {"role": "assistant", "content": answer}}
        return 200, {}, self._completion(body["model"], choice)

    def _completion(self, model: str, choice: dict[str, Any]) -> dict[str, Any]:
        completion = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_760_000_000,
            "model": model,
            "choices": [{"index": 0, "finish_reason": "stop", "logprobs": None, **choice}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
        }
        if not self.usage:
            del completion["usage"]
        return completion


def text_of(body: dict[str, Any]) -> str:
    """The text that a request is about."""
    return next(message["content"] for message in body["messages"] if message["role"] == "user")


def named(*entities: tuple[str, str]) -> str:
    """A tagger's answer."""
    return json.dumps({"entities": [{"text": text, "label": label} for text, label in entities]})


def _error(message: str, kind: str, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
