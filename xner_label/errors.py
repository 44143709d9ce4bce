"""Every error that XNER-Label raises on purpose.

    XnerLabelError              1  something unexpected inside the tool
    +-- UsageError              2  the call itself is wrong (a file that doesn't exist, flags that contradict)
    +-- ConfigurationError      3  the settings don't fit what was asked
    |   +-- MissingExtraError   3  an optional part isn't installed
    +-- StudioError             4  Label Studio is unreachable or refused
    +-- PartialError            5  some lines or items failed; what worked is saved, run again
    |   +-- StoreUnavailableError  the database is locked, full or away; nothing of the step was written
    |   +-- RecordError         5  one input line is bad (carries line number and field)
    |       +-- IncompleteError    its projection fails a completeness filter that the caller asked for
    +-- CheckFailedError        6  a check (doctor, promotion gate, evaluation threshold) said no
    +-- SchemaError             7  the database schema is not at head
    +-- ContractError           8  offsets or labels contradict the text; nothing was written

The library raises these; only ``cli`` turns them into a message and an exit code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


class XnerLabelError(Exception):
    """Base of the tree. ``hint`` says what the user can do next; ``logged`` is what logs say of it, the message
    unless that repeats, without quotation marks, what others wrote."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", logged: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self._logged = logged

    @property
    def logged(self) -> str:
        """What logs say of it."""
        return str(self) if self._logged is None else self._logged

    @logged.setter
    def logged(self, words: str) -> None:
        self._logged = words

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message} ({self.hint})" if self.hint else message


class UsageError(XnerLabelError):
    """The call can't be carried out as written."""

    exit_code = 2


class ConfigurationError(XnerLabelError):
    """A setting is missing, malformed or contradicts another."""

    exit_code = 3


class MissingExtraError(ConfigurationError):
    """An optional part of the package is needed and not installed."""

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the extra '{extra}'", hint=f"pip install 'xner-label[{extra}]'")
        self.extra = extra


class StudioError(XnerLabelError):
    """Label Studio could not be reached, or refused the request."""

    exit_code = 4


class PartialError(XnerLabelError):
    """Part of the work failed; everything that succeeded is saved and running again is safe."""

    exit_code = 5


class StoreUnavailableError(PartialError):
    """The database can't be used at the moment; the step that was under way has written nothing."""


class RecordError(PartialError):
    """One input record is bad.

    ``field`` names the offending JSON field (``json`` when the line doesn't parse), ``line`` counts from 1,
    ``file`` is named where a command reads several. None of them changes: what learns more makes another error.
    """

    def __init__(self, field: str, problem: str, *, line: int | None = None, file: Path | str = "") -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem
        self.line = line
        self.file = str(file)

    def at_line(self, line: int) -> RecordError:
        """The same error, saying in which line."""
        return RecordError(self.field, self.problem, line=line, file=self.file)

    def in_file(self, file: Path | str) -> RecordError:
        """The same error, saying in which file."""
        return RecordError(self.field, self.problem, line=self.line, file=file)

    def inside(self, place: str) -> RecordError:
        """The same error, its field inside another: ``[3]`` and ``text`` give ``[3].text``."""
        inner = "" if self.field == "json" else f".{self.field}"
        field = f"{place}{inner}" if place else self.field
        return RecordError(field, self.problem, line=self.line, file=self.file)

    def __str__(self) -> str:
        place = [self.file] if self.file else []
        if self.line is not None:
            place.append(f"line {self.line}")
        where = f"{' '.join(place)}: " if place else ""
        return f"{where}{self.field}: {self.problem}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _record_error, (self.field, self.problem, self.line, self.file)


def _record_error(field: str, problem: str, line: int | None, file: str) -> RecordError:
    """Make an error again that has come from another process."""
    return RecordError(field, problem, line=line, file=file)


class IncompleteError(RecordError):
    """A task is fine but its projection isn't complete enough; ``filters`` names what it failed."""

    def __init__(self, filters: list[str]) -> None:
        super().__init__("entities", f"incomplete ({', '.join(filters)})")
        self.filters = filters

    def __reduce__(self) -> tuple[Any, ...]:
        return IncompleteError, (self.filters,)


class CheckFailedError(XnerLabelError):
    """A check was carried out and its answer is no."""

    exit_code = 6


class SchemaError(XnerLabelError):
    """The database schema is missing or not at the head revision."""

    exit_code = 7


class ContractError(XnerLabelError):
    """Offsets or labels contradict the text they point into."""

    exit_code = 8
