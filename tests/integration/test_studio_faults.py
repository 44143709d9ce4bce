"""What goes wrong between the store and Label Studio: kills, lost answers, refusals, absent servers."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import socketserver
import subprocess
import threading
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import func, select

from demo.studio_server import ROOT, running_studio
from tests.faulty_proxy import FaultyProxy
from tests.processes import LIMIT, begin, end
from xner_label.errors import ConfigurationError, ContractError, PartialError, StudioError
from xner_label.store import predictions, reviews, tables
from xner_label.store.database import open_store
from xner_label.store.tables import ProjectedEntity, ReviewItem, Task
from xner_label.studio import delivery, showing
from xner_label.studio.connect import ConnectOptions, connect
from xner_label.studio.push import PushOptions, push
from xner_label.studio.sync import sync

pytestmark = pytest.mark.studio


def shell(settings, **more):
    """The environment in which the command line finds these settings."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {
        "PYTHONPATH": str(ROOT),
        "XNER_LABEL_DATABASE_URL": settings.database_url,
        "LABEL_STUDIO_URL": settings.studio_url,
        "LABEL_STUDIO_API_KEY": settings.studio_api_key,
        **more,
    }


def count(store, condition):
    with store.read() as session:
        return session.scalar(select(func.count()).select_from(ReviewItem).where(condition))


def held(api, project):
    """How often Label Studio holds each external id."""
    rows = api.tasks.list(project=project, fields="all", include="id,data", page_size=1000)
    return Counter(row.data["xner_id"] for row in rows)


@pytest.mark.parametrize(("chunk", "answered"), [(1, False), (1, True), (2, True)])
def test_a_killed_push_goes_on_with_nothing_twice_and_nothing_lost(
    chunk, answered, store, studio_settings, label_studio, api, examples, command_line, tmp_path, monkeypatch
):
    """Killed when a chunk has left it and hasn't arrived, or was stored over there and it doesn't know."""
    for module in (delivery, showing):
        monkeypatch.setattr(module, "SETTLE", timedelta(seconds=5))
    examples(store, range(1200))
    command = [*command_line, "push", "--limit", "1200", "--json"]
    proxy = FaultyProxy(label_studio.url)
    started = []
    imports = 0

    def arrives(request):
        nonlocal imports
        if "/import?" in request[1]:
            imports += 1
            if imports == chunk and not answered:
                end(started[0])
                raise ConnectionAbortedError

    def leaves(request, body):
        if "/import?" in request[1] and imports == chunk and answered:
            end(started[0])
            return None
        return body

    proxy.before, proxy.alter = arrives, leaves
    with proxy.open() as url:
        settings = replace(studio_settings, studio_url=url)
        project = connect(store, settings, ConnectOptions()).studio_project
        started.append(begin(command, env=shell(settings), cwd=tmp_path, stderr=subprocess.DEVNULL))
        assert started[0].wait(LIMIT) == -signal.SIGKILL
        assert count(store, ReviewItem.sent_at.is_not(None)) == 500 * chunk
        assert count(store, ReviewItem.pushed_at.is_not(None)) == 500 * (chunk - 1)
        again = push(store, settings, PushOptions(limit=1200))
    assert again.chosen == 0
    assert held(api, project) == {f"t{number:04}": 1 for number in range(1200)}
    assert count(store, ReviewItem.pushed_at.is_(None)) == 0
    with store.read() as session:
        ours = dict(session.execute(select(Task.studio_task, Task.external_id)).all())
    rows = api.tasks.list(project=project, fields="all", include="id,data", page_size=1000)
    assert ours == {row.id: row.data["xner_id"] for row in rows}


class Wire:
    """A connection to Label Studio that breaks on demand: ``lose`` answers to imports are swallowed, or the server
    is ``absent`` altogether, and for good with the answer to the ``last`` import."""

    def __init__(self, url):
        self.upstream = (urlsplit(url).hostname, urlsplit(url).port)
        self.lose = self.imports = 0
        self.last: int | None = None
        self.absent = False

    @contextlib.contextmanager
    def open(self):
        wire = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                if wire.absent:
                    return
                with socket.create_connection(wire.upstream) as server:
                    cut = threading.Event()
                    back = threading.Thread(target=wire.pump, args=(server, self.request, cut))
                    back.start()
                    while data := self.request.recv(65536):
                        if b"/import?" in data:
                            wire.imports += 1
                            wire.absent = wire.absent or wire.imports == wire.last
                            if wire.lose or wire.absent:
                                wire.lose = max(0, wire.lose - 1)
                                cut.set()
                        server.sendall(data)
                    server.shutdown(socket.SHUT_RDWR)
                    back.join()

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = False
            allow_reuse_address = True

        with Server(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_address[1]}"
            finally:  # else a test that fails would never let the session end
                server.shutdown()
                thread.join()

    @staticmethod
    def pump(server, client, cut):
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if cut.is_set():
                    break
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)


