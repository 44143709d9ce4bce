"""The servers that other tests rely on start, answer, and are gone afterwards."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from demo.studio_server import ROOT, StudioServer
from tests.processes import LIMIT, begin, until

CHILD = """
import sys
from pathlib import Path
from demo.processes import ending_signals_unwind, running
stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
command = [sys.executable, "-c", stubborn]
with (
    ending_signals_unwind(),
    open("log", "wb") as log,
    running(command, environment={}, folder=Path.cwd(), stdout=log) as process,
):
    print(process.pid, flush=True)
    process.wait()
"""


@pytest.mark.studio
def test_label_studio_answers_with_its_token(label_studio: StudioServer) -> None:
    request = urllib.request.Request(
        f"{label_studio.url}/api/version", headers={"Authorization": f"Token {label_studio.token}"}
    )
    with urllib.request.urlopen(request, timeout=LIMIT) as response:
        assert json.load(response)["release"] == "1.23.2"


@pytest.mark.studio
def test_label_studio_keeps_secrets_out_of_its_log_and_its_repr(label_studio: StudioServer) -> None:
    for shown in (label_studio.log.read_text(encoding="utf-8"), repr(label_studio)):
        assert label_studio.token not in shown
        assert label_studio.password not in shown


@pytest.mark.postgres
@pytest.mark.parametrize("turn", [1, 2])
def test_every_test_gets_an_empty_postgresql_database(postgres_url: str, turn: int) -> None:
    import psycopg

    with psycopg.connect(postgres_url.replace("+psycopg", "")) as connection:
        connection.execute("CREATE TABLE only_here (turn integer)")
        row = connection.execute("SHOW listen_addresses").fetchone()
    assert row == ("",)


@pytest.mark.browser
def test_chromium_runs(chromium: str) -> None:
    shown = subprocess.run([chromium, "--version"], capture_output=True, text=True, check=True, timeout=LIMIT)
    assert "Chrom" in shown.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_no_child_outlives_its_parent(number: signal.Signals, tmp_path: Path) -> None:
    if number == signal.SIGKILL and sys.platform != "linux":
        pytest.skip("only Linux ends the children of a killed process")
    parent = begin(
        [sys.executable, "-c", CHILD],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert _alive(child)
    parent.send_signal(number)
    parent.wait(LIMIT)
    until(lambda: not _alive(child), pause=0.05)


def _alive(process: int) -> bool:
    """Whether the process runs; one that has ended and waits to be collected does not."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True)
    return bool(shown.stdout.strip()) and not shown.stdout.startswith("Z")
