"""Queries about tasks and the labelled source data."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from xner_label import entities
from xner_label.entities import Entity, text_hash
from xner_label.store.database import id_batches, insert_new
from xner_label.store.tables import SourceSentence, Task

# Tasks read at a time.
_PAGE = 1_000


def text_name(text: str) -> str:
    """The external id of a task that nobody has given one: its text is all that tells it from others."""
    return f"text-{text_hash(text)}"


def add_tasks(session: Session, project_id: int, tasks: Sequence[tuple[entities.Task, str]]) -> int:
    """Add (task, split) pairs; known external ids are left alone, and the first of several with one id counts.

    Returns how many tasks were new.
    """
    return insert_new(session, Task, [to_row(project_id, task, split) for task, split in tasks])


def to_row(project_id: int, task: entities.Task, split: str) -> dict[str, Any]:
    """What a task brings along as the columns of a row."""
    return {
        "project_id": project_id,
        "external_id": str(task.id),
        "split": split,
        "text": task.text,
        "text_hash": text_hash(task.text),
        "tokens": None if task.tokens is None else list(task.tokens),
        "source": task.source,
        "source_tokens": None if task.source_tokens is None else list(task.source_tokens),
        "source_entities": None
        if task.source_entities is None
        else msgspec.to_builtins(list(task.source_entities)),
        "alignment": task.alignment,
    }


def ids_by_external(session: Session, project_id: int, external_ids: Sequence[str]) -> dict[str, int]:
    """Task ids by external id, for those that exist."""
    ids: dict[str, int] = {}
    for chunk in id_batches(external_ids):
        query = select(Task.external_id, Task.id).where(Task.project_id == project_id, Task.external_id.in_(chunk))
        ids.update(session.execute(query).all())
    return ids


def splits_by_external(session: Session, project_id: int, external_ids: Sequence[str]) -> dict[str, str]:
    """The splits of tasks by external id, for those that exist."""
    splits: dict[str, str] = {}
    for chunk in id_batches(external_ids):
        query = select(Task.external_id, Task.split).where(
            Task.project_id == project_id, Task.external_id.in_(chunk)
        )
        splits.update(session.execute(query).all())
    return splits


class Identity(msgspec.Struct, frozen=True):
    """Which task it is, and what its text hashes to."""

    id: int
    text_hash: str


def identities(session: Session, project_id: int, external_ids: Sequence[str]) -> dict[str, Identity]:
    """The tasks that have these external ids, by it."""
    by_external: dict[str, Identity] = {}
    for chunk in id_batches(external_ids):
        query = select(Task.external_id, Task.id, Task.text_hash).where(
            Task.project_id == project_id, Task.external_id.in_(chunk)
        )
        by_external.update((name, Identity(task, digest)) for name, task, digest in session.execute(query))
    return by_external


def identity(session: Session, task_id: int) -> Identity:
    """The identity of a task that exists."""
    return Identity(task_id, session.scalars(select(Task.text_hash).where(Task.id == task_id)).one())


def iterate_tasks(session: Session, project_id: int, *where: ColumnElement[bool]) -> Iterator[Task]:
    """The project's tasks in the order they came, without holding them all in memory.

    Each page begins after the last id of the one before, so that no cursor has to stay open.
    """
    query, last = select(Task).where(Task.project_id == project_id, *where).order_by(Task.id).limit(_PAGE), 0
    while page := session.scalars(query.where(Task.id > last)).all():
        yield from page
        last = page[-1].id


# The split of silver that was imported: labelled source texts, translated. Nobody reviews it, nothing predicts it.
TRANSLATED = "translated"


def is_target_text() -> ColumnElement[bool]:
    """The task is a text of the target language by itself, and no translation that was made to learn from."""
    return Task.split != TRANSLATED


def by_ids(session: Session, ids: Sequence[int]) -> list[Task]:
    """These tasks, by rising id."""
    return [
        task
        for batch in id_batches(sorted(ids))
        for task in session.scalars(select(Task).where(Task.id.in_(batch)).order_by(Task.id))
    ]


class TaskRow(NamedTuple):
    """What the pipeline works on of a stored task: columns of :class:`Task`, which are read in a third of the time
    that objects take."""

    id: int
    external_id: str
    text: str
    source: str | None
    source_entities: list[dict[str, Any]] | None
    tokens: list[str] | None
    source_tokens: list[str] | None
    alignment: str | None
    translator_id: int | None
    tagger_id: int | None


def rows_by_ids(session: Session, ids: Sequence[int]) -> list[TaskRow]:
    """These tasks, by rising id."""
    columns = [getattr(Task, name) for name in TaskRow._fields]
    return [
        TaskRow._make(row)
        for batch in id_batches(sorted(ids))
        for row in session.execute(select(*columns).where(Task.id.in_(batch)).order_by(Task.id))
    ]


def task_ids(session: Session, project_id: int, *where: ColumnElement[bool]) -> array[int]:
    """Ids of the project's tasks in the order they came: 8 bytes each."""
    query = select(Task.id).where(Task.project_id == project_id, *where).order_by(Task.id)
    return array("q", session.scalars(query.execution_options(yield_per=_PAGE)))


