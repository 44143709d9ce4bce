"""Child processes that never outlive the one that started them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    stdout: IO[bytes],
    stderr: IO[bytes] | int = subprocess.STDOUT,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a process group of its own, in ``folder``; stop the group when the block ends.

    The group keeps Ctrl-C of a terminal away from the child, so that it is stopped in order and not in the middle
    of a request. On Linux the kernel ends it even if this process is killed with SIGKILL.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=dict(environment),
        cwd=folder,
        start_new_session=True,
        preexec_fn=partial(_end_with_parent, os.getpid()) if _LIBC else None,
    )
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes], *, grace: float = 5.0) -> None:
    """End the process group that ``process`` leads: SIGTERM, and SIGKILL for what is left after ``grace`` seconds.

    Signals that end this process are held back meanwhile: a second Ctrl-C must not leave a server behind.
    """
    with _held_back():
        _signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)
        deadline = time.monotonic() + grace
        while _group_exists(process.pid) and time.monotonic() < deadline:
            _signal_group(process.pid, signal.SIGKILL)
            process.poll()
            time.sleep(0.02)
        process.wait()


@contextlib.contextmanager
def ending_signals_unwind() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind the stack like Ctrl-C does, so that every ``with`` stops its process."""

    def unwind(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = {number: signal.signal(number, unwind) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent(parent: int) -> None:
    # Runs between fork and exec. A child inherits the mask of blocked signals: it must be able to be stopped.
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    assert _LIBC is not None
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was killed before the kernel knew
        os.kill(os.getpid(), signal.SIGKILL)


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
