"""From bytes to text in UTF-8: encodings, byte order marks, and files that aren't text.

A byte that isn't UTF-8 spoils its own record alone: it passes here (``surrogateescape``), and
:func:`undecodable` finds it again in the strings of a record.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TextIO

from xner_label.errors import UsageError

# How much of a file its format and encoding are judged by, in bytes.
HEAD = 1 << 18
# The longest line of a table or of columns, in code points, and the longest item of an array.
MAX_LINE = 1 << 24

_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Text in which a larger share of the characters is control characters isn't UTF-8, whatever it reads as.
_ONE_IN = 10
_BINARY = (
    (b"PK\x03\x04", "a zip archive or an office document", "unpack it, or save the table as CSV"),
    (b"SQLite format 3\0", "a SQLite database", "export what you want to import as JSON Lines or CSV"),
    (b"\xd0\xcf\x11\xe0", "an old office document", "save the table as CSV"),
    (b"%PDF", "a PDF document", "extract its text first, one sentence a line"),
    (b"ARROW1", "an Arrow file", "convert it to JSON Lines first"),
)


class _Rewound(io.RawIOBase):
    """A stream that gives back, first of all, the bytes that were already read from it."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head = io.BytesIO(head)
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._head.read(len(buffer)) or self._rest.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Transcoded(io.RawIOBase):
    """A stream in another encoding as UTF-8."""

    def __init__(self, stream: _Rewound, encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._ready = io.BytesIO()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not (data := self._ready.read(len(buffer))):
            chunk = self._stream.read(HEAD)
            self._ready = io.BytesIO(self._decoder.decode(chunk or b"", final=not chunk).encode())
            if not chunk:
                data = self._ready.read(len(buffer))
                break
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def utf8_stream(stream: IO[bytes], encoding: str | None, name: str) -> Iterator[tuple[str, io.BufferedReader]]:
    """The beginning of a file as text, and all of it in UTF-8; a byte order mark isn't part of either.

    ``encoding`` is what the caller says; None: UTF-8, or what the byte order mark names. ``name`` is the file's,
    for messages. Raises UsageError for a file that isn't text, an encoding that Python doesn't know, and, also
    while the stream is being read, for text that isn't in the encoding named; bytes that aren't UTF-8 pass.
    """
    head = stream.read(HEAD)
    chosen, mark = _encoding(head, encoding, name)
    head = head[len(mark) :]
    errors = "surrogateescape" if chosen == "utf-8" else "strict"
    try:
        text = codecs.getincrementaldecoder(chosen)(errors).decode(head)
        whole: io.RawIOBase = _Rewound(head, stream)
        if chosen != "utf-8":
            whole = _Transcoded(_Rewound(head, stream), chosen)
        yield text, io.BufferedReader(whole, HEAD)
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{name} isn't {chosen} throughout: {error}", hint="give its encoding with --encoding"
        ) from None


def stream_of(text: str) -> io.BufferedReader:
    """A text, decoded as :func:`utf8_stream` does, as a stream again."""
    return io.BufferedReader(_Rewound(text.encode("utf-8", "surrogateescape"), io.BytesIO()))


def text_of(stream: io.BufferedReader) -> TextIO:
    """A UTF-8 stream as text with its line ends (LF, CR LF or CR) as they are."""
    return io.TextIOWrapper(stream, "utf-8", errors="surrogateescape", newline="")


def _encoding(head: bytes, encoding: str | None, name: str) -> tuple[str, bytes]:
    """The encoding to decode with, and the byte order mark that the file begins with."""
    mark, marked = next((pair for pair in _MARKS if head.startswith(pair[0])), (b"", ""))
    if encoding is not None:
        try:
            chosen = codecs.lookup(encoding).name.removesuffix("-sig")
            "".encode(chosen)  # refuses what Python keeps among its codecs and isn't an encoding of text
        except LookupError:
            raise UsageError(
                f"there is no encoding {encoding!r}", hint="for example utf-8, utf-16-le, latin-1, cp1252, big5"
            ) from None
        return (marked, mark) if marked.startswith(chosen) else (chosen, b"")
    if mark:
        return marked, mark
    for magic, what, remedy in _BINARY:
        if head.startswith(magic):
            raise UsageError(f"{name} is {what}, not text", hint=remedy)
    if b"\0" in head and not _is_narrow(head) and (guess := _wide_encoding(head)):
        for_iconv = guess.upper().replace("-LE", "LE").replace("-BE", "BE")
        raise UsageError(
            f"{name} looks like {guess.upper()} without a byte order mark, not UTF-8",
            hint=f"give --encoding {guess}, or convert it: iconv -f {for_iconv} -t UTF-8",
        )
    return "utf-8", b""


def _is_narrow(head: bytes) -> bool:
    """Whether it is UTF-8 in which a NUL has strayed: of wide text every second byte is NUL, or says which script
    it is, which UTF-8 reads as a control character or not at all."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    control = sum(character < " " and character not in "\r\n" for character in text)
    return control * _ONE_IN < len(text)


def _wide_encoding(head: bytes) -> str | None:
    """Which two- or four-byte encoding the bytes are in, if any: the one that reads as text with most ASCII."""
    best: tuple[int, str] | None = None
    for encoding in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
        try:
            text = head[: len(head) // 4 * 4].decode(encoding)
        except UnicodeDecodeError:
            continue
        plain = sum(character.isascii() for character in text)
        if "\0" not in text and plain and (best is None or plain > best[0]):
            best = plain, encoding
    return best and best[1]


def undecodable(text: str) -> str | None:
    """What is wrong with a decoded string: a byte that wasn't UTF-8, half of a surrogate pair, or None."""
    match = _ESCAPED_BYTE.search(text)
    if match:
        byte = ord(match[0]) - 0xDC00
        return (
            f"byte 0x{byte:02X} after {text[max(0, match.start() - 10) : match.start()]!r} isn't UTF-8; convert "
            "the file, or give its encoding with --encoding (latin-1, cp1252, ...)"
        )
    match = _SURROGATE.search(text)
    if match:
        return f"half of a surrogate pair (U+{ord(match[0]):04X}) at {match.start()}; write the character whole"
    return None
