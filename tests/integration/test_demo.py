"""The demonstration from beginning to end, on real servers: what it shows, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from demo.studio_server import ROOT
from tests.processes import LIMIT, begin, end, until

pytestmark = [
    pytest.mark.studio,
    pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="needs /proc to find what was left running"),
]
# Legacy tokens and JSON Web Tokens.
TOKENS = re.compile(r"(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])|eyJ[\w-]+\.[\w-]+\.[\w-]+")


@pytest.fixture
def environment(studio_path: Path) -> dict[str, str]:
    return os.environ | {"XNER_LABEL_STUDIO_EXECUTABLE": str(studio_path), "NO_COLOR": "1"}


@pytest.mark.parametrize("flags", [(), ("--without-eflomal",)], ids=["eflomal", "string"])
def test_the_whole_loop(flags: tuple[str, ...], environment: dict[str, str], tmp_path: Path) -> None:
    if not flags:
        pytest.importorskip("eflomal")
    figures, work = tmp_path / "figures.json", tmp_path / "work"
    command = [sys.executable, "-m", "demo", "--tasks", "30", "--folder", work, "--json", figures, *flags]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    _nothing_left(work)

    written: dict[str, Any] = json.loads(figures.read_text(encoding="utf-8"))
    assert written["reviewed"] == 30
    assert written["status"]["pushed"] == 30
    assert written["eflomal"] is (not flags)
    for scores in (written["silver"], written["before"]["text_only"], written["after"]["model"]):
        low, high = scores["ci95"]
        assert 0 < low <= scores["f1"] <= high <= 1
    assert sum(written["corrections"].values()) >= 30
    assert "SIMULATED" in done.stdout
    assert "Summary" in done.stdout
    _no_secrets(done.stdout + done.stderr + _written(work))


def test_a_person_reviews_and_ctrl_c_ends_it_all(environment: dict[str, str], tmp_path: Path) -> None:
    work = tmp_path / "work"
    command = [sys.executable, "-m", "demo", "--review-in-browser", "--tasks", "5", "--folder", str(work)]
    with _started(command, environment) as process:
        shown = _until(process.stdout, "Ctrl-C here")
        variables = dict(re.findall(r"^export (\w+)='(.*)'$", (work / "environment").read_text(), re.MULTILINE))
        assert (work / "environment").stat().st_mode & 0o077 == 0
        assert f"{variables['LABEL_STUDIO_URL']}/projects/1/data" in shown
        password = re.search(r"password  (\S+)", shown)
        assert password is not None
        logs = _written(work)
        secrets = (password[1], variables["LABEL_STUDIO_API_KEY"], variables["XNER_LABEL_WEBHOOK_SECRET"])
        assert [secret for secret in secrets if secret in logs] == []
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT) == 0
    _nothing_left(work)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_it_is_ended_early(
    number: signal.Signals, environment: dict[str, str], tmp_path: Path
) -> None:
    work = tmp_path / "work"
    with _started([sys.executable, "-m", "demo", "--folder", str(work)], environment) as process:
        _until(process.stdout, "Starting Label Studio")
        until(lambda: _running_in(work), pause=0.05)
        process.send_signal(number)
        assert process.wait(LIMIT) != 0
    _nothing_left(work)


def test_it_says_what_is_missing(environment: dict[str, str], tmp_path: Path) -> None:
    environment["XNER_LABEL_STUDIO_EXECUTABLE"] = str(tmp_path / "absent")
    done = subprocess.run(
        [sys.executable, "-m", "demo"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT
    )
    assert done.returncode == 1
    assert "make setup" in done.stderr


@contextmanager
def _started(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = begin(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        end(process)


def _until(stream: IO[str] | None, words: str) -> str:
    assert stream is not None
    read = ""
    for line in stream:
        read += line
        if words in line:
            return read
    raise AssertionError(f"ended without saying {words!r}:\n{read}")


def _written(work: Path) -> str:
    """Every log, and what else is text and meant to be looked at."""
    paths = [*work.glob("*.log"), *work.glob("*/*.log"), work / "xner-label.toml"]
    assert {path.name for path in paths} >= {"commands.log", "serve.log", "label-studio.log"}
    return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in paths)


def _no_secrets(text: str) -> None:
    assert TOKENS.findall(text) == []


def _running_in(folder: Path) -> list[int]:
    """Processes whose working directory is in a folder: every child of the demonstration has it there."""
    return list(_find_running(folder))


def _find_running(folder: Path) -> Iterator[int]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if Path(os.readlink(process / "cwd")).is_relative_to(folder):
                yield int(process.name)
        except OSError:
            continue


def _nothing_left(work: Path) -> None:
    """Nothing of the demonstration goes on running after its end."""
    until(lambda: _running_in(work) == [], pause=0.05)