def test_an_answer_that_is_lost_is_looked_for(store, studio_settings, label_studio, api, examples):
    examples(store, range(20))
    wire = Wire(label_studio.url)
    with wire.open() as url:
        settings = replace(studio_settings, studio_url=url)
        project = connect(store, settings, ConnectOptions()).studio_project
        wire.lose = 1
        with pytest.raises(StudioError, match="0 of 20 tasks pushed, then: the connection"):
            push(store, settings, PushOptions(limit=20))
        again = push(store, settings, PushOptions(limit=20))
    assert (again.chosen, again.resumed, again.pushed, again.waiting) == (0, 20, 0, 20)
    assert set(held(api, project).values()) == {1}


def test_label_studio_going_away_in_the_middle(store, studio_settings, label_studio, api, examples):
    examples(store, range(600))
    wire = Wire(label_studio.url)
    with wire.open() as url:
        settings = replace(studio_settings, studio_url=url)
        project = connect(store, settings, ConnectOptions()).studio_project
        wire.last = 2
        with pytest.raises(StudioError, match="of 600 tasks pushed, then"):
            push(store, settings, PushOptions(limit=600))
        assert count(store, ReviewItem.pushed_at.is_not(None)) > 0
        wire.absent = False
        assert push(store, settings, PushOptions(limit=600)).waiting == 600
    counts = held(api, project)
    assert len(counts) == 600
    assert set(counts.values()) == {1}


def test_a_locked_database_loses_nothing(store, studio_settings, api, examples):
    examples(store, range(5))
    project = connect(store, studio_settings, ConnectOptions()).studio_project
    with open_store(studio_settings.database_url, busy_timeout=0.05) as hasty:
        with store.write() as session, pytest.raises(PartialError, match="locked"):
            session.connection()
            push(hasty, studio_settings, PushOptions(limit=5))
        assert push(hasty, studio_settings, PushOptions(limit=5)).pushed == 5
        (row, *_) = list(api.tasks.list(project=project))
        api.annotations.create(row.id, result=[])
        with store.write() as session, pytest.raises(PartialError, match="locked"):
            session.connection()
            sync(hasty, studio_settings)
        assert sync(hasty, studio_settings).added == 1


def test_a_prediction_that_breaks_the_contract_is_not_pushed(store, studio_settings, api, examples):
    examples(store, range(3))
    project = connect(store, studio_settings, ConnectOptions()).studio_project
    with store.write() as session:
        session.scalars(select(ProjectedEntity)).first().end += 1
    with pytest.raises(ContractError, match="offsets"):
        push(store, studio_settings, PushOptions(limit=3))
    with store.read() as session:
        assert reviews.count_items(session, 1) == (0, 0)
    assert held(api, project) == {}


