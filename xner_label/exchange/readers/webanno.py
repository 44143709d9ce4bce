"""WebAnno TSV 3, which INCEpTION exports: a task for each sentence.

Entities are the annotations of one feature of one span layer: the value of INCEpTION's layer of named entities, or
the only feature there is; ``--columns LAYER.FEATURE`` names another. They may be nested, overlap, and begin or end
inside a token.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from io import BufferedReader
from typing import TextIO

import msgspec

from xner_label.entities import Entity, Task, Tokens
from xner_label.errors import RecordError, UsageError
from xner_label.exchange.readers.interface import ImportedTask, Numbered, ReadOptions, id_of, in_order
from xner_label.exchange.readers.lines import MAX_LINE, text_of
from xner_label.exchange.webanno import NAMED_ENTITY, VALUE, annotations_of, code_points, unescape

_FORMAT = re.compile(r"#FORMAT=WebAnno TSV (\d+)")
_LAYER = re.compile(r"#T_(SP|CH|RL)=([^|]*)(?:\|(.*))?")
_UNIT = re.compile(r"(\d+-\d+)(\.\d+)?")
_OFFSETS = re.compile(r"(\d+)-(\d+)")
# The columns before those of the layers: the unit's number, its offsets, its text.
_FIXED = 3
_NO_LABEL = "an annotation without a value isn't read"


def matches(head: str) -> bool:
    """Whether a file that begins so is WebAnno TSV, of whichever version."""
    return head.startswith("#FORMAT=WebAnno TSV")


def read_webanno(stream: BufferedReader, options: ReadOptions) -> Iterator[Numbered]:
    """A task for each sentence, numbered by the line of its text; a bad line spoils its sentence alone.

    Raises UsageError for another version of the format, and where it isn't clear which feature holds the labels.
    """
    features: list[tuple[str, str]] = []
    column: int | None = None
    sentence: _Sentence | None = None
    for number, line in _lines(text_of(stream)):
        if number == 1:
            _check_version(line)
        elif layer := _LAYER.fullmatch(line):
            features += [(layer[2] if layer[1] == "SP" else "", name) for name in (layer[3] or "").split("|")]
        elif not line.strip():
            if sentence is not None:
                yield sentence.number, sentence.finished()
            sentence = None
        else:
            if column is None:
                column = _FIXED + _column(features, options.columns)
            sentence = sentence or _Sentence(number, column)
            sentence.add(line)
    if sentence is not None:
        yield sentence.number, sentence.finished()


def _lines(text: TextIO) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(iter(partial(text.readline, MAX_LINE), ""), 1):
        yield number, line.rstrip("\r\n")


def _check_version(line: str) -> None:
    version = _FORMAT.match(line)
    if version is None:
        raise UsageError(
            "the file doesn't begin with #FORMAT=WebAnno TSV 3",
            hint="export it as WebAnno TSV v3.3, or name its format",
        )
    if version[1] != "3":
        raise UsageError(f"WebAnno TSV {version[1]} can't be read", hint="export it as WebAnno TSV v3.3")


def _column(features: Sequence[tuple[str, str]], named: Sequence[str]) -> int:
    """The place of the feature that holds the labels among the columns of the layers."""
    spans = {index: (layer, feature) for index, (layer, feature) in enumerate(features) if layer}
    names = {
        index: f"{layer.rpartition('.')[2]}.{feature}".rstrip(".") for index, (layer, feature) in spans.items()
    }
    known = ", ".join(names.values()) or "none"
    if named:
        chosen = [
            index
            for index, (layer, feature) in spans.items()
            if named[0] in (feature, names[index], f"{layer}.{feature}")
        ]
        if len(named) > 1 or len(chosen) != 1:
            raise UsageError(
                f"--columns {','.join(named)} names no one feature of a span layer",
                hint=f"give one of those of the file: {known}",
            )
        return chosen[0]
    standard = [index for index, (layer, feature) in spans.items() if (layer, feature) == (NAMED_ENTITY, VALUE)]
    if not standard and len(spans) != 1:
        raise UsageError(f"can't tell which feature holds the labels: {known}", hint="name it with --columns")
    return (standard or list(spans))[0]


class _Part(msgspec.Struct):
    """One line of a sentence: a token, or a piece of the token before it, and what is annotated on it."""

    start: int
    end: int
    labels: list[tuple[str, str]]


class _Sentence:
    """The lines of one sentence as they come in."""

    def __init__(self, number: int, column: int) -> None:
        self.number = number
        self._column = column
        self._lines: list[str] = []
        self._key: str | None = None
        self._tokens: list[str] = []
        self._begins: list[int] = []  # of the tokens, in UTF-16 units of the document
        self._pieces: list[tuple[int, int, int]] = []  # of tokens: which token, and the offsets
        self._labels: list[tuple[int, list[tuple[str, str]]]] = []  # by token, or -1 - piece
        self._error: RecordError | None = None

    def add(self, line: str) -> None:
        """Take one line; what is wrong with it is said at the end."""
        if line.startswith("#"):
            name, _, value = line[1:].partition("=")
            if name == "Text":
                self._lines.append(unescape(value))
            elif name == "Sentence.id":
                self._key = unescape(value)
        elif self._error is None:
            self._error = self._add_unit(line)

    def _add_unit(self, line: str) -> RecordError | None:
        cells = line.split("\t")
        unit, offsets = _UNIT.fullmatch(cells[0]), _OFFSETS.fullmatch(cells[1] if len(cells) > 1 else "")
        if unit is None or len(cells) < _FIXED:
            return RecordError("columns", f"{line[:40]!r} isn't a token with its annotations")
        if offsets is None:
            return RecordError("columns", f"{cells[1][:40]!r} aren't offsets; they look like 0-5")
        begin, end = int(offsets[1]), int(offsets[2])
        labels = annotations_of(cells[self._column].strip(" ")) if len(cells) > self._column else []
        if unit[2] is None:
            self._labels.append((len(self._tokens), labels))
            self._tokens.append(unescape(cells[2]))
            self._begins.append(begin)
        elif not self._tokens:
            return RecordError("columns", f"{cells[0]} is a piece of a token that isn't there")
        else:
            self._labels.append((-1 - len(self._pieces), labels))
            self._pieces.append((len(self._tokens) - 1, begin, end))
        return None

    def finished(self) -> ImportedTask | RecordError:
        """The sentence as a task, or what is wrong with it."""
        if self._error is None:
            try:
                return self._task()
            except RecordError as error:
                self._error = error
        return self._error.at_line(self.number)

    def _task(self) -> ImportedTask:
        text = "\n".join(self._lines)
        if not self._lines:
            raise RecordError("text", "missing; a sentence begins with #Text=")
        located = Tokens.locate(text, self._tokens)
        parts = [_Part(*self._span(located, place), labels) for place, labels in self._labels]
        entities = in_order(_entities(parts))
        notes = (_NO_LABEL,) if any(not value for part in parts for value, _ in part.labels) else ()
        task = Task(id=self._key or id_of(text), text=text, tokens=tuple(self._tokens), entities=entities)
        return ImportedTask(task, entities_field="annotations", notes=notes)

    def _span(self, located: Tokens, place: int) -> tuple[int, int]:
        """Where a token, or a piece of one, stands in the sentence, in code points."""
        if place >= 0:
            return located.starts[place], located.ends[place]
        token, begin, end = self._pieces[-1 - place]
        start, word = located.starts[token], located.words()[token]
        return (
            start + code_points(word, max(0, begin - self._begins[token])),
            start + code_points(word, max(0, end - self._begins[token])),
        )


def _entities(parts: Sequence[_Part]) -> Iterator[Entity]:
    """The entities of a sentence: parts with one number are one, a part without a number is one by itself."""
    numbered: dict[tuple[str, str], Entity] = {}
    for part in parts:
        for value, number in part.labels:
            if not value:
                continue
            entity = Entity(part.start, part.end, value)
            if not number:
                yield entity
            elif (value, number) in numbered:
                known = numbered[value, number]
                numbered[value, number] = Entity(min(known.start, part.start), max(known.end, part.end), value)
            else:
                numbered[value, number] = entity
    yield from numbered.values()
