"""How far long work has come: the library tells, the command line shows."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Is told which stage begins and how many of its units are done."""

    def begin(self, stage: str, total: int | None = None) -> None:
        """Another stage begins; ``total`` is the number of its units where it is known."""
        ...

    def advance(self, count: int = 1) -> None:
        """So many more units are done."""
        ...


class Silence:
    """Progress that nobody watches."""

    def begin(self, stage: str, total: int | None = None) -> None:
        """Say nothing."""

    def advance(self, count: int = 1) -> None:
        """Say nothing."""


SILENCE = Silence()


def duration(seconds: float) -> str:
    """A time in words: ``1 h 5 min``, ``2 min 3 s``, ``7 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
