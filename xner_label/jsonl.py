"""JSON Lines: UTF-8, one object per line, blank lines skipped, bad lines returned one by one.

:func:`numbered_lines` cuts, :func:`decoded_lines` decodes, :func:`checked` goes on with what was decoded. All
three yield ``(number, value)`` where the value is a RecordError that carries the number for a line that is bad, so
that the caller decides whether to report it, to count it or to stop. :func:`read_values` stops.
"""

from __future__ import annotations

import json
import os
import tempfile
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

import msgspec

from xner_label.errors import RecordError, UsageError

T = TypeVar("T")
U = TypeVar("U")
# A line's number, from 1, and what it holds or what is wrong with it.
Numbered = tuple[int, T | RecordError]

# Bytes of a line, its end not counted. A document of a hundred thousand words takes a tenth of it; what is longer
# is usually a whole JSON array, and holding it would take the memory that streaming is meant to save.
MAX_LINE_BYTES = 16 << 20
# Bytes asked for at a time.
READ_BYTES = 1 << 20
# What a packed file begins with, what it is, and how its lines get into a pipe.
_PACKED = {
    b"\x1f\x8b": ("a gzip file", "unpack it on the way: gzip -dc FILE | xner-label ... -"),
    b"\x28\xb5\x2f\xfd": ("a Zstandard file", "unpack it on the way: zstd -dc FILE | xner-label ... -"),
    b"PAR1": ("a Parquet file", "`xner-label predict FILE -o FOLDER` reads it, or `xner-label import FILE`"),
}
_ARRAY_HINT = "write one object per line, for instance with `jq -c '.[]'`"


class LineSplitter:
    """Cuts a stream that comes in chunks into its lines.

    Lines end with LF, CR LF or CR; blank ones are skipped and counted. A byte order mark in front of a line is
    left out, so that files which each have one can be joined. A line of more than ``MAX_LINE_BYTES`` becomes a
    RecordError and is never held whole. Time and memory are linear in what comes in, however it is cut.
    """

    def __init__(self) -> None:
        self._number = 0
        self._pieces: list[bytes] = []  # of the line that has begun and not ended
        self._length = 0
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[Numbered[bytes]]:
        """The lines that end in ``chunk``. Raises UsageError where the stream begins as UTF-16
        or a packed file does."""
        if not self._number and not self._length:
            _refuse_other_than_text(chunk)
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = chunk.split(b"\n")
        result: list[Numbered[bytes]] = []
        if lines and self._length:
            lines[0] = self._begun(lines[0])
        for line in lines:
            self._number += 1
            if line.startswith(BOM_UTF8):
                line = line[len(BOM_UTF8) :]
            if len(line) > MAX_LINE_BYTES:
                result.append((self._number, _too_long(self._number)))
            elif line and not line.isspace():
                result.append((self._number, line))
        self._keep(rest)
        return result

    def finish(self) -> list[Numbered[bytes]]:
        """The last line, where the stream didn't end with a line's end."""
        return self.feed(b"\n") if self._length else []

    def _keep(self, piece: bytes) -> None:
        """Remember the beginning of a line, but no more of it than tells that it is too long."""
        if piece and self._length <= MAX_LINE_BYTES + len(BOM_UTF8):
            self._pieces.append(piece)
            self._length += len(piece)

    def _begun(self, end: bytes) -> bytes:
        """The whole line that ends with ``end``."""
        self._keep(end)
        line = b"".join(self._pieces)
        self._pieces.clear()
        self._length = 0
        return line


def _refuse_other_than_text(head: bytes) -> None:
    for magic, (what, unpack) in _PACKED.items():
        if head.startswith(magic):
            raise UsageError(f"the input is {what}, not JSON Lines", hint=unpack)
    if head.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) or b"\0" in head[:2]:
        raise UsageError(
            "the input is UTF-16, not UTF-8", hint="convert it, for instance with `iconv -f UTF-16 -t UTF-8`"
        )