def test_two_pushes_at_once_send_nothing_twice(store, studio_settings, api, examples, command_line, tmp_path):
    examples(store, range(30))
    project = connect(store, studio_settings, ConnectOptions()).studio_project
    command = [*command_line, "push", "--limit", "30"]
    running = [
        begin(command, env=shell(studio_settings), cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in running:
        _, said = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, said
    assert held(api, project) == {f"t{number:04}": 1 for number in range(30)}


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"LABEL_STUDIO_API_KEY": "0" * 40}, 4, "refused the token"),
        ({"LABEL_STUDIO_API_KEY": ""}, 3, "LABEL_STUDIO_API_KEY"),
        ({"LABEL_STUDIO_URL": "http://127.0.0.1:9"}, 4, "can't reach Label Studio"),
        ({"LABEL_STUDIO_URL": "127.0.0.1"}, 3, "is not an address"),
        ({"XNER_LABEL_BACKEND_URL": "http://127.0.0.1:9"}, 4, "health check failed"),
    ],
)
def test_the_command_line_says_what_to_do_and_no_secret(
    changes, code, said, store, studio_settings, command_line, tmp_path
):
    secrets = {"XNER_LABEL_BACKEND_PASSWORD": "very-secret-1", "XNER_LABEL_WEBHOOK_SECRET": "very-secret-2"}
    environment = shell(studio_settings, XNER_LABEL_BACKEND_USER="ls", **secrets) | changes
    done = subprocess.run(
        [*command_line, "connect", "--json"], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert done.stdout == ""
    for secret in (*secrets.values(), studio_settings.studio_api_key, "0" * 40):
        assert secret not in done.stderr


def test_a_project_that_is_not_connected(store, studio_settings, examples):
    examples(store, range(1))
    with pytest.raises(ConfigurationError, match="xner-label connect"):
        push(store, studio_settings, PushOptions(limit=1))
    connect(store, studio_settings, ConnectOptions())
    elsewhere = replace(studio_settings, studio_url=studio_settings.studio_url.replace("127.0.0.1", "localhost"))
    with pytest.raises(ConfigurationError, match="the settings name"):
        sync(store, elsewhere)


@pytest.fixture(scope="module")
def cautious_studio(studio_path, tmp_path_factory):
    """A Label Studio with its own defaults: no legacy tokens, no private addresses. Gives server and token."""
    folder = tmp_path_factory.mktemp("cautious")
    with (
        running_studio(studio_path, folder, legacy_tokens=False, local_backends=False) as server,
        httpx.Client(base_url=server.url, follow_redirects=True, timeout=60) as browser,
    ):
        browser.get("/user/login/")
        form = {"email": server.user, "password": server.password}
        token = {"csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        browser.post("/user/login/", data=form | token).raise_for_status()
        made = browser.post("/api/token/", headers={"X-CSRFToken": browser.cookies["csrftoken"]})
        yield server, made.raise_for_status().json()["token"]


# label-studio-sdk 2.1.2 exchanges the token with a deprecated call of pydantic
exchanges_a_token = pytest.mark.filterwarnings("ignore:The `parse_obj` method is deprecated")


@exchanges_a_token
def test_a_personal_access_token_is_enough(cautious_studio, store, studio_settings, examples):
    server, token = cautious_studio
    settings = replace(studio_settings, studio_url=server.url, studio_api_key=token)
    examples(store, range(2))
    connect(store, settings, ConnectOptions())
    assert push(store, settings, PushOptions(limit=2)).pushed == 2
    assert sync(store, settings).changed_tasks == 2
    with pytest.raises(StudioError, match="legacy tokens work only where"):
        connect(store, replace(settings, studio_api_key=server.token), ConnectOptions())


@exchanges_a_token
@pytest.mark.parametrize("secret", ["", "a-secret"])
def test_a_blocked_backend_address_is_explained(secret, cautious_studio, store, studio_settings, backend_address):
    server, token = cautious_studio
    settings = replace(
        studio_settings,
        studio_url=server.url,
        studio_api_key=token,
        backend_url=backend_address,
        webhook_secret=secret,
    )
    with pytest.raises(StudioError, match="ML_BLOCK_LOCAL_IP=false and SSRF_PROTECTION_ENABLED=false"):
        connect(store, settings, ConnectOptions())


@pytest.mark.postgres
def test_the_loop_on_postgresql(postgres_url, studio_settings, api, examples):
    from xner_label.store import migrating

    with open_store(postgres_url, check=False) as store:
        migrating.upgrade(store)
        examples(store, range(4))
        settings = replace(studio_settings, database_url=postgres_url)
        project = connect(store, settings, ConnectOptions()).studio_project
        assert push(store, settings, PushOptions(limit=3, blind_share=0.34)).pushed == 3
        assert push(store, settings, PushOptions(limit=3)).pushed == 0
        for row in api.tasks.list(project=project, fields="all"):
            result = row.predictions[0].result if row.predictions else []
            api.annotations.create(row.id, result=result)
        report = sync(store, settings)
        assert (report.added, report.corrections) == (3, {"kept": 4})
        assert sync(store, settings, full=True).added == 0
        with store.read() as session:
            assert session.scalar(select(func.count()).select_from(tables.Correction)) == 4
            assert predictions.count_predictions(session, 1) == {"pipeline-1": 4}
