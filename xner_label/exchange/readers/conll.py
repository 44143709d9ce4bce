"""CoNLL columns: one token a line with its tag, sentences separated by blank lines.

Columns may stand in any order and be separated by tabs or spaces; the tags may be in any usual scheme
(:mod:`xner_label.exchange.tag_schemes`). Comments (``# ...``) and ``-DOCSTART-`` lines are passed over;
``# id = ...`` and ``# sent_id = ...`` give the sentence its id, ``# text = ...`` its running text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from io import BufferedReader
from typing import NamedTuple, TextIO

from xner_label.errors import RecordError, UsageError
from xner_label.exchange.readers.interface import ImportedTask, Numbered, ReadOptions
from xner_label.exchange.readers.lines import MAX_LINE, text_of
from xner_label.exchange.readers.tagged_tokens import task_of
from xner_label.exchange.tag_schemes import CHUNKS, is_tag, split_tag
from xner_label.wording import counted

# The longest sentence, in tokens: more means that the file has no blank lines.
MAX_TOKENS = 10_000
_COMMENT = re.compile(r"#\s*(?P<name>id|sent_id|text)\b\s*=?\s*(?P<value>.*\S)\s*")
_DOCUMENT = "-DOCSTART-"
_BARE_LABEL = re.compile(r"[A-Z][A-Z_]{1,19}")
_LINE_END = "\r\n"


class Layout(NamedTuple):
    """How the lines of a file are divided. ``width`` columns; ``separator`` None means any white space."""

    separator: str | None
    width: int
    token: int
    tag: int

    def split(self, line: str) -> list[str]:
        """The cells of a line."""
        if self.separator is None:
            return line.split()
        return [cell.strip() for cell in line.strip(_LINE_END).split(self.separator)]


def find_layout(head: str, *, certain: bool = False) -> Layout | None:
    """The layout that the beginning of a file shows, None where it isn't CoNLL.

    ``certain`` says that it is, so that ``O`` alone is enough of a tag. Raises UsageError where several columns
    hold tags.
    """
    lines = [line for line in re.split(r"\r\n?|\n", head)[:2_000] if line.strip() and _DOCUMENT not in line]
    for separator in ("\t", None, ",", ";", "|"):
        rows = [Layout(separator, 0, 0, 0).split(line) for line in lines]
        rows = [cells for cells in rows if not cells[0].startswith("#") or is_tag(cells[-1]) or len(cells) > 8]
        width = _width(rows)
        if width is None:
            continue
        columns = list(zip(*(row for row in rows if len(row) == width), strict=True))
        tags = _tag_columns(columns, 1 if certain else 3)
        if len(tags) > 1:
            numbered = " and ".join(str(index + 1) for index in tags)
            names = ",".join("tag" if index == tags[0] else "_" for index in range(width))
            raise UsageError(
                f"columns {numbered} both hold tags", hint=f"say what each is, for example --columns token,{names}"
            )
        if tags and _has_header([row[tags[0]] for row in rows if len(row) == width]):
            raise UsageError(
                f"the first line ({lines[0][:40]!r}) isn't a token with its tag",
                hint="remove it if it names the columns; sentences are separated by blank lines",
            )
        if tags:
            return Layout(separator, width, _token_column(columns, tags[0]), tags[0])
    return None


def _has_header(tags: Sequence[str]) -> bool:
    """Whether all but the first of a column are tags."""
    return len(tags) > 1 and not is_tag(tags[0]) and all(map(is_tag, tags[1:]))


def _width(rows: Sequence[Sequence[str]]) -> int | None:
    """The number of columns that all but a few stray rows have; None where there is no such number above one."""
    if not rows:
        return None
    width, count = Counter(map(len, rows)).most_common(1)[0]
    return width if width > 1 and count >= 0.9 * len(rows) else None


def _tag_columns(columns: Sequence[Sequence[str]], enough: int) -> list[int]:
    """The columns of entity tags: with a scheme's letters, or else with bare labels among many O."""
    # a mistyped tag is to be named, not to hide what the others say
    tagged = [index for index, column in enumerate(columns) if sum(map(is_tag, column)) >= 0.95 * len(column)]
    labelled = [
        index
        for index in tagged
        if (labels := {split_tag(tag)[1] for tag in columns[index]} - {""}) and not labels <= CHUNKS
    ]
    if labelled:
        return labelled
    bare = [
        index
        for index, column in enumerate(columns)
        if len(column) >= enough
        and column.count("O") >= len(column) / 2
        and all(tag == "O" or _BARE_LABEL.fullmatch(tag) for tag in column)
    ]
    return bare[-1:]


