"""Tables: CSV and TSV with a header that names `text`, and optionally `id`, `source`, `split`.

The separator is the one under which the header has a column `text`: comma, semicolon, tab or vertical bar.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from io import BufferedReader
from typing import TextIO

from xner_label.entities import Task
from xner_label.errors import RecordError, UsageError
from xner_label.exchange.readers.interface import ImportedTask, Numbered, ReadOptions, id_of
from xner_label.exchange.readers.lines import MAX_LINE, text_of

SEPARATORS = ",;\t|"
# The most lines that a row may go over.
_MAX_ROW_LINES = 10_000
_COLUMNS = ("id", "text", "source", "split")

# Python's own limit of 131,072 characters a field is below what a document may have.
csv.field_size_limit(MAX_LINE)


def header_of(line: str) -> tuple[str, list[str]] | None:
    """The separator and the column names of a header line, None for a line that names no column `text`."""
    for separator in SEPARATORS:
        try:
            names = [name.strip().lower() for name in next(csv.reader([line], delimiter=separator))]
        except (csv.Error, StopIteration):
            continue
        if "text" in names:
            return separator, names
    return None


def read_table(stream: BufferedReader, options: ReadOptions) -> Iterator[Numbered]:
    """A task for each row.

    Raises UsageError when neither the header nor ``options.columns`` names a column `text`.
    """
    lines = _Lines(text_of(stream))
    first = next((line for line in lines if line.strip()), "")
    if first.strip().lower().startswith("sep=") and len(first.strip()) == len("sep=;"):
        first = next(lines, "")  # a line that spreadsheets write for each other
    names: Sequence[str] = options.columns
    if names:
        if "text" not in names:
            raise UsageError("--columns names no column 'text'", hint="for example --columns id,text,source")
        separator = max(SEPARATORS, key=lambda candidate: first.count(candidate))
        lines.back(1 if first else 0)
    elif header := header_of(first):
        separator, names = header
    else:
        raise UsageError(
            f"the table has no column 'text': its first line is {first.strip()[:60]!r}",
            hint="name the columns in the first line (separated by comma, semicolon, tab or |); if it is a row "
            "already, give their names with --columns id,text,source",
        )
    repeated = {name for name in names if name in _COLUMNS and list(names).count(name) > 1}
    if repeated:
        raise UsageError(f"the table has two columns {min(repeated)!r}", hint="rename one of them")
    ignored = tuple(f"column `{name}` isn't read" for name in names if name not in (*_COLUMNS, "_", ""))
    yield from _rows(lines, separator, names, ignored)


def _rows(lines: _Lines, separator: str, names: Sequence[str], notes: tuple[str, ...]) -> Iterator[Numbered]:
    rows = csv.reader(lines, delimiter=separator, strict=True)
    while True:
        number = lines.begin_row()
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield number, RecordError("csv", f"{error}; check the quotes of the row that begins here")
            lines.back_to_second_line()
            continue
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(names):
            problem = f"{len(row)} cells for {len(names)} columns; put cells that hold the separator into quotes"
            yield number, RecordError("csv", problem)
            continue
        cells = dict(zip(names, row, strict=True))
        text = cells["text"]
        key = (cells.get("id") or "").strip() or id_of(text)
        task = Task(id=key, text=text, source=cells.get("source") or None)
        yield number, ImportedTask(task, (cells.get("split") or "").strip() or None, notes=notes)


class _Lines:
    """The lines of a file with their ends, numbered, with those of the present row within reach.

    A quote that is never closed would swallow the rest of the file: after the row that it spoils, reading goes on
    in the line below the quote.
    """

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._waiting: list[str] = []
        self._row: list[str] = []
        self._number = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if len(self._row) == _MAX_ROW_LINES:
            raise csv.Error(f"a quote isn't closed within {_MAX_ROW_LINES:,} lines")
        line = self._waiting.pop() if self._waiting else self._text.readline(MAX_LINE)
        if not line:
            raise StopIteration
        self._number += 1
        self._row.append(line)
        return line

    def begin_row(self) -> int:
        """The number of the line on which the next row begins."""
        self._row.clear()
        return self._number + 1

    def back(self, count: int) -> None:
        """Let the last ``count`` lines of the present row be the next ones again."""
        for line in reversed(self._row[len(self._row) - count :]):
            self._waiting.append(line)
        self._number -= count

    def back_to_second_line(self) -> None:
        """Let all lines of the present row but its first be the next ones again."""
        self.back(max(len(self._row) - 1, 0))
