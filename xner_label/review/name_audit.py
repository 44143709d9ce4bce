"""How often a decision by name is wrong: a share of the places that it moved is read in its sentence."""

from __future__ import annotations

from zlib import crc32

import msgspec
from sqlalchemy.orm import Session

from xner_label.store import names
from xner_label.store.gold import gold_of
from xner_label.store.tables import Task

# What stands in the store for the order of such a batch.
STRATEGY = "name-audit"
# Of the entities that answers about names moved or confirmed, the share that is read.
SHARE = 0.05
_PARTS = 10_000


class NameDecisions(msgspec.Struct, frozen=True):
    """``checked`` entities that answers about names settled were read in their sentences, ``wrong`` of them are
    another span, another label or no name there; ``error`` is their share, ``low`` and ``high`` its Wilson
    interval (95 %), None before there is any."""

    checked: int
    wrong: int
    error: float | None
    low: float | None
    high: float | None


def is_drawn(task_id: int, start: int) -> bool:
    """Whether the entity that begins at ``start`` (code points) of a task belongs to the slice, whenever asked."""
    return crc32(f"{task_id}:{start}".encode()) % _PARTS < SHARE * _PARTS


def measured_decisions(session: Session, project_id: int) -> NameDecisions:
    """What people's answers to the slice say of the decisions by name."""
    shown = names.shown_settled(session, project_id, STRATEGY)
    gold = {
        item.task.id: {(entity.start, entity.end, entity.label) for entity in item.entities}
        for item in gold_of(session, project_id, Task.id.in_(list(shown)))
    }
    outcomes = [
        (start, end, label) in gold[task]
        for task, settled in shown.items()
        if task in gold
        for start, end, label in settled
        if is_drawn(task, start)
    ]
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
    )
