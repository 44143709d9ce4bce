"""Queries about name cards: questions, the answers to them, and where they live in Label Studio."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from xner_label.store.base import utc_now
from xner_label.store.database import database_time, id_batches, insert_new
from xner_label.store.pipelines import made_by
from xner_label.store.tables import (
    Annotation,
    NameAnswer,
    NameProject,
    NameQuestion,
    Prediction,
    ProjectedEntity,
    ReviewBatch,
    ReviewItem,
    Task,
)

_TEXTS_PER_STATEMENT = 1_000


class Occurrence(msgspec.Struct, frozen=True):
    """An entity of a prediction in a task that nobody has reviewed; offsets in code points."""

    task: int
    text: str
    start: int
    end: int
    label: str
    confidence: float
    source: str | None
    source_start: int | None
    source_end: int | None


class AnswerState(msgspec.Struct, frozen=True):
    """The newest state of an annotation of a name card."""

    question: int
    annotation: int
    updated_at: datetime
    annotator: str | None
    kind: str
    value: str
    withdrawn: bool


def open_occurrences(session: Session, project_id: int, version: str) -> Iterator[Occurrence]:
    """The entities that a version predicts in tasks that nobody has reviewed, but those that an answer settled."""
    reviewed = select(Annotation.id).where(Annotation.task_id == Task.id).exists()
    query = (
        select(
            *(Task.id, Task.text, ProjectedEntity.start, ProjectedEntity.end, ProjectedEntity.label),
            *(ProjectedEntity.confidence, Task.source, ProjectedEntity.source_start, ProjectedEntity.source_end),
            ProjectedEntity.provenance,
        )
        .join(Prediction, Prediction.id == ProjectedEntity.prediction_id)
        .join(Task, Task.id == Prediction.task_id)
        .where(Task.project_id == project_id, made_by(version), ~reviewed)
        .order_by(Task.id, ProjectedEntity.position)
    )
    for *row, provenance in session.execute(query).yield_per(1000):
        if not (provenance or {}).get("answer"):
            yield Occurrence(*row)


def shown_settled(session: Session, project_id: int, strategy: str) -> dict[int, list[tuple[int, int, str]]]:
    """(start, end, label) of the entities that an answer about a name had settled, by task, as batches of a
    strategy showed them."""
    items = (
        select(ReviewItem.prediction_id, ReviewItem.task_id)
        .join(ReviewBatch, ReviewBatch.id == ReviewItem.batch_id)
        .where(ReviewBatch.project_id == project_id, ReviewBatch.strategy == strategy)
        .where(ReviewItem.prediction_id.is_not(None))
        .order_by(ReviewItem.task_id)
    )
    task_of: dict[int | None, int] = dict(session.execute(items).all())
    spans_of: dict[int, list[tuple[int, int, str]]] = {}
    for ids in id_batches(list(task_of)):
        query = (
            select(
                *(ProjectedEntity.prediction_id, ProjectedEntity.start, ProjectedEntity.end),
                *(ProjectedEntity.label, ProjectedEntity.provenance),
            )
            .where(ProjectedEntity.prediction_id.in_(ids))
            .order_by(ProjectedEntity.prediction_id, ProjectedEntity.position)
        )
        for prediction, start, end, label, provenance in session.execute(query):
            if (provenance or {}).get("answer"):
                spans_of.setdefault(task_of[prediction], []).append((start, end, label))
    return dict(sorted(spans_of.items()))


def predicted_texts(
    session: Session, project_id: int, labels: Collection[str], tasks: Collection[int] | None = None
) -> Iterator[tuple[str, str, str]]:
    """(source name, text, label) of every entity with one of the labels that any version has predicted, each once;
    the source name is empty for one without. ``tasks`` restricts it to some."""
    query = (
        select(func.coalesce(ProjectedEntity.source_text, ""), ProjectedEntity.text, ProjectedEntity.label)
        .join(Prediction, Prediction.id == ProjectedEntity.prediction_id)
        .join(Task, Task.id == Prediction.task_id)
        .where(Task.project_id == project_id, ProjectedEntity.label.in_(labels))
        .distinct()
    )
    if tasks is not None:
        query = query.where(Task.id.in_(tasks))
    for source, text, label in session.execute(query).yield_per(1000):
        yield str(source), text, label


def predicted_places(
    session: Session,
    project_id: int,
    texts: Collection[str],
    labels: Collection[str],
    tasks: Collection[int] | None,
) -> Iterator[tuple[str, str, str, int, int, int]]:
    """(source name, text, label, task, start, end) of every entity of these texts and labels that any version has
    predicted, each once; ``tasks`` restricts it to some."""
    named = func.coalesce(ProjectedEntity.source_text, "")
    ordered = sorted(texts)
    for start_at in range(0, len(ordered), _TEXTS_PER_STATEMENT):
        chunk = ordered[start_at : start_at + _TEXTS_PER_STATEMENT]
        query = (
            select(
                *(named, ProjectedEntity.text, ProjectedEntity.label),
                *(Task.id, ProjectedEntity.start, ProjectedEntity.end),
            )
            .join(Prediction, Prediction.id == ProjectedEntity.prediction_id)
            .join(Task, Task.id == Prediction.task_id)
            .where(
                *(Task.project_id == project_id, ProjectedEntity.label.in_(labels)),
                ProjectedEntity.text.in_(chunk),
            )
            .distinct()
        )
        if tasks is not None:
            query = query.where(Task.id.in_(tasks))
        for source, text, label, task, start, end in session.execute(query).yield_per(1000):
            yield str(source), text, label, task, start, end


def shown_spans(session: Session, project_id: int, strategy: str) -> dict[int, set[tuple[int, int, str]]]:
    """(start, end, label) of every entity that batches of a strategy showed, by task; also where that is none."""
    query = (
        select(ReviewItem.task_id, ProjectedEntity.start, ProjectedEntity.end, ProjectedEntity.label)
        .join(ReviewBatch, ReviewBatch.id == ReviewItem.batch_id)
        .outerjoin(ProjectedEntity, ProjectedEntity.prediction_id == ReviewItem.prediction_id)
        .where(ReviewBatch.project_id == project_id, ReviewBatch.strategy == strategy)
    )
    shown: dict[int, set[tuple[int, int, str]]] = {}
    for task, start, end, label in session.execute(query):
        spans = shown.setdefault(task, set())
        if label is not None:
            spans.add((start, end, label))
    return shown


def asked_names(session: Session, project_id: int) -> set[tuple[str, str, str]]:
    """(source name, target text, label) of every question there is."""
    query = select(NameQuestion.source_name, NameQuestion.target_text, NameQuestion.label)
    rows = session.execute(query.where(NameQuestion.project_id == project_id))
    return {(source, target, label) for source, target, label in rows}


def add_questions(session: Session, project_id: int, questions: Sequence[Mapping[str, Any]]) -> int:
    """Store new questions (the columns of :class:`NameQuestion`); one that is there already stays as it is."""
    return insert_new(session, NameQuestion, [{"project_id": project_id, **row} for row in questions])


def unsent_questions(session: Session, project_id: int) -> list[NameQuestion]:
    """The questions whose cards aren't known to be in Label Studio, in the order in which they were chosen."""
    query = select(NameQuestion).where(NameQuestion.project_id == project_id, NameQuestion.studio_task.is_(None))
    return list(session.scalars(query.order_by(NameQuestion.id)))


