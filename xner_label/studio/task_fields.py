"""What the data of a task in Label Studio says beside its text: the source, the place in the queue, what to look
at first. Fields of waiting tasks follow what the store knows: a newer prediction has other doubts."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy.orm import Session

from xner_label.entities import SourceMention
from xner_label.progress import Progress
from xner_label.review.doubts import Hint, KnownNames, LinkSupport, doubtful, hints, link_support
from xner_label.store import reviews, showing
from xner_label.store.database import Store
from xner_label.store.gold import gold_of
from xner_label.store.reviews import Outgoing
from xner_label.store.showing import ShownFields
from xner_label.store.stages import newest_links
from xner_label.studio.client import Studio
from xner_label.studio.labelling import (
    CONTROL_SLICE,
    EXTERNAL_ID,
    LOOK_HTML,
    MIN_CONFIDENCE,
    QUEUE,
    RANK,
    REVIEW,
    SOURCE_HTML,
    Control,
    label_colours,
)
from xner_label.studio.marking import look_first, marked_source

if TYPE_CHECKING:
    from xner_label.store.tables import Project, ProjectedEntity, Task

# What we put into a task's data beside text and source; of these no old value stays.
_FIELDS = frozenset({EXTERNAL_ID, RANK, QUEUE, MIN_CONFIDENCE, LOOK_HTML, SOURCE_HTML})
# Tasks that are asked for, and noted, at a time.
_TASKS_PER_STEP = 200


class TaskFields(msgspec.Struct, frozen=True):
    """``data`` as Label Studio takes it without text and source, and the hints in it."""

    data: dict[str, Any]
    hints: list[Hint]

    @property
    def shown(self) -> ShownFields:
        """What the store notes of them."""
        document = msgspec.json.encode(self.data, order="deterministic")
        return ShownFields(hashlib.sha256(document).hexdigest()[:16], msgspec.to_builtins(self.hints))


class FieldMaker:
    """Makes the fields of chosen tasks, in the light of the queue and the gold as a session sees them now."""

    def __init__(self, session: Session, project: Project, control: Control) -> None:
        self._control = control
        self._labels = list(project.labels)
        self._colours = label_colours(self._labels)
        self._ranks = showing.queue_ranks(session, project.id)
        self._names = KnownNames(
            (item.task.text, item.entities) for item in (gold_of(session, project.id) if control.guides else ())
        )

    def fields(self, session: Session, items: Sequence[Outgoing]) -> dict[int, TaskFields]:
        """The fields of each, by item id."""
        links = newest_links(session, [item.task.id for item in items]) if self._control.guides else {}
        return {item.item.id: self._fields(item, links.get(item.task.id)) for item in items}

    def _fields(self, item: Outgoing, links: str | None) -> TaskFields:
        """A blind task must not give away what is thought of it, or where the source has names."""
        task, prediction = item.task, item.prediction
        data: dict[str, Any] = {EXTERNAL_ID: task.external_id, RANK: self._ranks[item.item.id]}
        if prediction is None:
            return TaskFields(data | {QUEUE: CONTROL_SLICE}, [])
        lowest = min((entity.confidence for entity in prediction.entities), default=prediction.confidence)
        data |= {QUEUE: REVIEW, MIN_CONFIDENCE: round(lowest, 4)}
        if not self._control.guides:
            return TaskFields(data, [])
        hinted = hints(task, prediction.entities, self._names, self._labels)
        doubts = [(entity, _support(task, entity, links)) for entity in doubtful(prediction.entities)]
        data[LOOK_HTML] = look_first(doubts, hinted, self._colours)
        data[SOURCE_HTML] = marked_source(task.source or "", _mentions(item), self._colours)
        return TaskFields(data, hinted)


def _support(task: Task, entity: ProjectedEntity, links: str | None) -> LinkSupport | None:
    if entity.source_start is None or entity.source_end is None:
        return None
    return link_support(task, (entity.source_start, entity.source_end), (entity.start, entity.end), links)


def _mentions(item: Outgoing) -> list[SourceMention]:
    """The entities of the source: the task's own, and failing these those that the prediction came from."""
    task: Task = item.task
    source = task.source or ""
    given = task.source_entities
    if given is not None:
        return [SourceMention(mention["start"], mention["end"], mention["label"], "") for mention in given]
    assert item.prediction is not None
    return [
        SourceMention(entity.source_start, entity.source_end, entity.source_label or "", "")
        for entity in item.prediction.entities
        if entity.source_start is not None and entity.source_end is not None and entity.source_end <= len(source)
    ]


def refresh_fields(
    store: Store,
    studio: Studio,
    project: Project,
    control: Control,
    progress: Progress,
    fresh: Collection[int] = frozenset(),
) -> int:
    """Bring the fields of waiting tasks in Label Studio up to date; returns how many tasks changed there.

    ``fresh`` are ids of items whose fields are known to be up to date and aren't made again.
    Other fields of a task's data are left as they are. Raises StudioError; what was sent before it is noted.
    """
    with store.read() as session:
        waiting = showing.waiting_digests(session, project.id)
        digests = {item: digest for item, digest in waiting.items() if item not in fresh}
        if not digests:
            return 0
        maker = FieldMaker(session, project, control)
    ids = list(digests)
    progress.begin("bringing up to date what waiting tasks show", len(ids))
    changed = 0
    for start in range(0, len(ids), _TASKS_PER_STEP):
        chunk = ids[start : start + _TASKS_PER_STEP]
        with store.read() as session:
            items = reviews.items_by_id(session, chunk)
            fields = maker.fields(session, items)
        stale = [item for item in items if fields[item.item.id].shown.digest != digests[item.item.id]]
        if stale:
            changed += _send(store, studio, project, stale, fields)
        progress.advance(len(chunk))
    return changed


def updated_data(data: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """A task's data with these fields in place of those that we put there before."""
    return {key: value for key, value in data.items() if key not in _FIELDS} | dict(fields)


def _send(
    store: Store, studio: Studio, project: Project, items: Sequence[Outgoing], fields: Mapping[int, TaskFields]
) -> int:
    place = project.studio_project
    assert place is not None
    by_row = {item.task.studio_task: item.item.id for item in items if item.task.studio_task is not None}
    sent: dict[int, ShownFields] = {}
    changed = 0
    try:
        for row in studio.full_tasks(place, list(by_row), include="id,data"):
            wanted = fields[by_row[row.id]]
            data = updated_data(row.data, wanted.data)
            if data != row.data:
                studio.write(studio.api.tasks.update, str(row.id), data=data)
                changed += 1
            sent[by_row[row.id]] = wanted.shown
    finally:
        with store.write() as session:
            showing.mark_fields(session, sent)
    return changed
