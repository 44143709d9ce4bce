"""Ask a Label Studio server how it is set up, without changing anything on it and without the SDK.

The two questions about blocked addresses are requests that can't succeed: a webhook and an ML backend without a
project. Label Studio 1.23.2 checks their address first, so its refusal tells whether the address would pass.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Literal

from xner_label.errors import StudioError

TokenKind = Literal["none", "legacy", "personal access"]

_BLOCKED = "reserved network address"


@dataclass(frozen=True)
class StudioProbe:
    """What a server told.

    ``user`` is the e-mail address that the token signs in, None when it was refused; ``refusal`` is then the
    server's reason. The two ``*_allowed`` are None when they couldn't be asked for want of a valid token.
    """

    version: str
    token: TokenKind
    user: str | None
    refusal: str
    backend_allowed: bool | None
    webhook_allowed: bool | None


def token_kind(api_key: str) -> TokenKind:
    """The kind of a token, by its shape: a personal access token is a JSON Web Token, three parts with dots."""
    if not api_key:
        return "none"
    return "personal access" if api_key.count(".") == 2 else "legacy"


def probe(url: str, api_key: str, backend_url: str, *, timeout: float = 10.0) -> StudioProbe:
    """Ask the server at ``url``; ``backend_url`` is the address at which it would reach the ML backend.

    ``timeout`` is in seconds, for each request. Raises StudioError when no Label Studio answers there.
    """
    server = _Server(url.rstrip("/"), timeout)
    health = server.ask("/health")
    if health.get("status") != "UP":
        raise StudioError(f"what answers at {url} isn't a Label Studio", hint="check LABEL_STUDIO_URL")
    version = str(server.ask("/api/version/").get("release", "unknown"))
    kind = token_kind(api_key)
    if kind == "none":
        return StudioProbe(version, kind, None, "no token is set", None, None)
    if kind == "personal access":
        renewed = server.ask("/api/token/refresh/", body={"refresh": api_key})
        server.authorization = f"Bearer {renewed.get('access', '')}"
        if "access" not in renewed:
            return StudioProbe(version, kind, None, _reason(renewed), None, None)
    else:
        server.authorization = f"Token {api_key}"
    who = server.ask("/api/current-user/whoami")
    if "email" not in who:
        return StudioProbe(version, kind, None, _reason(who), None, None)
    backend = server.ask("/api/ml/", body={"url": backend_url})
    webhook = server.ask("/api/webhooks/", body={"url": backend_url})
    return StudioProbe(
        version, kind, str(who["email"]), "", _BLOCKED not in _reason(backend), _BLOCKED not in _reason(webhook)
    )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect could carry the token to another host."""

    def redirect_request(self, *_arguments: Any, **_keywords: Any) -> None:
        return None


class _Server:
    def __init__(self, url: str, timeout: float) -> None:
        self.url = url
        self.timeout = timeout
        self.authorization = ""
        self._opener = urllib.request.build_opener(_NoRedirect)

    def ask(self, path: str, body: dict[str, str] | None = None) -> dict[str, Any]:
        """The server's JSON answer, whether it agrees or refuses."""
        headers = {"Content-Type": "application/json"}
        if self.authorization:
            headers["Authorization"] = self.authorization
        try:
            data = None if body is None else json.dumps(body).encode()
            request = urllib.request.Request(self.url + path, data=data, headers=headers)  # noqa: S310
            with self._opener.open(request, timeout=self.timeout) as response:
                answer = response.read()
        except urllib.error.HTTPError as error:
            with error:
                answer = error.read()
            if error.code in (301, 302, 307, 308):
                raise StudioError(
                    f"{self.url} redirects to {error.headers.get('Location')}", hint="set LABEL_STUDIO_URL to that"
                ) from None
        except (OSError, ValueError, HTTPException) as error:
            raise StudioError(
                f"Label Studio doesn't answer at {self.url}: {getattr(error, 'reason', error)}",
                hint="start it, or set LABEL_STUDIO_URL",
            ) from None
        try:
            document = json.loads(answer)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}


def _reason(answer: dict[str, Any]) -> str:
    return str(answer.get("detail") or "the server gave no reason")
