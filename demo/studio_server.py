"""Start a real Label Studio on a free loopback port: for the demonstration and for the tests."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo.processes import free_port, running

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class StudioServer:
    """A running Label Studio. ``token`` is a legacy API token (40 hexadecimal digits); ``log`` its output."""

    url: str
    user: str
    password: str = field(repr=False)
    token: str = field(repr=False)
    log: Path
    process: subprocess.Popen[bytes] = field(repr=False)


class StudioStartError(RuntimeError):
    """Label Studio ended, or did not answer in time."""


def studio_executable(environment: Mapping[str, str]) -> Path | None:
    """The ``label-studio`` that ``make setup`` installs, or the one XNER_LABEL_STUDIO_EXECUTABLE names."""
    named = environment.get("XNER_LABEL_STUDIO_EXECUTABLE")
    path = Path(named) if named else ROOT / ".venv-studio" / "bin" / "label-studio"
    return path if os.access(path, os.X_OK) else None


@contextlib.contextmanager
def running_studio(
    executable: Path,
    folder: Path,
    *,
    user: str = "reviewer@example.org",
    legacy_tokens: bool = True,
    local_backends: bool = True,
    restart_of: StudioServer | None = None,
    timeout: float = 300.0,
) -> Iterator[StudioServer]:
    """Run Label Studio with its data in ``folder`` until the block ends.

    ``legacy_tokens`` and ``local_backends`` False give the server's own defaults: tokens of the old kind refused,
    ML backends on loopback addresses refused. ``restart_of`` is a server that ran in this folder before: its
    address and its credentials, which its database holds, are used again. ``timeout`` (seconds) covers the
    migrations of a first start, half a minute on an idle machine. Raises StudioStartError with the end of the log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    url = restart_of.url if restart_of else f"http://127.0.0.1:{free_port()}"
    password = restart_of.password if restart_of else secrets.token_urlsafe(12)
    token = restart_of.token if restart_of else secrets.token_hex(20)
    environment = inherited_environment() | {
        "LABEL_STUDIO_USERNAME": user,
        "LABEL_STUDIO_PASSWORD": password,
        "LABEL_STUDIO_USER_TOKEN": token,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": str(legacy_tokens).lower(),
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "LABEL_STUDIO_HOST": url,
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
        "COLLECT_ANALYTICS": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "LATEST_VERSION_CHECK": "false",
    }
    if local_backends:
        # Both are needed: with only the first, creating the backend fails and leaves a ghost row behind.
        environment |= {"ML_BLOCK_LOCAL_IP": "false", "SSRF_PROTECTION_ENABLED": "false"}
    command = [str(executable), "start", "--no-browser", "--internal-host", "127.0.0.1"]
    command += ["--port", url.rpartition(":")[2], "--data-dir", str(folder)]
    log = folder / "label-studio.log"
    with (
        log.open("ab") as output,
        running(command, environment=environment, folder=folder, stdout=output) as process,
    ):
        server = StudioServer(url, user, password, token, log, process)
        _wait(server, timeout, legacy_tokens=legacy_tokens)
        yield server


def inherited_environment() -> dict[str, str]:
    """What a child inherits: nothing that configures another Label Studio, another store or this Python."""
    foreign = ("LABEL_STUDIO_", "XNER_LABEL_", "DJANGO_", "POSTGRE_", "ML_", "PYTHONPATH", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


def _wait(server: StudioServer, timeout: float, *, legacy_tokens: bool) -> None:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise StudioStartError(f"Label Studio ended with {server.process.returncode}:\n{_tail(server.log)}")
        if _answers(server, legacy_tokens=legacy_tokens):
            return
        time.sleep(0.25)
    raise StudioStartError(f"Label Studio did not answer within {timeout:.0f} s:\n{_tail(server.log)}")


def _answers(server: StudioServer, *, legacy_tokens: bool) -> bool:
    """Whether this server, not another one that took the port meanwhile, is up."""
    try:
        if _get(f"{server.url}/health").get("status") != "UP":
            return False
        if not legacy_tokens:
            return True
        who = _get(f"{server.url}/api/current-user/whoami", {"Authorization": f"Token {server.token}"})
    except (OSError, ValueError):
        return False
    return bool(who.get("email") == server.user)


def _get(url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    request = urllib.request.Request(url, headers=dict(headers or {}))
    with urllib.request.urlopen(request, timeout=5) as response:
        document: dict[str, Any] = json.load(response)
        return document


def _tail(log: Path, lines: int = 20) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
