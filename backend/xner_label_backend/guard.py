"""What every request passes before it reaches a route: credentials, and one line in the log."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import logging
import math
import time
from collections.abc import Callable
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from xner_label.logs import REQUEST_HEADER, log_fields, new_id, sane_id
from xner_label.tracing import CARRIER, span

_LOG = logging.getLogger(__name__)

# What is answered.
PATHS = frozenset({"/health", "/ready", "/setup", "/predict", "/versions", "/webhook", "/metrics", "/report"})
_REQUEST_HEADER = REQUEST_HEADER.lower().encode()

# What asks whether the process lives rarely has credentials; it learns nothing but that. Wrong ones are refused.
_PROBES = frozenset({"/health", "/ready"})
# Called with path, status and seconds after every request.
Observer = Callable[[str, int, float], None]


class Credentials(NamedTuple):
    """What requests must bring: Basic auth (none asked for if the user is empty) or, if there is one, the token as
    Bearer auth; and the secret of webhooks."""

    user: str
    password: str
    webhook_secret: str
    token: str = ""

    def allows(self, header: str | None) -> bool:
        """Whether an Authorization header is right, or none is asked for."""
        if not self.user:
            return True
        scheme, _, encoded = (header or "").partition(" ")
        if self.token and scheme.lower() == "bearer":
            # header values come decoded as Latin-1
            return hmac.compare_digest(encoded.strip().encode("latin-1", "replace"), self.token.encode())
        try:
            given = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(given, f"{self.user}:{self.password}".encode()) and scheme.lower() == "basic"

    def webhook_allows(self, header: str | None) -> bool:
        """Whether a webhook carries our secret; without one there are no webhooks."""
        # header values come decoded as Latin-1, and their bytes are UTF-8 if anything
        given = (header or "").encode("latin-1", "replace")
        return bool(self.webhook_secret) and hmac.compare_digest(given, self.webhook_secret.encode())


class OncePerMinute(logging.Filter):
    """Lets one record a minute through, for what anybody can cause."""

    def __init__(self) -> None:
        super().__init__()
        self._last = -math.inf

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a minute has passed since the last record that was let through."""
        if record.created < self._last + 60:
            return False
        self._last = record.created
        return True


class Guard:
    """ASGI middleware. /webhook looks at its credentials itself: they depend on who calls."""

    def __init__(self, app: ASGIApp, credentials: Credentials, observe: Observer) -> None:
        self._app = app
        self._credentials = credentials
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it; anything but HTTP passes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = sane_id(Headers(scope=scope).get(REQUEST_HEADER)) or new_id()
        with log_fields(request=request):
            await self._answer(scope, receive, send, request)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request: str) -> None:
        """Answer a request, count it, and give it one line in the log."""
        began = time.perf_counter()
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (_REQUEST_HEADER, request.encode())]
            await send(message)

        shown = scope["path"] if scope["path"] in PATHS else "another path"  # a stranger may ask for any
        parent = Headers(scope=scope).get(CARRIER)
        try:
            with span(f"{scope['method']} {shown}", parent=parent, request=request) as traced:
                await self._pass(scope, receive, noting)
                if traced is not None:
                    traced.set_attribute("xner_label.status", status)
        finally:
            seconds = time.perf_counter() - began
            if _LOG.isEnabledFor(logging.INFO):
                method, ms = scope["method"], round(1000 * seconds, 1)
                fields = {"method": method, "path": shown, "status": status, "ms": ms}
                _LOG.info("%s %s %d %.1f ms", method, shown, status, ms, extra={"fields": fields})
            self._observe(scope["path"], status, seconds)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        header = Headers(scope=scope).get("authorization")
        probe = header is None and scope["method"] in ("GET", "HEAD") and scope["path"] in _PROBES
        if probe or scope["path"] == "/webhook" or self._credentials.allows(header):
            await self._app(scope, receive, send)
        else:
            await _refuse(send)


async def _refuse(send: Send) -> None:
    body = json.dumps({"detail": "user or password is wrong"}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"www-authenticate", b'Basic realm="XNER-Label"'),
    ]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": body})
