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

from xner_label.cli.progress import ConsoleProgress, count_lines

ROOT = Path(__file__).parents[2]


def test_without_a_terminal_it_says_now_and_then_where_it_stands(capfd: pytest.CaptureFixture[str]) -> None:
    progress = ConsoleProgress(announce=True, terminal=False, interval=0.02)
    over = threading.Event()
    talker = threading.Thread(target=progress.keep_talking, args=(over,))
    progress.begin("aligning", 1000)
    progress.advance(250)
    talker.start()
    over.wait(0.2)
    over.set()
    talker.join()
    written = capfd.readouterr()
    first, *others = written.err.splitlines()
    assert (written.out, first) == ("", "aligning ...")
    assert re.fullmatch(r"aligning: 250 of 1,000, [\d,.]+/s, about \d+ s left", others[0])


def test_work_of_an_unknown_length_has_a_rate(capfd: pytest.CaptureFixture[str]) -> None:
    progress = ConsoleProgress(announce=False, terminal=False, interval=0.02)
    over = threading.Event()
    talker = threading.Thread(target=progress.keep_talking, args=(over,))
    progress.begin("projecting")
    progress.advance(3)
    talker.start()
    over.wait(0.1)
    over.set()
    talker.join()
    assert re.match(r"projecting: 3, [\d,.]+/s, 0 s so far\n", capfd.readouterr().err)


def test_a_terminal_gets_a_bar_with_rate_and_time_left_and_the_results_stay_clean(tmp_path: Path) -> None:
    """So many lines keep the command going for longer than the bar waits, on a quick machine too."""
    line = {"id": 1, "text": "Anna", "source": "Anna", "source_entities": [{"start": 0, "end": 4, "label": "PER"}]}
    tasks = tmp_path / "tasks.jsonl"
    tasks.write_text((json.dumps(line) + "\n") * 150_000)
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
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