def claim_questions(session: Session, questions: Collection[int]) -> set[int]:
    """Mark cards as on their way; returns those that no other process had marked."""
    query = (
        update(NameQuestion)
        .where(NameQuestion.id.in_(questions), NameQuestion.sent_at.is_(None), NameQuestion.studio_task.is_(None))
        .values(sent_at=database_time(session))
        .returning(NameQuestion.id)
    )
    return set(session.scalars(query))


def release_questions(session: Session, questions: Collection[int]) -> None:
    """Mark cards that never arrived as not sent."""
    unsent = NameQuestion.id.in_(questions) & NameQuestion.studio_task.is_(None)
    session.execute(update(NameQuestion).where(unsent).values(sent_at=None))


def lost_questions(session: Session, questions: Collection[int], settle: timedelta) -> list[int]:
    """Those of the questions, whose cards aren't in Label Studio, that were sent so long ago that they never
    arrived; a time in the future is from before a clock was set back, and begins now."""
    now = database_time(session)
    chosen = NameQuestion.id.in_(questions)
    session.execute(update(NameQuestion).where(chosen, NameQuestion.sent_at > now).values(sent_at=now))
    return list(session.scalars(select(NameQuestion.id).where(chosen, NameQuestion.sent_at < now - settle)))


def mark_sent(session: Session, studio_tasks: Mapping[int, int]) -> None:
    """Note the task in Label Studio of each question, by question id."""
    for question, studio_task in studio_tasks.items():
        session.execute(update(NameQuestion).where(NameQuestion.id == question).values(studio_task=studio_task))


def questions_by_card(session: Session, project_id: int) -> dict[int, int]:
    """Question id by task id in Label Studio."""
    query = select(NameQuestion.studio_task, NameQuestion.id).where(
        NameQuestion.project_id == project_id, NameQuestion.studio_task.is_not(None)
    )
    return {studio_task: question for studio_task, question in session.execute(query) if studio_task is not None}