def has_other(
    session: Session, project_id: int, column: InstrumentedAttribute[int | None], value: int | None
) -> bool:
    """Whether a task of the project has another value in the column than this one or none."""
    query = select(Task.id).where(Task.project_id == project_id, column.is_not(None))
    if value is not None:
        query = query.where(column != value)
    return session.scalar(query.limit(1)) is not None


def find_tasks(
    session: Session,
    project_id: int,
    *,
    external_ids: Sequence[str],
    studio_tasks: Sequence[int],
    texts: Sequence[str],
) -> list[Task]:
    """Every task that has one of these external ids, Label Studio ids or texts, in the order they came."""
    by_id: dict[int, Task] = {}
    for column, values in (
        (Task.external_id, external_ids),
        (Task.studio_task, studio_tasks),
        (Task.text_hash, [text_hash(text) for text in texts]),
    ):
        for chunk in id_batches(values):
            query = select(Task).where(Task.project_id == project_id, column.in_(chunk))
            by_id.update((task.id, task) for task in session.scalars(query))
    return [by_id[key] for key in sorted(by_id)]


def to_record(task: Task | TaskRow) -> entities.Task:
    """The stored task as the value type that the pipeline works on, with what stages added to it last."""
    return entities.Task(
        id=task.external_id,
        text=task.text,
        source=task.source,
        source_entities=(
            None if task.source_entities is None else tuple(msgspec.convert(task.source_entities, list[Entity]))
        ),
        tokens=None if task.tokens is None else tuple(task.tokens),
        source_tokens=None if task.source_tokens is None else tuple(task.source_tokens),
        alignment=task.alignment,
    )


def as_given(record: entities.Task, translator_id: int | None, tagger_id: int | None) -> entities.Task:
    """A task as :func:`to_record` shows it, without what the stages with these ids, if any, added: as people gave
    it."""
    if translator_id is not None:
        return msgspec.structs.replace(record, source=None, source_entities=None)
    return record if tagger_id is None else msgspec.structs.replace(record, source_entities=None)


def to_given(task: Task) -> entities.Task:
    """The stored task as people gave it, without what stages added."""
    return as_given(to_record(task), task.translator_id, task.tagger_id)


def set_sources(session: Session, translator_id: int, sources: Mapping[int, str]) -> None:
    """Give tasks, by id, the source text that a translator made for them; what was said of another one goes."""
    for ids in id_batches(list(sources)):
        rows = [
            {"id": key, "source": sources[key], "translator_id": translator_id, "source_entities": None}
            for key in ids
        ]
        session.execute(update(Task), [{**row, "tagger_id": None, "source_tokens": None} for row in rows])


def set_source_entities(session: Session, tagger_id: int, entities_of: Mapping[int, Sequence[Entity]]) -> None:
    """Give tasks, by id, the source entities that a tagger found."""
    for ids in id_batches(list(entities_of)):
        rows = [
            {"id": key, "source_entities": msgspec.to_builtins(list(entities_of[key])), "tagger_id": tagger_id}
            for key in ids
        ]
        session.execute(update(Task), rows)


def add_source_sentences(
    session: Session, project_id: int, sentences: Sequence[tuple[str, str, Sequence[Entity]]]
) -> int:
    """Add labelled source sentences (external id, text, entities); known ids are left alone."""
    rows = [
        {"project_id": project_id, "external_id": external, "text": text, "entities": msgspec.to_builtins(settled)}
        for external, text, settled in sentences
    ]
    return insert_new(session, SourceSentence, rows)


def source_sentences(session: Session, project_id: int) -> list[tuple[str, list[Entity]]]:
    """The labelled source data as (text, entities), in the order it came."""
    query = select(SourceSentence).where(SourceSentence.project_id == project_id).order_by(SourceSentence.id)
    return [(row.text, msgspec.convert(row.entities, list[Entity])) for row in session.scalars(query)]


def count_source_sentences(session: Session, project_id: int) -> int:
    """How many labelled source sentences the project has."""
    query = select(func.count()).select_from(SourceSentence).where(SourceSentence.project_id == project_id)
    return session.scalar(query) or 0


def count_tasks(session: Session, project_id: int) -> dict[str, int]:
    """Number of tasks by split."""
    query = select(Task.split, func.count()).where(Task.project_id == project_id).group_by(Task.split)
    return dict(session.execute(query).all())
