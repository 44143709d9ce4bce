"""What every test gets: a clean environment, real servers on demand, and the benchmark data if it is there.

A test that needs a server carries its marker (``studio``, ``postgres``, ``browser``, ``models``) and is skipped,
with the reason, where the server can't be had. XNER_LABEL_REQUIRE_ALL=1 (continuous integration) turns these
skips into failures.
"""

from __future__ import annotations

import http.cookiejar
import importlib.util
import json
import os
import shutil
import signal
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from demo.processes import ending_signals_unwind
from demo.studio_server import StudioServer, running_studio, studio_executable
from tests import processes
from tests.postgres_process import PostgresProcess, postgres_folder, running_postgres

_PREFIXES = ("XNER_LABEL_", "LABEL_STUDIO_")
_ORDER = ("unit", "integration", "e2e")
_REQUIRE_ALL = bool(os.environ.get("XNER_LABEL_REQUIRE_ALL"))
_STUDIO = studio_executable(os.environ)
_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


_POSTGRES = postgres_folder()


def _installed(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) for module in modules)


_ABSENT: dict[str, str | None] = {
    "studio": None if _STUDIO else "no Label Studio: `make setup`, or name one in XNER_LABEL_STUDIO_EXECUTABLE",
    "browser": None if _CHROMIUM and _installed("playwright") else "no Chromium, or playwright isn't installed",
    "postgres": None
    if _POSTGRES and _installed("psycopg")
    else "no PostgreSQL server, or psycopg isn't installed",
    "models": None if _installed("torch", "transformers") else "torch and transformers aren't installed",
}


def pytest_configure() -> None:
    """A shell starts what runs in its background with Ctrl-C ignored, and children would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # How long an example takes says more about what else the machine does than about the code.
    slow = [hypothesis.HealthCheck.too_slow]
    hypothesis.settings.register_profile("any machine", deadline=None, suppress_health_check=slow)
    hypothesis.settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick tests first: they say more per second about what broke.

    Where several processes share the suite (pytest-xdist), all that needs Label Studio goes to one of them, so
    that a single server is started; the tests of any other file stay together and share what they made.
    """
    items.sort(key=lambda item: next((n for n, name in enumerate(_ORDER) if name in item.path.parts), 0))
    for item in items:
        group = "studio" if item.get_closest_marker("studio") else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, reason in _ABSENT.items():
        if reason and item.get_closest_marker(marker):
            _without(reason)


def _without(reason: str) -> None:
    if _REQUIRE_ALL:
        pytest.fail(f"XNER_LABEL_REQUIRE_ALL is set: {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def ended_in_order() -> Iterator[None]:
    """A session that is told to end still stops the servers it started."""
    with ending_signals_unwind():
        yield


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine's own reaches a test."""
    for name in list(os.environ):
        if name.startswith(_PREFIXES) and name != "XNER_LABEL_BENCH_DATA":
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def processes_ended() -> Iterator[None]:
    """What a test began is ended with it, whatever it failed of."""
    yield
    processes.end_all()


@pytest.fixture(scope="session")
def bench_data() -> Path:
    """The folder of real data that may not be redistributed; skips where it is absent."""
    folder = Path(os.environ.get("XNER_LABEL_BENCH_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the benchmark data is not here: set XNER_LABEL_BENCH_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def studio_path() -> Path:
    """The ``label-studio`` executable, for tests that start a server with settings of their own."""
    if _STUDIO is None:
        _without(_ABSENT["studio"] or "")
    assert _STUDIO is not None
    return _STUDIO


@pytest.fixture(scope="session")
def label_studio(studio_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StudioServer]:
    """One real Label Studio for the session: url, user, password, legacy token. Make a project of your own."""
    with running_studio(studio_path, tmp_path_factory.mktemp("label-studio")) as server:
        yield server


@pytest.fixture(scope="session")
def issue_access_token() -> Callable[[StudioServer], str]:
    """Makes a personal access token the way a person does, signed in; a server gives its user one, once."""
    return _issue_access_token


def _issue_access_token(server: StudioServer) -> str:
    cookies = http.cookiejar.CookieJar()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(cookies))

    def post(path: str, body: bytes, kind: str) -> bytes:
        headers = {"Referer": server.url, "Content-Type": kind, "X-CSRFToken": _cookie(cookies, "csrftoken")}
        with browser.open(urllib.request.Request(server.url + path, body, headers), timeout=120) as response:
            answer: bytes = response.read()
            return answer

    browser.open(f"{server.url}/user/login/", timeout=120).close()
    form = {"email": server.user, "password": server.password}
    post("/user/login/", urllib.parse.urlencode(form).encode(), "application/x-www-form-urlencoded")
    token: str = json.loads(post("/api/token/", b"{}", "application/json"))["token"]
    return token


def _cookie(cookies: http.cookiejar.CookieJar, name: str) -> str:
    return next(cookie.value or "" for cookie in cookies if cookie.name == name)


@pytest.fixture(scope="session")
def access_token(label_studio: StudioServer) -> str:
    """The personal access token of the session's Label Studio."""
    return _issue_access_token(label_studio)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The Chromium executable, for playwright's ``executable_path``; as root it needs ``--no-sandbox``."""
    if _ABSENT["browser"]:
        _without(_ABSENT["browser"])
    assert _CHROMIUM is not None
    return _CHROMIUM


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresProcess]:
    """One PostgreSQL server for the session."""
    if _ABSENT["postgres"]:
        _without(_ABSENT["postgres"])
    assert _POSTGRES is not None
    with running_postgres(_POSTGRES) as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresProcess) -> Iterator[str]:
    """SQLAlchemy URL of an empty PostgreSQL database that belongs to this test alone."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture(scope="session")
def command_line() -> list[str]:
    """How a test starts ``xner-label`` in a process of its own; works in a checkout and where it is installed."""
    return [sys.executable, "-m", "xner_label"]
