"""Queries about predictions and their entities."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy import ColumnElement, Select, String, cast, func, literal, select
from sqlalchemy.orm import Session, aliased, selectinload

from xner_label import entities
from xner_label.store.base import utc_now
from xner_label.store.database import id_batches, insert_new, insert_selected
from xner_label.store.pipelines import ensure_pipelines, made_by
from xner_label.store.tables import Annotation, PipelineVersion, Prediction, Project, ProjectedEntity, Task

_PER_FETCH = 5_000
# What an entity keeps when its prediction is copied.
_COPIED = (
    *("position", "start", "end", "label", "text", "score", "confidence"),
    *("source_start", "source_end", "source_label", "source_text", "provenance"),
)


def add_predictions(
    session: Session, predictions: Sequence[tuple[int, entities.Prediction]], model_run_id: int | None = None
) -> int:
    """Store (task id, prediction) pairs; a task that already has one of the same pipeline keeps it.

    Returns how many predictions were new.
    """
    added = 0
    for batch in id_batches(predictions):
        added += _add_chunk(session, batch, model_run_id)
    return added


def _add_chunk(
    session: Session, predictions: Sequence[tuple[int, entities.Prediction]], model_run_id: int | None
) -> int:
    pipelines = ensure_pipelines(session, {prediction.pipeline for _, prediction in predictions})
    task_ids = [task for task, _ in predictions]
    known = _ids(session, task_ids, pipelines.values())
    new = [
        (task, prediction)
        for task, prediction in predictions
        if (task, pipelines[prediction.pipeline]) not in known
    ]
    insert_new(
        session,
        Prediction,
        [
            {
                "task_id": task,
                "pipeline_id": pipelines[prediction.pipeline],
                "model_run_id": model_run_id,
                "confidence": prediction.confidence,
                "note": prediction.note,
            }
            for task, prediction in new
        ],
    )
    ids = _ids(session, [task for task, _ in new], pipelines.values())
    insert_new(
        session,
        ProjectedEntity,
        [
            _entity_row(ids[task, pipelines[prediction.pipeline]], position, entity)
            for task, prediction in new
            for position, entity in enumerate(prediction.entities)
        ],
    )
    return len(new)


def copy_predictions(session: Session, task_ids: Sequence[int], earlier: str, version: str) -> set[int]:
    """Give tasks under one pipeline the prediction that another one, ``earlier``, has made, by signature.

    Returns the ids of those that have one of ``version`` now; the others have none of ``earlier``.
    """
    old = session.scalar(select(PipelineVersion.id).where(PipelineVersion.signature == earlier))
    if old is None:
        return set()
    new = ensure_pipelines(session, [version])[version]
    for batch in id_batches(task_ids):
        copied: list[Any] = [Prediction.task_id, Prediction.model_run_id, Prediction.confidence, Prediction.note]
        insert_selected(
            session,
            Prediction,
            ["pipeline_id", "created_at", *(column.key for column in copied)],
            select(literal(new), literal(utc_now(), Prediction.created_at.type), *copied).where(
                Prediction.pipeline_id == old, Prediction.task_id.in_(batch)
            ),
        )
        made, entity = aliased(Prediction), ProjectedEntity
        copied = [getattr(entity, name) for name in _COPIED]
        region = literal("p") + cast(made.id, String) + literal("-") + cast(entity.position, String)
        insert_selected(
            session,
            ProjectedEntity,
            ["prediction_id", "region", *_COPIED],
            select(made.id, region, *copied)
            .join(Prediction, Prediction.id == entity.prediction_id)
            .join(made, made.task_id == Prediction.task_id)
            .where(Prediction.pipeline_id == old, made.pipeline_id == new, Prediction.task_id.in_(batch)),
        )
    return {task for task, _ in _ids(session, task_ids, [new])}


def _ids(session: Session, task_ids: Sequence[int], pipelines: Collection[int]) -> dict[tuple[int, int], int]:
    """Ids of the stored predictions by (task id, pipeline id)."""
    query = select(Prediction.task_id, Prediction.pipeline_id, Prediction.id).where(
        Prediction.task_id.in_(task_ids), Prediction.pipeline_id.in_(pipelines)
    )
    return {(task, pipeline): prediction for task, pipeline, prediction in session.execute(query)}


def _entity_row(prediction_id: int, position: int, entity: entities.ProjectedEntity) -> dict[str, object]:
    source = entity.source
    return {
        "prediction_id": prediction_id,
        "position": position,
        "region": f"p{prediction_id}-{position}",
        "start": entity.start,
        "end": entity.end,
        "label": entity.label,
        "text": entity.text,
        "score": entity.score,
        "confidence": entity.confidence,
        "source_start": source.start if source else None,
        "source_end": source.end if source else None,
        "source_label": source.label if source else None,
        "source_text": source.text if source else None,
        "provenance": None if entity.provenance is UNSET else msgspec.to_builtins(entity.provenance),
    }


def unstored(prediction: entities.Prediction) -> Prediction:
    """A prediction in the form of a stored one, without being one; its regions are named after its task and
    place."""
    digest = hashlib.sha256(f"{prediction.pipeline} {prediction.text}".encode()).hexdigest()[:12]
    rows = [
        ProjectedEntity(**_entity_row(0, position, entity) | {"region": f"n{digest}-{position}"})
        for position, entity in enumerate(prediction.entities)
    ]
    return Prediction(confidence=prediction.confidence, note=prediction.note, entities=rows)


def predictions_of(session: Session, project_id: int, version: str) -> list[tuple[Task, Prediction]]:
    """All (task, prediction with its entities) of a version, least confident first, ties in task order."""
    query = (
        select(Task, Prediction)
        .join(Prediction, Prediction.task_id == Task.id)
        .where(Task.project_id == project_id, made_by(version))
        .order_by(Prediction.confidence, Task.id)
        .options(selectinload(Prediction.entities))
    )
    return list(session.execute(query).all())


def find_prediction(session: Session, task_id: int, version: str) -> Prediction | None:
    """The prediction of a task by a pipeline version, with its entities."""
    query = (
        select(Prediction)
        .where(Prediction.task_id == task_id, made_by(version))
        .options(selectinload(Prediction.entities))
    )
    return session.scalars(query).one_or_none()


def by_id(session: Session, ids: Sequence[int]) -> list[tuple[Task, Prediction]]:
    """These predictions with their entities and their tasks, in no particular order."""
    pairs: list[tuple[Task, Prediction]] = []
    for batch in id_batches(ids):
        query = (
            select(Task, Prediction)
            .join(Prediction, Prediction.task_id == Task.id)
            .where(Prediction.id.in_(batch))
            .options(selectinload(Prediction.entities))
        )
        pairs += session.execute(query).all()  # type: ignore[arg-type]
    return pairs


class PlacedEntity(NamedTuple):
    """An entity of a prediction and the whole text that it belongs to; ``text`` is what it should cover."""

    whole: str
    region: str
    start: int
    end: int
    text: str
    label: str


def placed_entities(session: Session, ids: Sequence[int]) -> Iterator[PlacedEntity]:
    """Every entity of these predictions, in no particular order, without making objects of their rows."""
    entity = ProjectedEntity
    for batch in id_batches(ids):
        query = (
            select(Task.text, entity.region, entity.start, entity.end, entity.text, entity.label)
            .join(Prediction, Prediction.id == entity.prediction_id)
            .join(Task, Task.id == Prediction.task_id)
            .where(entity.prediction_id.in_(batch))
        )
        yield from map(PlacedEntity._make, session.execute(query))


def of_tasks(session: Session, task_ids: Sequence[int], version: str) -> dict[int, Prediction]:
    """The predictions of these tasks by a pipeline version, with their entities, by task id."""
    by_task: dict[int, Prediction] = {}
    for batch in id_batches(task_ids):
        query = (
            select(Prediction)
            .where(Prediction.task_id.in_(batch), made_by(version))
            .options(selectinload(Prediction.entities))
        )
        by_task.update((prediction.task_id, prediction) for prediction in session.scalars(query))
    return by_task


def latest_of_tasks(session: Session, task_ids: Sequence[int]) -> dict[int, Prediction]:
    """The newest prediction of each of these tasks, whatever made it, with its entities, by task id."""
    by_task: dict[int, Prediction] = {}
    for batch in id_batches(task_ids):
        newest = select(func.max(Prediction.id)).where(Prediction.task_id.in_(batch)).group_by(Prediction.task_id)
        query = select(Prediction).where(Prediction.id.in_(newest)).options(selectinload(Prediction.entities))
        by_task.update((prediction.task_id, prediction) for prediction in session.scalars(query))
    return by_task


def count_changes(session: Session, project_id: int, earlier: str | None, version: str) -> tuple[int, int]:
    """How many entities of how many tasks that nobody has annotated are another by ``version`` than by
    ``earlier``: a new span, another label, or gone. Memory stays bounded however many tasks there are."""
    entities_changed = tasks_changed = last = 0
    while upto := _end_of_page(session, project_id, last):
        before, after = (_spans(session, project_id, name, (last, upto)) for name in (earlier or "", version))
        changes = [
            max(len(before[task] - after[task]), len(after[task] - before[task]))
            for task in before.keys() & after.keys()
        ]
        entities_changed += sum(changes)
        tasks_changed += sum(change > 0 for change in changes)
        last = upto
    return entities_changed, tasks_changed


def _end_of_page(session: Session, project_id: int, after: int) -> int | None:
    """The last id of the project's next so many tasks; None when there is none after ``after``."""
    page = (
        select(Task.id)
        .where(Task.project_id == project_id, Task.id > after)
        .order_by(Task.id)
        .limit(_PER_FETCH)
        .subquery()
    )
    last: int | None = session.scalar(select(func.max(page.c.id)))
    return last