def _token_column(columns: Sequence[Sequence[str]], tag: int) -> int:
    """The first column that holds neither the tags nor the numbers of the tokens."""
    others = [index for index in range(len(columns)) if index != tag]
    numbers = [index for index in others if all(cell.isdecimal() for cell in columns[index])]
    return next((index for index in others if index not in numbers), others[0])


def layout_of(columns: Sequence[str], head: str) -> Layout:
    """The layout that a person names. Raises UsageError unless it has one ``token`` and one ``tag``."""
    for name in ("token", "tag"):
        if list(columns).count(name) != 1:
            raise UsageError(
                f"--columns must name one column {name!r}", hint="for example --columns token,_,_,tag"
            )
    separator = "\t" if "\t" in head else None
    return Layout(separator, len(columns), columns.index("token"), columns.index("tag"))


def read_conll(stream: BufferedReader, options: ReadOptions) -> Iterator[Numbered]:
    """A task for each sentence, numbered by the line of its first token; a bad line spoils its sentence alone.

    Raises UsageError where it isn't clear which column is which.
    """
    lines = _Buffered(text_of(stream))
    if not lines.head.strip():
        return
    layout = layout_of(options.columns, lines.head) if options.columns else find_layout(lines.head, certain=True)
    if layout is None:
        raise UsageError(
            "can't tell which column holds the tags", hint="say what each is, for example --columns token,_,_,tag"
        )
    sentence = _Sentence()
    for number, line in lines:
        if not line.strip():
            yield from sentence.finished()
            sentence = _Sentence()
            continue
        cells = layout.split(line)
        if line.startswith("#") and not _is_token_line(cells, layout):
            sentence.add_comment(line)
        elif line.startswith(_DOCUMENT) or _DOCUMENT in cells[layout.token : layout.token + 1]:
            yield from sentence.finished()
            sentence = _Sentence()
        else:
            sentence.add(number, cells, layout)
    yield from sentence.finished()


def _is_token_line(cells: Sequence[str], layout: Layout) -> bool:
    return len(cells) == layout.width and is_tag(cells[layout.tag])


class _Sentence:
    """The lines of one sentence as they come in."""

    def __init__(self) -> None:
        self._first = 0
        self._tokens: list[str] = []
        self._tags: list[str] = []
        self._comments: dict[str, str] = {}
        self._error: RecordError | None = None

    def add_comment(self, line: str) -> None:
        match = _COMMENT.match(line)
        if match:
            self._comments[match["name"]] = match["value"]

    def add(self, number: int, cells: Sequence[str], layout: Layout) -> None:
        self._first = self._first or number
        if self._error is not None:
            return
        if len(cells) != layout.width:
            problem = (
                f"{counted(len(cells), 'column')}, {layout.width} in the lines before; the sentence is left out"
            )
            self._error = RecordError("columns", problem, line=number)
        elif len(self._tokens) == MAX_TOKENS:
            problem = f"no blank line in {MAX_TOKENS:,} tokens; separate sentences by blank lines"
            self._error = RecordError("columns", problem, line=number)
        else:
            self._tokens.append(cells[layout.token])
            self._tags.append(cells[layout.tag])

    def finished(self) -> Iterator[Numbered]:
        if self._error is not None:
            yield self._error.line or self._first, self._error
        elif self._tokens:
            key = self._comments.get("sent_id") or self._comments.get("id")
            try:
                try:
                    task = task_of(self._tokens, self._tags, key=key, text=self._comments.get("text"))
                except RecordError:
                    if "text" not in self._comments:
                        raise
                    task = task_of(self._tokens, self._tags, key=key)
            except RecordError as error:
                yield self._first, error
            else:
                yield self._first, ImportedTask(task, entities_field="tags")


class _Buffered:
    """Numbered lines of a text whose beginning has been looked at."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._ahead: list[str] = []
        for _ in range(2_000):
            line = text.readline(MAX_LINE)
            if not line:
                break
            self._ahead.append(line)
        self.head = "".join(self._ahead)

    def __iter__(self) -> Iterator[tuple[int, str]]:
        number = 0
        for line in self._ahead:
            number += 1
            yield number, line
        self._ahead = []
        while line := self._text.readline(MAX_LINE):
            number += 1
            yield number, line
