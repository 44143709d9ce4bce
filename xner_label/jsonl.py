"""JSON Lines: UTF-8, one object per line, blank lines skipped, bad lines reported one by one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec

from xner_label.errors import RecordError, UsageError

T = TypeVar("T")


def decode_line(line: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Decode one line. Raises RecordError that names the field, without a line number."""
    try:
        line.decode()  # the decoder doesn't look into fields that it skips
        return decoder.decode(line)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        field = path.rstrip("`").lstrip(".") or _missing_field(problem)
        raise RecordError(field, f"{problem}; see `xner-label project --help` for the format") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RecordError("json", f"not a JSON object ({error}); write one object per line") from None


def _missing_field(problem: str) -> str:
    """The field that msgspec quotes in 'Object missing required field `text`'."""
    return problem.split("`")[1] if "missing required field" in problem else "json"


def numbered_lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """The non-blank lines of a stream, numbered from 1."""
    for number, line in enumerate(stream, start=1):
        if line.strip():
            yield number, line


def read_objects(path: Path) -> Iterator[dict[str, Any]]:
    """Read a whole JSON Lines file of objects; the first bad line raises RecordError with its number."""
    decoder = msgspec.json.Decoder(dict[str, Any])
    with open_input(path) as stream:
        for number, line in numbered_lines(stream):
            try:
                yield decode_line(line, decoder)
            except RecordError as error:
                error.line = number
                raise


@contextmanager
def open_input(path: Path | str) -> Iterator[IO[bytes]]:
    """Open a file, or standard input for ``-``. Raises UsageError when it can't be opened."""
    if str(path) == "-":
        import sys

        yield sys.stdin.buffer
        return
    try:
        stream = open(path, "rb")  # noqa: SIM115 - closed below; the error must be caught here alone
    except OSError as error:
        raise UsageError(f"can't read {path}: {error.strerror}", hint="check the path") from None
    with stream:
        yield stream


@contextmanager
def open_output(path: Path | str) -> Iterator[IO[bytes]]:
    """Open a file for writing, or standard output for ``-``.

    A file is written beside its destination and renamed at the end, so that it is either whole or absent; an
    exception leaves nothing behind.
    """
    if str(path) == "-":
        import sys

        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    target = Path(path)
    if target.exists() and not target.is_file():
        with open(target, "wb") as stream:  # a device or a pipe can't be renamed onto
            yield stream
        return
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    except OSError as error:
        raise UsageError(f"can't write {path}: {error.strerror}", hint="check the folder") from None
    try:
        os.fchmod(handle, 0o666 & ~_umask())
        with os.fdopen(handle, "wb") as stream:
            yield stream
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
