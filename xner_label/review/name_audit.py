"""How often a decision by name is wrong: a share of what it moved or removed is read in its sentence."""

from __future__ import annotations

from collections.abc import Collection
from zlib import crc32

import msgspec
from sqlalchemy.orm import Session

from xner_label.review.name_answers import Kind
from xner_label.review.name_groups import NameKey, name_form
from xner_label.review.settled_names import name_answers
from xner_label.store import names
from xner_label.store.gold import gold_of
from xner_label.store.tables import Task

# What stands in the store for the order of such a batch.
STRATEGY = "name-audit"
# Of the entities that answers about names moved or confirmed, the share that is read.
SHARE = 0.05
_PARTS = 10_000


class NameDecisions(msgspec.Struct, frozen=True):
    """``checked`` places that answers about names settled were read in their sentences, ``wrong`` of them are
    another span, another label or no name there, or are a name that "not a name" took away; ``error`` is their
    share, ``low`` and ``high`` its Wilson interval (95 %), None before there is any. ``removed`` of the checked
    ones had been taken away, ``wrongly_removed`` of them by mistake."""

    checked: int
    wrong: int
    error: float | None
    low: float | None
    high: float | None
    removed: int = 0
    wrongly_removed: int = 0


def is_drawn(task_id: int, start: int) -> bool:
    """Whether the entity that begins at ``start`` (code points) of a task belongs to the slice, whenever asked."""
    return crc32(f"{task_id}:{start}".encode()) % _PARTS < SHARE * _PARTS


def removed_places(
    session: Session, project_id: int, tasks: Collection[int] | None = None
) -> dict[int, set[tuple[int, int, str]]]:
    """(start, end, label) of the entities that an answer in force calls no name, by task: wherever a version has
    predicted one of its question. ``tasks`` restricts it to some."""
    verdicts = name_answers(session, project_id).verdicts
    keys = {key for key, verdict in verdicts.items() if verdict.kind is Kind.NO_NAME}
    places: dict[int, set[tuple[int, int, str]]] = {}
    if not keys:
        return places
    labels = {key.label for key in keys}
    written = names.predicted_texts(session, project_id, labels, tasks)
    texts = {text for source, text, label in written if _key(source, text, label) in keys}
    for source, text, label, task, start, end in names.predicted_places(session, project_id, texts, labels, tasks):
        if _key(source, text, label) in keys:
            places.setdefault(task, set()).add((start, end, label))
    return places


def drawn_removals(session: Session, project_id: int) -> set[int]:
    """The tasks of which a removed entity belongs to the slice."""
    return {
        task
        for task, places in removed_places(session, project_id).items()
        if any(is_drawn(task, start) for start, _, _ in places)
    }


def measured_decisions(session: Session, project_id: int) -> NameDecisions:
    """What people's answers to the slice say of the decisions by name."""
    settled = names.shown_settled(session, project_id, STRATEGY)
    shown = names.shown_spans(session, project_id, STRATEGY)
    gold = {
        item.task.id: {(entity.start, entity.end, entity.label) for entity in item.entities}
        for item in gold_of(session, project_id, Task.id.in_(list(shown)))
    }
    kept = [
        (start, end, label) in gold[task]
        for task, spans in settled.items()
        if task in gold
        for start, end, label in spans
        if is_drawn(task, start)
    ]
    removed = [
        (start, end, label) not in gold[task]
        for task, places in removed_places(session, project_id, list(gold)).items()
        for start, end, label in sorted(places - shown[task])
        if is_drawn(task, start)
    ]
    outcomes = [*kept, *removed]
    wrong = outcomes.count(False)
    if not outcomes:
        return NameDecisions(0, 0, None, None, None)
    from scipy.stats import binomtest

    interval = binomtest(wrong, len(outcomes)).proportion_ci(method="wilson")
    return NameDecisions(
        len(outcomes),
        wrong,
        round(wrong / len(outcomes), 4),
        round(float(interval.low), 4),
        round(float(interval.high), 4),
        len(removed),
        removed.count(False),
    )


def _key(source: str, text: str, label: str) -> NameKey:
    return NameKey(name_form(source), name_form(text), label)
