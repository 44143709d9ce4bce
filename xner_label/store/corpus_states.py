"""Queries about what a project's corpus has learned, and about the answers that it hasn't learned from yet."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import msgspec
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session, defer

from xner_label.store.base import utc_now
from xner_label.store.database import insert_new
from xner_label.store.tables import (
    Annotation,
    CorpusAddition,
    CorpusState,
    Correction,
    NameAnswer,
    NameQuestion,
    Task,
)

# States that are kept beside the newest, so that a prediction that is still shown can be explained.
_KEPT = 3
_NEWEST_FIRST = (CorpusState.created_at.desc(), CorpusState.id.desc())


class NewState(msgspec.Struct, frozen=True):
    """A state to store; see :class:`xner_label.store.tables.CorpusState`."""

    signature: str
    gold: str
    annotation_id: int
    content: bytes
    name_answer_id: int = 0


def add_state(session: Session, project_id: int, state: NewState) -> CorpusState:
    """Store a state, as the newest, and forget all but the newest ones. One of the same signature is the same: an
    answer taken back brings the state of before back, with what tasks have added to it since."""
    newest = newest_state(session, project_id)
    # later than every other, whatever the clocks of several machines say
    made_at = utc_now() if newest is None else max(utc_now(), newest.created_at + timedelta(microseconds=1))
    new = msgspec.structs.asdict(state) | {"project_id": project_id, "created_at": made_at}
    is_new = insert_new(session, CorpusState, [new])
    query = select(CorpusState).where(
        CorpusState.project_id == project_id, CorpusState.signature == state.signature
    )
    stored = session.scalars(query.options(defer(CorpusState.content))).one()
    stored.created_at = made_at
    if not is_new and newest is not None and stored.id != newest.id:
        stored.content = state.content  # an older version may have written it differently
    stored.annotation_id = max(stored.annotation_id, state.annotation_id)
    stored.name_answer_id = max(stored.name_answer_id, state.name_answer_id)
    session.flush()
    of_project = select(CorpusState.id).where(CorpusState.project_id == project_id)
    ids = list(session.scalars(of_project.order_by(*_NEWEST_FIRST)))
    session.execute(delete(CorpusState).where(CorpusState.id.in_(ids[_KEPT + 1 :])))
    return stored


def newest_state(session: Session, project_id: int) -> CorpusState | None:
    """The state that was made last, or came back last; None before the first one. Its document is read when it is
    asked for."""
    query = select(CorpusState).where(CorpusState.project_id == project_id).order_by(*_NEWEST_FIRST)
    return session.scalars(query.limit(1).options(defer(CorpusState.content))).first()


def content_of(session: Session, state_id: int) -> bytes | None:
    """The document of a state; None where another process has forgotten it since."""
    return session.scalar(select(CorpusState.content).where(CorpusState.id == state_id))


def forget_states(session: Session, newest: CorpusState) -> None:
    """Delete all states of a project, with what was added to them, as long as ``newest`` is the newest of them:
    another process may have stored one since."""
    stored = newest_state(session, newest.project_id)
    if stored is not None and (stored.id, stored.created_at) == (newest.id, newest.created_at):
        session.execute(delete(CorpusState).where(CorpusState.project_id == newest.project_id))


def add_additions(session: Session, state_id: int, additions: Mapping[int, bytes]) -> None:
    """Store what tasks, by id, add to a state's counts; what a task has added before stays."""
    rows = [
        {"state_id": state_id, "task_id": task_id, "content": content} for task_id, content in additions.items()
    ]
    insert_new(session, CorpusAddition, rows)


def additions(session: Session, state_id: int) -> dict[int, bytes]:
    """What tasks that came after a state add to its counts, by task id."""
    query = select(CorpusAddition.task_id, CorpusAddition.content).where(CorpusAddition.state_id == state_id)
    return dict(session.execute(query).all())


def newest_annotation(session: Session, project_id: int) -> int:
    """The id of the newest annotation of a project, 0 without any."""
    query = (
        select(func.max(Annotation.id))
        .join(Task, Task.id == Annotation.task_id)
        .where(Task.project_id == project_id)
    )
    return session.scalar(query) or 0


def newest_name_answer(session: Session, project_id: int) -> int:
    """The id of the newest state of an answer about a name, 0 without any."""
    query = select(func.max(NameAnswer.id)).join(NameQuestion).where(NameQuestion.project_id == project_id)
    return session.scalar(query) or 0


def count_unlearned_names(session: Session, project_id: int) -> int:
    """How many questions about names have answers that the newest state doesn't know: new, changed or deleted."""
    state = newest_state(session, project_id)
    newest = 0 if state is None else state.name_answer_id
    query = (
        select(func.count(func.distinct(NameAnswer.question_id)))
        .join(NameQuestion)
        .where(NameQuestion.project_id == project_id, NameAnswer.id > newest)
    )
    return session.scalar(query) or 0


def count_unlearned(session: Session, project_id: int) -> int:
    """How many tasks have answers that the newest state doesn't know: new, changed or deleted since."""
    state = newest_state(session, project_id)
    query = (
        select(func.count(func.distinct(Annotation.task_id)))
        .join(Task, Task.id == Annotation.task_id)
        .where(Task.project_id == project_id, Annotation.id > (0 if state is None else state.annotation_id))
    )
    return session.scalar(query) or 0


def count_unlearned_corrections(session: Session, project_id: int) -> int:
    """How many entities people put right in the answers that the newest state doesn't know."""
    state = newest_state(session, project_id)
    query = (
        select(func.count())
        .select_from(Correction)
        .join(Annotation, Annotation.id == Correction.annotation_id)
        .join(Task, Task.id == Annotation.task_id)
        .where(Task.project_id == project_id, Annotation.id > (0 if state is None else state.annotation_id))
        .where(Correction.kind != "kept")
    )
    return session.scalar(query) or 0