def _spans(
    session: Session, project_id: int, version: str, page: tuple[int, int]
) -> dict[int, set[tuple[int, int, str]]]:
    """What a version predicted for the tasks of a page that nobody has annotated, also where that is nothing;
    the page's ids come after the first number, up to the second one."""
    query = (
        select(Prediction.task_id, ProjectedEntity.start, ProjectedEntity.end, ProjectedEntity.label)
        .join(Task, Task.id == Prediction.task_id)
        .outerjoin(ProjectedEntity, ProjectedEntity.prediction_id == Prediction.id)
        .where(Task.project_id == project_id, Task.id > page[0], Task.id <= page[1], made_by(version))
        .where(~select(Annotation.id).where(Annotation.task_id == Task.id).exists())
    )
    spans_of: dict[int, set[tuple[int, int, str]]] = {}
    for task, start, end, label in session.execute(query):
        spans = spans_of.setdefault(task, set())
        if label is not None:
            spans.add((start, end, label))
    return spans_of


def predicted_task_ids(session: Session, project_id: int, version: str) -> set[int]:
    """Ids of the tasks that a pipeline version has predicted."""
    query = (
        select(Prediction.task_id)
        .join(Task, Task.id == Prediction.task_id)
        .where(Task.project_id == project_id, made_by(version))
    )
    return set(session.scalars(query))


