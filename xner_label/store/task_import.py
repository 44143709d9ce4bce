"""Importing tasks: new ones are added, known ones get what they lacked, and nothing is replaced unseen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from xner_label import entities
from xner_label.errors import RecordError
from xner_label.store import tasks
from xner_label.store.batches import id_batches
from xner_label.store.database import insert_new_returning
from xner_label.store.predictions import delete_unused
from xner_label.store.tables import Task

# What a task may bring along beside its text, in the order in which it is compared.
_BROUGHT = ("source", "source_tokens", "source_entities", "tokens")


class TaskImport(msgspec.Struct):
    """What became of a batch of tasks.

    ``added`` were new, ``known`` were there already, ``completed`` of those got something they lacked. ``refused``
    says, by the place in the batch, why a task wasn't taken: it contradicts what is stored under its id.
    """

    added: int = 0
    known: int = 0
    completed: int = 0
    refused: dict[int, RecordError] = msgspec.field(default_factory=dict)


def import_tasks(session: Session, project_id: int, batch: Sequence[tuple[entities.Task, str]]) -> TaskImport:
    """Store (task, split) pairs with what they bring along; the first of several with one id counts as new.

    A known task that now comes with a source, source entities, tokens or links for the first time gets them, and
    loses those predictions made without them that nobody has seen. One that comes with other ones than before is
    refused, and so is another text under the same id.
    """
    first: dict[str, int] = {}
    for place, (task, _) in enumerate(batch):
        first.setdefault(str(task.id), place)
    rows = [tasks.to_row(project_id, *batch[place]) for place in first.values()]
    added = set(insert_new_returning(session, Task, rows, Task.external_id))
    again = {
        place: task
        for place, (task, _) in enumerate(batch)
        if str(task.id) not in added or first[str(task.id)] != place
    }
    ids = tasks.ids_by_external(session, project_id, list(added))
    with_links = {ids[key]: batch[first[key]][0].alignment for key in added}
    tasks.add_links(session, tasks.GIVEN, {key: links for key, links in with_links.items() if links is not None})
    return _completed(session, project_id, again, TaskImport(added=len(added)))


def _completed(
    session: Session, project_id: int, again: Mapping[int, entities.Task], report: TaskImport
) -> TaskImport:
    stored = _stored(session, project_id, [str(task.id) for task in again.values()])
    links = tasks.get_links(session, tasks.GIVEN, [row.id for row in stored.values()])
    new_links: dict[int, str] = {}
    completed: set[int] = set()
    for place, task in again.items():
        row = stored[str(task.id)]
        brought = {**tasks.to_row(project_id, task, row.split), "alignment": task.alignment}
        present = {**{field: getattr(row, field) for field in _BROUGHT}, "alignment": links.get(row.id)}
        problem = _contradiction(row, brought, present)
        if problem is not None:
            report.refused[place] = problem
            continue
        report.known += 1
        missing = [field for field, value in present.items() if value is None and brought[field] is not None]
        for field in missing:
            if field == "alignment":
                links[row.id] = new_links[row.id] = brought[field]
            else:
                setattr(row, field, brought[field])
        if missing:
            completed.add(row.id)
    session.flush()
    tasks.add_links(session, tasks.GIVEN, new_links)
    delete_unused(session, task_ids=sorted(completed))
    report.completed = len(completed)
    return report


def _contradiction(row: Task, brought: Mapping[str, Any], present: Mapping[str, Any]) -> RecordError | None:
    if brought["text"] != row.text:
        return RecordError(
            "id", f"{row.external_id!r} already belongs to another text; give every text an id of its own"
        )
    for field, value in present.items():
        if value is not None and brought[field] is not None and _differ(value, brought[field]):
            return RecordError(
                field,
                f"{row.external_id!r} is stored with another one, which stays; to use both, give this line an id of "
                "its own",
            )
    return None


def _differ(stored: Any, brought: Any) -> bool:
    if isinstance(stored, str):
        return stored.split() != brought.split() if _is_links(stored) else bool(stored != brought)
    return _sorted(stored) != _sorted(brought)


def _is_links(text: str) -> bool:
    return all(part.partition("-")[0].isdigit() for part in text.split())


def _sorted(values: list[Any]) -> list[Any]:
    """Entities in the order of the text, words in their own."""
    if values and isinstance(values[0], dict):
        return sorted(values, key=lambda value: (value["start"], value["end"], value["label"]))
    return values


def _stored(session: Session, project_id: int, external_ids: Sequence[str]) -> dict[str, Task]:
    found: dict[str, Task] = {}
    for ids in id_batches(external_ids):
        query = select(Task).where(Task.project_id == project_id, Task.external_id.in_(ids))
        found.update((row.external_id, row) for row in session.scalars(query))
    return found
