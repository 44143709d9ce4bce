"""What the store must not hold: checked on every record, whichever format it came in."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import msgspec

from xner_label.entities import Entity, Task, check_offsets, trimmed
from xner_label.errors import RecordError
from xner_label.exchange.readers.interface import ImportedTask
from xner_label.exchange.readers.lines import undecodable
from xner_label.projection.problem import build_instance

# Characters of what databases keep in an index: PostgreSQL refuses entries of more than 2,704 bytes.
_LONGEST = {"id": 500, "split": 100}


def checked_task(
    record: ImportedTask, labels: Collection[str], *, drop: bool, needs_entities: bool
) -> tuple[Task, int]:
    """The task as it may be stored, and how many of its entities lost white space at their borders.

    Entities with a label outside ``labels`` make the record bad, or, with ``drop``, are left out.
    ``needs_entities``: a record without entities is bad, unless its format says that nobody labelled it. Raises
    RecordError that names the field.
    """
    task = record.task
    if not str(task.id).strip():
        raise RecordError("id", "empty; give every line an id of its own")
    if not task.text.strip():
        raise RecordError("text", "empty; leave the line out")
    for field, value in (("id", str(task.id)), ("split", record.split or "")):
        if len(value) > _LONGEST[field]:
            raise RecordError(field, f"{len(value):,} characters; give one of {_LONGEST[field]} at most")
    for field, value in _strings(record):
        if "\0" in value:
            raise RecordError(field, "holds a NUL character, which databases refuse; remove it")
        if problem := undecodable(value):
            raise RecordError(field, problem)
    if needs_entities and task.entities is None and not record.unlabelled:
        raise RecordError("entities", "missing; gold needs them, an empty list when there are none")
    for field, entities in (("source_entities", task.source_entities), ("entities", task.entities)):
        _check_scores(entities or (), field)
    build_instance(task)
    source_entities, in_source = _settled(task.source or "", task.source_entities, "source_entities")
    entities, in_text = _settled(task.text, task.entities, "entities")
    known_source = _known(source_entities, labels, "source_entities", drop)
    known = _known(entities, labels, "entities", drop) if needs_entities else entities
    checked = msgspec.structs.replace(task, source_entities=known_source, entities=known)
    return checked, in_source + in_text


def _strings(record: ImportedTask) -> Iterator[tuple[str, str]]:
    """Every string of a record that reaches the store, with its field."""
    task = record.task
    yield "id", str(task.id)
    yield "text", task.text
    yield "source", task.source or ""
    yield "split", record.split or ""
    yield "alignment", task.alignment or ""
    for field in ("tokens", "source_tokens"):
        yield from ((f"{field}[{index}]", token) for index, token in enumerate(getattr(task, field) or ()))
    for field in ("entities", "source_entities"):
        for index, entity in enumerate(getattr(task, field) or ()):
            yield f"{field}[{index}].label", entity.label


def _check_scores(entities: Sequence[Entity], field: str) -> None:
    for index, entity in enumerate(entities):
        if entity.score is not None and not 0.0 <= entity.score <= 1.0:
            raise RecordError(
                f"{field}[{index}].score", f"{entity.score:g} isn't a probability; give 0..1, or leave it out"
            )


def _settled(text: str, entities: tuple[Entity, ...] | None, field: str) -> tuple[tuple[Entity, ...] | None, int]:
    """The entities with white space cut off their borders, each once; and how many were cut."""
    if entities is None:
        return None, 0
    check_offsets(text, entities, field)
    settled: dict[Entity, None] = {}
    cut = 0
    for index, entity in enumerate(entities):
        start, end = trimmed(text, entity.start, entity.end)
        if start == end:
            raise RecordError(f"{field}[{index}]", f"{entity.start}..{entity.end} hold nothing but white space")
        cut += (start, end) != (entity.start, entity.end)
        settled[msgspec.structs.replace(entity, start=start, end=end, text=None)] = None
    return tuple(settled), cut


def _known(
    entities: tuple[Entity, ...] | None, labels: Collection[str], field: str, drop: bool
) -> tuple[Entity, ...] | None:
    if entities is None:
        return None
    for index, entity in enumerate(entities):
        if entity.label not in labels and not drop:
            raise RecordError(
                f"{field}[{index}].label",
                f"{entity.label!r} isn't in the project's set ({', '.join(sorted(labels))}); add it to "
                "`labels` in the settings and run `xner-label labels --apply`, or give --drop-unknown-labels",
            )
    return tuple(entity for entity in entities if entity.label in labels)