def answer_states(session: Session, project_id: int) -> list[AnswerState]:
    """The newest state of every answer, withdrawn ones too, oldest first."""
    newest: dict[tuple[int, int], NameAnswer] = {}
    query = (
        select(NameAnswer).join(NameQuestion).where(NameQuestion.project_id == project_id).order_by(NameAnswer.id)
    )
    for row in session.scalars(query):
        newest.pop((row.question_id, row.studio_annotation), None)
        newest[row.question_id, row.studio_annotation] = row
    return [
        AnswerState(
            question=row.question_id,
            annotation=row.studio_annotation,
            updated_at=row.studio_updated_at,
            annotator=row.annotator,
            kind=row.kind,
            value=row.value,
            withdrawn=row.withdrawn,
        )
        for row in newest.values()
    ]


def add_answers(session: Session, states: Iterable[AnswerState], lead_times: Mapping[int, float | None]) -> int:
    """Store new states of answers; ``lead_times`` in seconds by annotation. Returns how many were new."""
    return insert_new(
        session,
        NameAnswer,
        [
            {
                "question_id": state.question,
                "studio_annotation": state.annotation,
                "studio_updated_at": state.updated_at,
                "annotator": state.annotator,
                "kind": state.kind,
                "value": state.value,
                "withdrawn": state.withdrawn,
                "lead_time": lead_times.get(state.annotation),
                "created_at": utc_now(),
            }
            for state in states
        ],
    )


def newest_answer(session: Session, project_id: int) -> int:
    """The id of the newest answer about a name, 0 before there is any."""
    query = select(func.max(NameAnswer.id)).join(NameQuestion).where(NameQuestion.project_id == project_id)
    return session.scalar(query) or 0


def questions(session: Session, project_id: int) -> dict[int, NameQuestion]:
    """Every question of a project by its id."""
    query = select(NameQuestion).where(NameQuestion.project_id == project_id)
    return {row.id: row for row in session.scalars(query)}


def waiting_cards(session: Session, project_id: int) -> list[NameQuestion]:
    """The questions whose cards are in Label Studio and that nobody has ever answered."""
    query = select(NameQuestion).where(
        NameQuestion.project_id == project_id,
        NameQuestion.studio_task.is_not(None),
        NameQuestion.id.not_in(select(NameAnswer.question_id)),
    )
    return list(session.scalars(query.order_by(NameQuestion.id)))


def set_cards(session: Session, cards: Mapping[int, Any]) -> None:
    """Note what the cards of questions show now, by question."""
    for question, card in cards.items():
        session.execute(update(NameQuestion).where(NameQuestion.id == question).values(card=card))


def mark_leaving(session: Session, questions: Collection[int]) -> None:
    """Note that the cards of these questions are to be taken out of Label Studio."""
    session.execute(update(NameQuestion).where(NameQuestion.id.in_(questions)).values(sent_at=None))


def leaving_cards(session: Session, project_id: int) -> list[NameQuestion]:
    """The questions whose cards are to be taken out of Label Studio, and that nobody has answered meanwhile."""
    return [question for question in waiting_cards(session, project_id) if question.sent_at is None]


def keep_cards(session: Session, questions: Collection[int]) -> None:
    """Take back that the cards of these questions are to leave."""
    session.execute(update(NameQuestion).where(NameQuestion.id.in_(questions)).values(sent_at=utc_now()))


def drop_questions(session: Session, questions: Collection[int]) -> int:
    """Forget questions that were never answered: they may be asked anew. Returns how many there were."""
    unanswered = NameQuestion.id.not_in(select(NameAnswer.question_id))
    gone = session.execute(delete(NameQuestion).where(NameQuestion.id.in_(questions), unanswered))
    return int(gone.rowcount)  # type: ignore[attr-defined]


def name_project(session: Session, project_id: int) -> NameProject | None:
    """Where the name cards of a project live; None before the first ones went out."""
    return session.get(NameProject, project_id)


def forget_cards(session: Session, project_id: int) -> None:
    """The project of Label Studio that held the cards is gone: its cards go out again, its answers stay."""
    session.execute(
        update(NameQuestion).where(NameQuestion.project_id == project_id).values(studio_task=None, sent_at=None)
    )
    project = name_project(session, project_id)
    if project is not None:
        session.delete(project)
        session.flush()


def answers_in_force(session: Session, project_id: int) -> list[tuple[NameQuestion, dict[str, AnswerState]]]:
    """Each question with the newest answer of every person who has one that isn't withdrawn."""
    by_question: dict[int, dict[str, AnswerState]] = {}
    for state in answer_states(session, project_id):
        if not state.withdrawn:
            by_question.setdefault(state.question, {})[state.annotator or ""] = state
    every = questions(session, project_id)
    return [(every[question], states) for question, states in sorted(by_question.items())]
