"""What a sync tells: counts, and by name whatever could not be taken over."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import msgspec


class Rejected(msgspec.Struct, frozen=True):
    """An annotation that was left out because its offsets, text or labels don't fit the task."""

    studio_task: int
    annotation: int
    updated_at: datetime
    problem: str


class Doubled(msgspec.Struct, frozen=True):
    """A task of Label Studio whose ``xner_id`` another one has, and the id that it got in the store."""

    studio_task: int
    xner_id: str
    stored_as: str


class AnswersReport(msgspec.Struct, frozen=True):
    """``answered``, ``changed`` and ``withdrawn`` count answers since the last sync; ``problems`` names those that
    couldn't be read. ``settled`` cards left Label Studio unanswered: other answers have settled them."""

    answered: int = 0
    changed: int = 0
    withdrawn: int = 0
    problems: tuple[str, ...] = ()
    settled: int = 0


class SyncReport(msgspec.Struct):
    """What one sync took over. ``added`` and ``updated`` count usable annotations, ``skipped`` those of tasks that
    a person passed over, ``revived`` those that counted as deleted and exist; ``corrections`` counts by kind those
    of added and updated annotations; ``acknowledged`` annotations can't be used and somebody said so. ``cursor``
    is the server's time from which the next sync goes on; it waits for rejected annotations. ``names`` is about
    answers to name cards. ``refreshed`` waiting tasks show newer
    predictions, for which ``reordered`` stand elsewhere. Of ``conflicts_shown`` tasks the dispute, or its end, was
    shown in Label Studio."""

    project: str
    changed_tasks: int = 0
    new_tasks: int = 0
    deleted_tasks: int = 0
    added: int = 0
    updated: int = 0
    skipped: int = 0
    deleted: int = 0
    revived: int = 0
    acknowledged: int = 0
    corrections: Counter[str] = msgspec.field(default_factory=Counter)
    rejected: list[Rejected] = msgspec.field(default_factory=list)
    doubled: list[Doubled] = msgspec.field(default_factory=list)
    cursor: datetime | None = None
    names: AnswersReport = AnswersReport()
    refreshed: int = 0
    reordered: int = 0
    conflicts_shown: int = 0
