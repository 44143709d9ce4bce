"""What log records look like, and what never gets into one."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.processes import LIMIT
from xner_label import logs
from xner_label.errors import ContractError

LOG = logging.getLogger("xner_label.tests")


class Written:
    """Standard error so far."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    def getvalue(self) -> str:
        self._text += self._capsys.readouterr().err
        return self._text


@pytest.fixture(params=["json", "text"])
def written(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Iterator[Written]:
    """Standard error while records go there."""
    before = logging.getLogger("xner_label").level
    logs.configure_logging(request.param)
    yield Written(capsys)
    logs.configure_logging("text")
    logging.getLogger("xner_label").setLevel(before)
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if type(handler).__module__ != logs.__name__]


def last(stream: Written) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(stream.getvalue().splitlines()[-1])
    return document


@given(text=st.text())
def test_a_text_within_quotation_marks_is_left_out(text: str) -> None:
    shown = logs.without_quotes(f"offsets 1-2 hold {text!r}, not {text!r} (that isn't so)")
    assert shown == "offsets 1-2 hold '...', not '...' (that isn't so)"


def test_apostrophes_are_no_quotation_marks() -> None:
    assert logs.without_quotes("can't be used, isn't there, people's") == "can't be used, isn't there, people's"


@pytest.mark.parametrize("written", ["json"], indirect=True)
def test_a_record_has_the_ids_of_the_blocks_around_it(written: Written) -> None:
    with logs.log_fields(request="r1"), logs.log_fields(job=7), ThreadPoolExecutor(1) as pool:
        pool.submit(copy_context().run, LOG.warning, "from a %s", "thread").result()
    record = last(written)
    assert (record["request"], record["job"], record["message"]) == ("r1", 7, "from a thread")
    assert record["run"] == logs.run_id()
    assert record["level"] == "WARNING"
    LOG.warning("later", extra={"fields": {"status": 200}})
    assert "request" not in last(written)
    assert last(written)["status"] == 200


def test_what_an_exception_says_stays_out(written: Written) -> None:
    try:
        raise ValueError("Amina went to Nairobi")
    except ValueError:
        LOG.exception("unexpected: %r", "Amina")
    LOG.warning("refused: %s", logs.told(ContractError("hold 'Amina', not 'Nairobi'", hint="look")))
    LOG.warning("refused: %s", logs.told(ContractError("Amina is in it", logged="a text is in it")))
    LOG.warning("failed: %s", logs.told(KeyError("Amina")))
    said = written.getvalue()
    assert "Amina" not in said
    assert "Nairobi" not in said
    assert "ValueError" in said
    assert "test_logs.py" in said
    assert "hold '...', not '...' (look)" in said
    assert "a text is in it" in said


def test_ids_from_outside_are_ids() -> None:
    assert logs.sane_id("a1b2-C3.d_4") == "a1b2-C3.d_4"
    for given_id in (None, "", "a b", "a\nb", "x" * 65, "-a", "é"):
        assert logs.sane_id(given_id) is None
    assert logs.sane_id(logs.new_id()) is not None


@pytest.mark.parametrize(
    ("arguments", "environment", "as_json"),
    [
        (["--log-format", "json", "evaluate", "a", "b"], {}, True),
        (["evaluate", "a", "b"], {"XNER_LABEL_LOG_FORMAT": "json"}, True),
        (["--log-format", "text", "evaluate", "a", "b"], {"XNER_LABEL_LOG_FORMAT": "json"}, False),
        (["evaluate", "a", "b"], {}, False),
        (["status"], {"in the file": "yes"}, True),
        (["--log-format", "text", "status"], {"in the file": "yes"}, False),
    ],
    ids=["flag", "environment", "flag first", "default", "file", "flag before file"],
)
def test_every_command_logs_as_it_is_told(
    arguments: list[str],
    environment: dict[str, str],
    as_json: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if environment.pop("in the file", None):
        (tmp_path / "xner-label.toml").write_text('[log]\nformat = "json"\n')
    for name, value in (environment | {"XNER_LABEL_RUN_ID": "night-7"}).items():
        monkeypatch.setenv(name, value)
    line = [sys.executable, "-m", "xner_label", *arguments]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode in (2, 3, 7), done.stderr
    if not as_json:
        assert not done.stderr.startswith("{")
        return
    *_, error, end = map(json.loads, done.stderr.splitlines())
    assert error["level"] == "ERROR"
    assert (end["exit_code"], end["run"], end["command"]) == (
        done.returncode,
        "night-7",
        arguments[-3 if "a" in arguments else -1],
    )
