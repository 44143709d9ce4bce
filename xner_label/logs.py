"""What goes to the log: one line of text, or one JSON object, a record; and the ids that join them.

A log is read by more people than the texts are, and kept for longer. So nothing that a task says gets into one:
whatever stands between quotation marks is left out of every message, exceptions are named without what they say,
and only errors of this package, which are written for people, are quoted at all (:func:`told`).
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import msgspec

from xner_label.errors import XnerLabelError

RUN_VARIABLE = "XNER_LABEL_RUN_ID"
# Carries the id of a request or, from the command line, of a run.
REQUEST_HEADER = "X-Request-ID"

_FIELDS: ContextVar[Mapping[str, Any]] = ContextVar("log fields", default={})  # noqa: B039 - never changed
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# As repr writes a text; an apostrophe within a word begins none.
_QUOTED = re.compile(r"(?<!\w)'(?:\\.|[^'\\])*'(?!\w)|\"(?:\\.|[^\"\\])*\"")


class _State:
    """How this process logs, and what its run is called."""

    run = ""
    as_json = False


def new_id() -> str:
    """16 hexadecimal digits."""
    return secrets.token_hex(8)


def sane_id(given: str | None) -> str | None:
    """An id that came from outside, if it is no more than one."""
    return given if given is not None and _ID.fullmatch(given) else None


def run_id() -> str:
    """What everything that this process does is called; XNER_LABEL_RUN_ID may name it."""
    if not _State.run:
        _State.run = sane_id(os.environ.get(RUN_VARIABLE)) or new_id()
    return _State.run


@contextmanager
def log_fields(**fields: Any) -> Iterator[None]:
    """Add fields to every record that is made within the block, in this thread or task."""
    token = _FIELDS.set({**_FIELDS.get(), **fields})
    try:
        yield
    finally:
        _FIELDS.reset(token)


def current_fields() -> Mapping[str, Any]:
    """The fields of the blocks around."""
    return _FIELDS.get()


def without_quotes(message: str) -> str:
    """The message without anything between quotation marks."""
    return _QUOTED.sub("'...'", message)


def told(error: BaseException) -> str:
    """What a log may say of an error: of others than this package's own only the kind."""
    if isinstance(error, XnerLabelError):
        return without_quotes(error.logged)
    return type(error).__name__


def logs_json() -> bool:
    """Whether this process was told to log JSON."""
    return _State.as_json


def configure_logging(form: str) -> None:
    """Send records to standard error as ``text`` or ``json``; may be called again."""
    _State.as_json = form == "json"
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Handler)]:
        root.removeHandler(handler)
    handler = _Handler()
    handler.setFormatter(JsonFormatter() if _State.as_json else TextFormatter())
    root.addHandler(handler)
    logging.captureWarnings(_State.as_json)
    if _State.as_json:
        logging.getLogger("xner_label").setLevel(logging.INFO)


class _Handler(logging.StreamHandler[Any]):
    """Writes to whatever standard error is at the moment; a log that can't be written ends nothing."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        self.stream = sys.stderr
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Say nothing: the usual way shows the record's arguments."""


class TextFormatter(logging.Formatter):
    """Time, level, logger, the ids, message."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the frames of an exception."""
        moment = f"{datetime.fromtimestamp(record.created, UTC):%Y-%m-%dT%H:%M:%S}.{int(record.msecs):03}Z"
        ids = " ".join(f"{name}={value}" for name, value in current_fields().items())
        where = f"{record.name} [{ids}]" if ids else record.name
        line = f"{moment} {record.levelname} {where}: {without_quotes(record.getMessage())}"
        told_of = _exception(record)
        return "\n  ".join([line, told_of["type"], *told_of["frames"]]) if told_of else line


class JsonFormatter(logging.Formatter):
    """One JSON object; docs/operation.md says what its fields are."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        document: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname,
            "logger": record.name,
            "message": without_quotes(record.getMessage()),
            "run": run_id(),
            **current_fields(),
            **getattr(record, "fields", {}),
        }
        exception = _exception(record)
        if exception is not None:
            document["exception"] = exception
        return msgspec.json.encode(document, enc_hook=str).decode()


def _exception(record: logging.LogRecord) -> dict[str, Any] | None:
    """The kind of an exception and where it came from, innermost last, without what it says."""
    if not record.exc_info or record.exc_info[0] is None:
        return None
    frames = traceback.extract_tb(record.exc_info[2])
    return {
        "type": record.exc_info[0].__name__,
        "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }
