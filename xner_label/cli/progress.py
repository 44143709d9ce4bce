"""Progress on standard error: a bar with rate and time left on a terminal, elsewhere a line every half minute."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xner_label.logs import logs_json
from xner_label.progress import duration

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

_LOG = logging.getLogger(__name__)

# Seconds between two lines where no terminal is.
INTERVAL = 30.0
# Seconds between two drawings of the bar, and the time that work may take without one.
_REDRAW, _PATIENCE = 0.2, 1.0
_READ_BYTES = 1 << 20


class ConsoleProgress:
    """Shows one stage after the other. ``announce`` names each stage as it begins, where no terminal is.

    The library may advance it from any thread.
    """

    def __init__(self, *, announce: bool, terminal: bool, interval: float = INTERVAL) -> None:
        self._announce = announce
        self._terminal = terminal
        self._interval = interval
        self._lock = threading.Lock()
        self._stage = ""
        self._total: int | None = None
        self._done = self._undrawn = 0
        self._begun = self._drawn = time.monotonic()
        self._bar: ProgressBar[Any] | None = None

    def begin(self, stage: str, total: int | None = None) -> None:
        """End the stage before and begin another."""
        with self._lock:
            self._end()
            self._stage, self._total = stage, total
            self._done = self._undrawn = 0
            self._begun = self._drawn = time.monotonic()
            if self._announce and not self._terminal:
                _say(f"{stage} ...")

    def advance(self, count: int = 1) -> None:
        """Count what is done; draws the bar when it is due."""
        with self._lock:
            self._done += count
            self._undrawn += count
            now = time.monotonic()
            if not self._terminal or now - self._begun < _PATIENCE or now - self._drawn < _REDRAW:
                return
            self._drawn = now
            with suppress(OSError):
                if self._bar is None:
                    self._bar = self._new_bar()
                    self._bar.__enter__()
                self._bar.update(self._undrawn)
                self._undrawn = 0

    def end(self) -> None:
        """The last stage is over."""
        with self._lock:
            self._end()

    def keep_talking(self, over: threading.Event) -> None:
        """Say every ``interval`` seconds where the stage stands, until ``over`` is set."""
        while not over.wait(self._interval):
            with self._lock:
                _say(self._line())

    def _end(self) -> None:
        if self._bar is not None:
            with suppress(OSError):
                self._bar.update(self._undrawn)
                self._bar.__exit__(None, None, None)
            self._bar = None
        self._undrawn = 0

    def _new_bar(self) -> ProgressBar[Any]:
        units: Any = None if self._total is not None else repeat(None)
        return click.progressbar(
            units,
            length=self._total,
            label=self._stage,
            show_pos=True,
            item_show_func=lambda _: f"{self._rate():,.1f}/s",
            file=sys.stderr,
        )

    def _rate(self) -> float:
        return self._done / max(time.monotonic() - self._begun, 1e-9)

    def _line(self) -> str:
        elapsed = duration(time.monotonic() - self._begun)
        if not self._done:
            return f"{self._stage}: {elapsed} so far"
        rate = self._rate()
        if self._total is None:
            return f"{self._stage}: {self._done:,}, {rate:,.1f}/s, {elapsed} so far"
        left = duration(max(self._total - self._done, 0) / rate)
        return f"{self._stage}: {self._done:,} of {self._total:,}, {rate:,.1f}/s, about {left} left"


@contextmanager
def console_progress(*, announce: bool = False) -> Iterator[ConsoleProgress]:
    """Progress on standard error for the length of a block."""
    terminal = sys.stderr is not None and sys.stderr.isatty() and not logs_json()
    progress = ConsoleProgress(announce=announce, terminal=terminal)
    over = threading.Event()
    talker = threading.Thread(target=progress.keep_talking, args=(over,), daemon=True)
    if not terminal:
        talker.start()
    try:
        yield progress
    finally:
        over.set()
        if talker.is_alive():
            talker.join()
        progress.end()


def count_lines(path: Path | str) -> int | None:
    """The lines of a regular file, for a bar's length; None for a pipe, a device and what can't be read."""
    if not os.path.isfile(path):
        return None
    lines = 0
    with suppress(OSError), open(path, "rb") as stream:
        while chunk := stream.read(_READ_BYTES):
            lines += chunk.count(b"\n")
    return lines


def _say(text: str) -> None:
    if logs_json():
        _LOG.info("%s", text)
        return
    with suppress(OSError):
        click.echo(text, err=True)
