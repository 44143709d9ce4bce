"""The story of a task's entities: where each comes from, what spoke for it, and what people said."""

from __future__ import annotations

from datetime import datetime

import msgspec

from xner_label import entities
from xner_label.entities import Entity, Provenance, SourceMention, Tokens
from xner_label.errors import RecordError, UsageError
from xner_label.pharaoh import parse_links
from xner_label.store import predictions, projects, runs, stages, tasks
from xner_label.store.database import Store
from xner_label.store.gold import current_annotations
from xner_label.store.tables import Prediction, Task


class EntityStory(msgspec.Struct, frozen=True):
    """``links``: pairs of a source word of the mention and a target word that the aligner linked with it."""

    start: int
    end: int
    label: str
    text: str
    confidence: float
    source: SourceMention | None
    links: list[tuple[str, str]]
    provenance: Provenance | None


class AnswerStory(msgspec.Struct, frozen=True):
    """What a person, or an import, left standing."""

    annotator: str | None
    origin: str
    moment: datetime
    entities: list[Entity]


class ServedStory(msgspec.Struct, frozen=True):
    """What the promoted model found, which has no story: it learned from the text alone."""

    version: str
    entities: list[Entity]


class TaskStory(msgspec.Struct, frozen=True):
    """``version`` and ``pipeline`` name what predicted the entities; None where nothing has. ``served``: what a
    promoted model says, which people are shown instead; None where none is, or it hasn't predicted this."""

    id: str
    text: str
    source: str | None
    version: str | None
    pipeline: str | None
    entities: list[EntityStory]
    answers: list[AnswerStory]
    served: ServedStory | None = None


def why(store: Store, project: str, task_id: str) -> TaskStory:
    """The story of a task by the project's current version. Raises UsageError when there is no such task."""
    with store.read() as session:
        row = projects.get_project(session, project)
        candidates = tasks.find_tasks(session, row.id, external_ids=[task_id], studio_tasks=[], texts=[])
        if not candidates:
            raise UsageError(
                f"the project {project!r} has no task {task_id!r}", hint="ids are those that were imported"
            )
        task = candidates[0]
        prediction = None
        if row.pipeline is not None:
            prediction = predictions.find_prediction(session, task.id, row.pipeline.name)
        record = None if prediction is None else predictions.to_record(task, prediction)
        answers = [
            AnswerStory(
                answer.annotator,
                answer.origin,
                answer.created_at if answer.studio_updated_at is None else answer.studio_updated_at,
                msgspec.convert(answer.entities, list[Entity]),
            )
            for answer in current_annotations(session, row.id, Task.id == task.id)
        ]
        run = runs.promoted_run(session, row.id)
        served = None if run is None else predictions.find_prediction(session, task.id, run.version)
        alignment = task.alignment or stages.newest_links(session, [task.id]).get(task.id)
        return TaskStory(
            id=task.external_id,
            text=task.text,
            source=task.source,
            version=None if prediction is None else prediction.pipeline.name,
            pipeline=None if prediction is None else prediction.pipeline.signature,
            entities=[] if record is None else [_story(task, alignment, entity) for entity in record.entities],
            answers=answers,
            served=None if served is None else _served(task, served),
        )


def _served(task: Task, prediction: Prediction) -> ServedStory:
    record = predictions.to_record(task, prediction)
    return ServedStory(
        prediction.pipeline.name,
        [Entity(entity.start, entity.end, entity.label, entity.confidence) for entity in record.entities],
    )


def _story(task: Task, alignment: str | None, entity: entities.ProjectedEntity) -> EntityStory:
    provenance = entity.provenance if isinstance(entity.provenance, Provenance) else None
    return EntityStory(
        entity.start,
        entity.end,
        entity.label,
        entity.text,
        entity.confidence,
        entity.source,
        _links(task, alignment, entity),
        provenance,
    )


def _links(task: Task, alignment: str | None, entity: entities.ProjectedEntity) -> list[tuple[str, str]]:
    if entity.source is None or task.source is None or alignment is None:
        return []
    counted = task.alignment is not None
    source = Tokens.of(task.source, task.source_tokens, "source_tokens", letters=counted)
    target = Tokens.of(task.text, task.tokens, letters=counted)
    try:
        links = parse_links(alignment, len(source), len(target))
    except RecordError:
        return []  # of words that were cut otherwise
    first, last, _ = source.covering(entity.source.start, entity.source.end)
    words, translated = source.words(), target.words()
    return [(words[left], translated[right]) for left, right, _ in links if first <= left < last]
