"""Signals of the commands that run until they are stopped."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """Whether a signal has come. A plain attribute: the thread that a signal stops may hold an Event's lock."""

    received = False


@contextmanager
def terminating_interrupts() -> Iterator[Interrupts]:
    """Let SIGTERM unwind the stack as Ctrl-C does. Must run in the main thread.

    What a library makes of the interrupt ends in KeyboardInterrupt, too: a database driver that is stopped in a
    statement complains of the statement.
    """
    interrupts = Interrupts()

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        interrupts.received = True
        raise KeyboardInterrupt

    # where Ctrl-C is ignored, as in a shell's background, it stays so
    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        numbers.append(signal.SIGINT)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield interrupts
    except Exception:
        if interrupts.received:
            raise KeyboardInterrupt from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
