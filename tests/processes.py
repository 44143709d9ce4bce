"""Processes beside a test, and waiting for what they do.

Whatever a test waits for may take long on a busy machine: limits are generous and only end a test that hangs.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any

# Seconds: no process of ours takes as long, however busy the machine is.
LIMIT = 300.0

_BEGUN: list[subprocess.Popen[Any]] = []


def begin(*arguments: Any, **options: Any) -> subprocess.Popen[Any]:
    """`subprocess.Popen`, ended with the test at the latest: what is left is a warning in a later test."""
    process = subprocess.Popen(*arguments, **options)
    _BEGUN.append(process)
    return process


def end(process: subprocess.Popen[Any]) -> None:
    """kill -9, if it still runs, and close its pipes."""
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def end_all() -> None:
    """End what the test began."""
    while _BEGUN:
        end(_BEGUN.pop())


def until(condition: Callable[[], object], seconds: float = LIMIT, pause: float = 0.1) -> None:
    """Wait for a condition, which is asked about every ``pause`` seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(pause)