def predicted_among(session: Session, task_ids: Sequence[int], version: str) -> set[int]:
    """Those of the tasks that a pipeline version has predicted."""
    predicted: set[int] = set()
    for batch in id_batches(task_ids):
        predicted.update(
            session.scalars(select(Prediction.task_id).where(Prediction.task_id.in_(batch), made_by(version)))
        )
    return predicted


def unpredicted_ids(session: Session, project_id: int, version: str, *where: ColumnElement[bool]) -> array[int]:
    """Ids of the project's tasks that a pipeline version hasn't predicted, in the order they came."""
    predicted = select(Prediction.id).where(Prediction.task_id == Task.id, made_by(version)).correlate(Task)
    query = select(Task.id).where(Task.project_id == project_id, ~predicted.exists(), *where).order_by(Task.id)
    return array("q", session.scalars(query.execution_options(yield_per=_PER_FETCH)))


def count_by(session: Session, project_id: int, version: str) -> int:
    """How many tasks of the project a pipeline version has predicted."""
    query = select(func.count()).select_from(Prediction).where(made_by(version))
    return session.scalar(_of_project(session, query, project_id)) or 0


def count_predictions(session: Session, project_id: int) -> dict[str, int]:
    """Number of predictions by the name of the pipeline version, the oldest version first."""
    versions = session.execute(select(PipelineVersion.id, PipelineVersion.name).order_by(PipelineVersion.id)).all()
    query = select(Prediction.pipeline_id, func.count()).group_by(Prediction.pipeline_id)
    counts: dict[int, int] = dict(session.execute(_of_project(session, query, project_id)).all())
    return {name: counts[version] for version, name in versions if version in counts}


def _of_project(session: Session, query: Select[*tuple[Any, ...]], project_id: int) -> Select[*tuple[Any, ...]]:
    """Narrow a query about predictions to a project's; with a single one in the store nothing is looked up."""
    if len(session.scalars(select(Project.id).limit(2)).all()) < 2:
        return query
    return query.join(Task, Task.id == Prediction.task_id).where(Task.project_id == project_id)


def to_record(task: Task, prediction: Prediction) -> entities.Prediction:
    """A stored prediction as the value type."""
    return entities.Prediction(
        task.external_id,
        task.text,
        projected_entities(prediction),
        prediction.confidence,
        prediction.pipeline.signature,
        prediction.note,
    )


def projected_entities(prediction: Prediction) -> tuple[entities.ProjectedEntity, ...]:
    """The entities of a stored prediction as value types."""
    return tuple(
        entities.ProjectedEntity(
            start=row.start,
            end=row.end,
            label=row.label,
            text=row.text,
            score=row.score,
            confidence=row.confidence,
            source=_source(row),
            provenance=_provenance(row),
        )
        for row in prediction.entities
    )


def _provenance(row: ProjectedEntity) -> entities.Provenance | UnsetType:
    return UNSET if row.provenance is None else msgspec.convert(row.provenance, entities.Provenance)


def _source(row: ProjectedEntity) -> entities.SourceMention | None:
    if row.source_start is None or row.source_end is None:
        return None
    return entities.SourceMention(row.source_start, row.source_end, row.source_label or "", row.source_text or "")
