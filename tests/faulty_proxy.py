"""A proxy in front of Label Studio that answers, changes, holds or loses what a test tells it to."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

# Of a request: method, path with query, body.
Request = tuple[str, str, bytes]


@dataclass
class FaultyProxy:
    """``answer`` may give the body of a 200 instead of asking the server; ``change`` the body that goes there;
    ``alter`` may change the server's answer, or lose it by giving None; ``before`` is called first of all.
    ``under_way`` are the requests that haven't been dealt with, also of clients that are gone."""

    upstream: str
    answer: Callable[[Request], bytes | None] = lambda request: None
    change: Callable[[Request], bytes] = lambda request: request[2]
    alter: Callable[[Request, bytes], bytes | None] = lambda request, body: body
    before: Callable[[Request], None] = lambda request: None
    seen: list[str] = field(default_factory=list)
    under_way: set[int] = field(default_factory=set)

    @contextlib.contextmanager
    def open(self) -> Iterator[str]:
        """The address of the proxy, for the length of a block."""
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                with contextlib.suppress(ConnectionError):
                    super().handle_one_request()

            def relay(self) -> None:
                proxy.under_way.add(threading.get_ident())
                try:
                    proxy.relay(self)
                finally:
                    proxy.under_way.discard(threading.get_ident())

            do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = relay

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

        with Server(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_address[1]}"
            finally:  # else a test that fails would never let the session end
                server.shutdown()
                thread.join()

    def relay(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        request = (handler.command, handler.path, body)
        self.seen.append(f"{handler.command} {handler.path}")
        self.before(request)
        made = self.answer(request)
        if made is not None:
            reply(handler, 200, [("Content-Type", "application/json")], made)
            return
        url = urlsplit(self.upstream)
        with contextlib.closing(http.client.HTTPConnection(url.hostname or "", url.port, timeout=60)) as server:
            headers = {
                name: value
                for name, value in handler.headers.items()
                if name.lower() not in ("content-length", "accept-encoding", "connection")
            }
            server.request(handler.command, handler.path, self.change(request), headers)
            response = server.getresponse()
            content = self.alter(request, response.read())
            kept = [(name, value) for name, value in response.getheaders() if name.lower() == "content-type"]
        if content is None:
            handler.close_connection = True
            return
        reply(handler, response.status, kept, content)


def reply(handler: BaseHTTPRequestHandler, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    handler.send_response(status)
    for name, value in headers:
        handler.send_header(name, value)
    if status != http.client.NO_CONTENT:
        handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    if status != http.client.NO_CONTENT:
        handler.wfile.write(body)
