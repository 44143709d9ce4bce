"""Undoing what somebody answered."""

from __future__ import annotations

from datetime import datetime

import msgspec

from xner_label.errors import UsageError
from xner_label.store import projects, withdrawing
from xner_label.store.database import Store


class UndoReport(msgspec.Struct, frozen=True):
    """``answers`` of ``tasks`` were withdrawn, or would be; ``annotators``: how many of each person's."""

    answers: int
    tasks: int
    annotators: dict[str, int]
    dry_run: bool


def undo(
    store: Store,
    project: str,
    *,
    annotator: str | None = None,
    since: datetime | None = None,
    dry_run: bool = False,
) -> UndoReport:
    """Withdraw a person's answers, or everybody's from a moment on; the next prediction forgets what they moved.

    Raises UsageError for a project that isn't there, and when neither is given.
    """
    if annotator is None and since is None:
        raise UsageError("undo needs to know whose answers, or since when", hint="give --annotator or --since")
    with store.read() if dry_run else store.write() as session:
        answers = withdrawing.answers_of(session, projects.get_project(session, project).id, annotator, since)
        if not dry_run:
            withdrawing.withdraw(session, answers)
    annotators: dict[str, int] = {}
    for answer in answers:
        name = answer.annotator or "imported"
        annotators[name] = annotators.get(name, 0) + 1
    return UndoReport(len(answers), len({answer.task_id for answer in answers}), annotators, dry_run)
