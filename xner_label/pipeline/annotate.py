"""Sources and source entities for tasks: the fields that `xner-label translate` and `xner-label tag` add."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from xner_label.entities import Entity, Task, Tokens, check_offsets
from xner_label.errors import RecordError
from xner_label.jsonl import read_checked
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
    return Tokens.of(task.source, task.source_tokens, "source_tokens")


class _Labelled(msgspec.Struct):
    text: str
    entities: tuple[Entity, ...]


def read_labelled(path: Path, labels: Sequence[str]) -> list[tuple[str, list[Entity]]]:
    """Labelled texts to train a tagger on: JSON Lines with ``text`` and ``entities``; other labels are left out.

    Raises UsageError when the file can't be opened, RecordError for the first bad line.
    """

    def known(record: _Labelled) -> tuple[str, list[Entity]]:
        check_offsets(record.text, record.entities, "entities")
        return record.text, [entity for entity in record.entities if entity.label in labels]

    return list(read_checked(path, _Labelled, known))


def align_tasks(aligner: Aligner, tasks: Sequence[Task]) -> list[dict[str, Any] | RecordError]:
    """Tokens, source tokens and links of each task, or the error that keeps it from having them.

    A task's own tokens are used where it brings them. Links it brings are replaced.
    """
    answers: list[dict[str, Any] | RecordError] = []
    pairs: list[tuple[list[str], list[str]]] = []
    for task in tasks:
        try:
            source = _source(task).words()
            target = Tokens.of(task.text, task.tokens).words()
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
