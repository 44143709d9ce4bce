"""Sources and source entities for tasks: the fields that `xner-label translate` and `xner-label tag` add."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from xner_label.entities import Entity, Task, Tokens
from xner_label.errors import RecordError
from xner_label.jsonl import decode_line, numbered_lines, open_input
from xner_label.pharaoh import format_links
from xner_label.stages.interfaces import Aligner, Tagger, Translator

# What a task's source was the basis of, and no longer is when the source is another.
_OF_SOURCE = ("source_tokens", "source_entities", "alignment", "back_translations")


def translate_tasks(
    translator: Translator, tasks: Sequence[Task], *, again: bool = False
) -> list[dict[str, Any] | RecordError]:
    """Source and score of each task; nothing for one that has a source, unless ``again``.

    What a task says about an earlier source is set to null along with it.
    """
    wanted = [index for index, task in enumerate(tasks) if again or task.source is None]
    answers: list[dict[str, Any] | RecordError] = [{} for _ in tasks]
    found = translator.translate([tasks[index].text for index in wanted])
    for index, translation in zip(wanted, found, strict=True):
        stale = [name for name in _OF_SOURCE if getattr(tasks[index], name) is not None]
        answers[index] = dict.fromkeys(stale) | {"source": translation.text, "source_score": translation.score}
    return answers


def tag_tasks(
    tagger: Tagger, tasks: Sequence[Task], labels: Sequence[str], *, again: bool = False
) -> list[dict[str, Any] | RecordError]:
    """Source entities with these labels, of each task; nothing for one that has some, unless ``again``.

    A task's own source tokens are used where it brings them.
    """
    answers: list[dict[str, Any] | RecordError] = [{} for _ in tasks]
    wanted: list[tuple[int, Tokens]] = []
    for index, task in enumerate(tasks):
        if task.source_entities is not None and not again:
            continue
        try:
            wanted.append((index, _source(task)))
        except RecordError as error:
            answers[index] = error
    found = tagger.tag([tokens for _, tokens in wanted])
    for (index, _), entities in zip(wanted, found, strict=True):
        answers[index] = {"source_entities": [entity for entity in entities if entity.label in labels]}
    return answers


def _source(task: Task) -> Tokens:
    if task.source is None:
        raise RecordError("source", "missing; give the source text, or run `xner-label translate` first")
    if task.source_tokens is None:
        return Tokens.tokenize(task.source)
    return Tokens.locate(task.source, task.source_tokens, "source_tokens")


class _Labelled(msgspec.Struct):
    text: str
    entities: tuple[Entity, ...]


def read_labelled(path: Path, labels: Sequence[str]) -> list[tuple[str, list[Entity]]]:
    """Labelled texts to train a tagger on: JSON Lines with ``text`` and ``entities``; other labels are left out.

    Raises UsageError when the file can't be opened, RecordError for the first bad line.
    """
    decoder = msgspec.json.Decoder(_Labelled)
    texts: list[tuple[str, list[Entity]]] = []
    with open_input(path) as stream:
        for number, line in numbered_lines(stream):
            try:
                record = decode_line(line, decoder)
                texts.append((record.text, _known(record, labels)))
            except RecordError as error:
                error.line = number
                raise
    return texts


def _known(record: _Labelled, labels: Sequence[str]) -> list[Entity]:
    for index, entity in enumerate(record.entities):
        if not 0 <= entity.start < entity.end <= len(record.text):
            raise RecordError(
                f"entities[{index}]",
                f"offsets {entity.start}..{entity.end} don't fit a text of {len(record.text)} code points",
            )
    return [entity for entity in record.entities if entity.label in labels]


def align_tasks(aligner: Aligner, tasks: Sequence[Task]) -> list[dict[str, Any] | RecordError]:
    """Tokens, source tokens and links of each task, or the error that keeps it from having them.

    A task's own tokens are used where it brings them. Links it brings are replaced.
    """
    answers: list[dict[str, Any] | RecordError] = []
    pairs: list[tuple[list[str], list[str]]] = []
    for task in tasks:
        try:
            if task.source is None:
                raise RecordError("source", "missing; give the source text, or run `xner-label translate` first")
            source = _words(task.source, task.source_tokens, "source_tokens")
            target = _words(task.text, task.tokens, "tokens")
        except RecordError as error:
            answers.append(error)
            continue
        pairs.append((source, target))
        answers.append({"tokens": target, "source_tokens": source})
    found = iter(aligner.align(pairs))
    for answer in answers:
        if isinstance(answer, dict):
            answer["alignment"] = format_links(next(found))
    return answers


def _words(text: str, tokens: Sequence[str] | None, field: str) -> list[str]:
    return (Tokens.tokenize(text) if tokens is None else Tokens.locate(text, tokens, field)).words()
