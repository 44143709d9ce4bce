"""What long work says on standard error."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.processes import begin, until
from xner_label.cli.progress import ConsoleProgress, count_lines

ROOT = Path(__file__).parents[2]


def test_without_a_terminal_it_says_now_and_then_where_it_stands(capfd: pytest.CaptureFixture[str]) -> None:
    progress = ConsoleProgress(announce=True, terminal=False, interval=0.02)
    over = threading.Event()
    talker = threading.Thread(target=progress.keep_talking, args=(over,))
    progress.begin("aligning", 1000)
    progress.advance(250)
    written, errors = said_by(talker, over, capfd, 2)
    first, *others = errors.splitlines()
    assert (written, first) == ("", "aligning ...")
    assert re.fullmatch(r"aligning: 250 of 1,000, [\d,.]+/s, about \d+ s left", others[0])


def test_work_of_an_unknown_length_has_a_rate(capfd: pytest.CaptureFixture[str]) -> None:
    progress = ConsoleProgress(announce=False, terminal=False, interval=0.02)
    over = threading.Event()
    talker = threading.Thread(target=progress.keep_talking, args=(over,))
    progress.begin("projecting")
    progress.advance(3)
    _, errors = said_by(talker, over, capfd, 1)
    assert re.match(r"projecting: 3, [\d,.]+/s, \d+ s so far\n", errors)


def said_by(
    talker: threading.Thread, over: threading.Event, capfd: pytest.CaptureFixture[str], lines: int
) -> tuple[str, str]:
    """What is on standard output and standard error once there are so many lines on the latter."""
    said = ["", ""]

    def enough() -> bool:
        for number, piece in enumerate(capfd.readouterr()):
            said[number] += piece
        return said[1].count("\n") >= lines

    talker.start()
    until(enough, pause=0.02)
    over.set()
    talker.join()
    return said[0], said[1]


def test_a_terminal_gets_a_bar_with_rate_and_time_left_and_the_results_stay_clean(tmp_path: Path) -> None:
    """So many lines keep the command going for longer than the bar waits, on a quick machine too."""
    line = {"id": 1, "text": "Anna", "source": "Anna", "source_entities": [{"start": 0, "end": 4, "label": "PER"}]}
    tasks = tmp_path / "tasks.jsonl"
    tasks.write_text((json.dumps(line) + "\n") * 150_000)
    controller, terminal = pty.openpty()
    process = begin(
        [sys.executable, "-m", "xner_label", "project", "--projector", "default", str(tasks)],
        stdout=subprocess.DEVNULL,
        stderr=terminal,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm"},
    )
    os.close(terminal)
    shown = b""
    try:
        while piece := os.read(controller, 4096):
            shown += piece
    except OSError:  # Linux ends a terminal this way
        pass
    os.close(controller)
    assert process.wait() == 0
    assert re.search(rb"projecting .*/150000 .*/s", shown), shown[-300:]


def test_lines_are_counted_of_files_alone(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_text("a\nb\n")
    assert (count_lines(file), count_lines("-"), count_lines("/dev/null")) == (2, None, None)