def _too_long(number: int) -> RecordError:
    problem = f"the line is longer than {MAX_LINE_BYTES >> 20} MiB; {_ARRAY_HINT}"
    return RecordError("json", problem, line=number)


def numbered_lines(stream: IO[bytes]) -> Iterator[Numbered[bytes]]:
    """The non-blank lines of a stream, see :class:`LineSplitter`. Raises UsageError for UTF-16 or packed input."""
    splitter = LineSplitter()
    read = getattr(stream, "read1", stream.read)  # read1 doesn't wait for a pipe to fill the chunk
    while chunk := read(READ_BYTES):
        yield from splitter.feed(chunk)
    yield from splitter.finish()


def decoded_lines(stream: IO[bytes], record_type: type[T]) -> Iterator[Numbered[T]]:
    """Every non-blank line of a stream as ``record_type``. Raises UsageError for UTF-16 and packed files."""
    decoder = msgspec.json.Decoder(record_type)
    return checked(numbered_lines(stream), lambda line: decode_line(line, decoder))


def checked(lines: Iterable[Numbered[T]], check: Callable[[T], U]) -> Iterator[Numbered[U]]:
    """Each value as ``check`` returns it, or the RecordError that it raises, with the line's number."""
    for number, value in lines:
        if isinstance(value, RecordError):
            yield number, value
            continue
        try:
            result: U | RecordError = check(value)
        except RecordError as error:
            result = error.at_line(number)
        yield number, result


def read_values(path: Path | str, record_type: type[T]) -> Iterator[T]:
    """The lines of a file as ``record_type``; the first bad one is raised as RecordError.

    Raises UsageError when the file can't be opened, is UTF-16 or packed.
    """
    return read_checked(path, record_type, lambda record: record)


def read_checked(path: Path | str, record_type: type[T], check: Callable[[T], U]) -> Iterator[U]:
    """What ``check`` makes of each line of a file, see :func:`checked`; the first bad one is raised.

    Raises UsageError when the file can't be opened, is UTF-16 or packed.
    """
    with open_input(path) as stream:
        for _, value in checked(decoded_lines(stream, record_type), check):
            if isinstance(value, RecordError):
                raise value.in_file(path)
            yield value


def decode_line(line: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Decode one line. Raises RecordError that names the field, without a line number."""
    try:
        line.decode()  # the decoder doesn't look into fields that it skips
        return decoder.decode(line)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        field = path.rstrip("`").lstrip(".") or _missing_field(problem)
        if field == "json" and problem.endswith("got `array`"):
            raise RecordError("json", f"the line is an array; {_ARRAY_HINT}") from None
        raise RecordError(field, f"{problem}; see `xner-label project --help` for the format") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if _holds_half_a_pair(line):
            raise RecordError("json", "holds half of a surrogate pair (\\ud800 to \\udfff); remove it") from None
        raise RecordError("json", f"not a JSON object ({error}); write one object per line") from None
    except RecursionError:
        raise RecordError("json", "nested too deeply; a task is an object of a few levels") from None


def _holds_half_a_pair(line: bytes) -> bool:
    """Whether an object is bad for an escape that is no character: half of a surrogate pair."""
    try:
        json.dumps(json.loads(line), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    except (ValueError, RecursionError):
        return False
    return False


def _missing_field(problem: str) -> str:
    """The field that msgspec quotes in 'Object missing required field `text`'."""
    return problem.split("`")[1] if "missing required field" in problem else "json"


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
    exception leaves nothing behind. A file that is there already keeps its permissions, a symbolic link stays one.
    """
    if str(path) == "-":
        import sys

        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise UsageError(f"can't write {path}: it is a folder", hint="name a file")
    if target.exists() and not target.is_file():
        with open(target, "wb") as stream:  # a device or a pipe can't be renamed onto
            yield stream
        return
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    except OSError as error:
        raise UsageError(f"can't write {path}: {error.strerror}", hint="check the folder") from None
    try:
        os.fchmod(handle, target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask())
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
