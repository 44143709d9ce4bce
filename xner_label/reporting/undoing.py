"""Undoing what somebody answered."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import msgspec

from xner_label.errors import UsageError
from xner_label.store import projects, withdrawing
from xner_label.store.database import Store


class UndoReport(msgspec.Struct, frozen=True):
    """``answers`` of ``tasks`` and ``names``, answers about names, were withdrawn, or would be; ``annotators``:
    how many of each person's, of both kinds. ``others``: who else has answers, where the person has none."""

    answers: int
    tasks: int
    annotators: dict[str, int]
    dry_run: bool
    names: int = 0
    others: tuple[str, ...] = ()


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
        project_id = projects.get_project(session, project).id
        if not dry_run:  # a sync that writes at this moment would bring rows that aren't seen here
            projects.lock_project(session, project_id)
        answers = withdrawing.answers_of(session, project_id, annotator, since)
        names = withdrawing.name_answers_of(session, project_id, annotator, since)
        if not dry_run:
            withdrawing.withdraw(session, answers)
            withdrawing.withdraw_name_answers(session, names)
        others = set() if answers or names or annotator is None else withdrawing.annotators(session, project_id)
    people = [answer.annotator or "imported" for answer in answers] + [state.annotator or "" for state in names]
    tasks = {answer.task_id for answer in answers}
    return UndoReport(len(answers), len(tasks), dict(Counter(people)), dry_run, len(names), tuple(sorted(others)))
