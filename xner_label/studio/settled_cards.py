"""Taking name cards that nobody has answered out of Label Studio once other answers have settled their names.

What is to go is noted in the store first, then deleted in Label Studio, then forgotten in the store: whatever is
interrupted goes on from there. A card with an answer or a draft stays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from sqlalchemy.orm import Session

from xner_label.errors import StudioError
from xner_label.review.name_groups import MIN_OCCURRENCES, NameKey, name_form
from xner_label.store import names, projects, runs
from xner_label.store.database import Store
from xner_label.store.tables import Project
from xner_label.studio.client import Studio

# A card is worth its six seconds no longer when fewer of its places than this are expected to be wrong.
LEAST_EXPECTED_ERRORS = 0.1


def withdraw_settled_cards(store: Store, studio: Studio, project: Project, place: int) -> int:
    """Take settled cards out of project ``place`` of Label Studio; returns how many left. Raises StudioError."""
    with store.write() as session:
        projects.lock_project(session, project.id)
        names.mark_leaving(session, _settled(session, project))
    with store.read() as session:
        leaving = {
            question.studio_task: question.id
            for question in names.leaving_cards(session, project.id)
            if question.studio_task is not None
        }
    if not leaving:
        return 0
    gone, kept = set(leaving.values()), set()
    for task in studio.full_tasks(place, list(leaving)):
        question = leaving[task.id]
        if task.annotations or task.drafts or not _delete(studio, task.id):
            gone.discard(question)
            kept.add(question)
    with store.write() as session:
        names.keep_cards(session, kept)
        return names.drop_questions(session, gone)


def _settled(session: Session, project: Project) -> list[int]:
    """Those of the waiting questions whose places are reviewed, settled by another answer or sure by now."""
    waiting = {
        NameKey(question.source_name, question.target_text, question.label): question.id
        for question in names.waiting_cards(session, project.id)
    }
    version = runs.reviewed_version(session, project, "pool")
    if not waiting or version is None:
        return []
    doubts = _doubts(session, project.id, version, waiting.keys())
    return [
        question
        for key, question in waiting.items()
        if len(doubts[key]) < MIN_OCCURRENCES or sum(doubts[key]) < LEAST_EXPECTED_ERRORS
    ]


def _doubts(
    session: Session, project_id: int, version: str, keys: Collection[NameKey]
) -> defaultdict[NameKey, list[float]]:
    """1 - confidence of each open place of these groups."""
    targets = {key.target for key in keys}
    doubts: defaultdict[NameKey, list[float]] = defaultdict(list)
    for row in names.open_occurrences(session, project_id, version):
        target = name_form(row.text[row.start : row.end])
        if target in targets:
            mentioned = row.source is not None and row.source_start is not None and row.source_end is not None
            source = (row.source or "")[row.source_start : row.source_end] if mentioned else ""
            doubts[NameKey(name_form(source), target, row.label)].append(1.0 - row.confidence)
    return doubts


def _delete(studio: Studio, task: int) -> bool:
    """Whether Label Studio deleted the card."""
    try:
        studio.write(studio.api.tasks.delete, str(task))
    except StudioError:
        return False
    return True
