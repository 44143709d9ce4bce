"""Importing tasks: new ones are added, known ones get what they lacked, and nothing is replaced unseen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from xner_label import entities
from xner_label.entities import Tokens
from xner_label.errors import RecordError
from xner_label.store import tasks
from xner_label.store.database import id_batches, insert_new_returning
from xner_label.store.pruning import delete_unused
from xner_label.store.tables import Task

# What a task may bring along beside its text.
_BROUGHT = ("source", "source_tokens", "source_entities", "tokens", "alignment")


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

    A known task that now comes with a source, source entities, tokens or links for the first time gets them, in
    place of what stages made, and loses those predictions without them that nobody has seen. One that comes with
    other ones than before is refused, and so is another text under the same id.
    """
    first: dict[str, int] = {}
    for place, (task, _) in enumerate(batch):
        first.setdefault(str(task.id), place)
    rows = [tasks.to_row(project_id, *batch[place]) for place in first.values()]
    added = set(insert_new_returning(session, Task, rows, Task.external_id))
    report = TaskImport(added=len(added))
    again = {
        place: task
        for place, (task, _) in enumerate(batch)
        if str(task.id) not in added or first[str(task.id)] != place
    }
    stored = _stored(session, project_id, [str(task.id) for task in again.values()])
    completed: set[int] = set()
    for place, task in again.items():
        row = stored[str(task.id)]
        brought = tasks.to_row(project_id, task, row.split)
        problem = _contradiction(row, brought)
        if problem is not None:
            report.refused[place] = problem
            continue
        report.known += 1
        if _complete(row, brought):
            completed.add(row.id)
    session.flush()
    delete_unused(session, sorted(completed))
    report.completed = len(completed)
    return report


def _contradiction(row: Task, brought: Mapping[str, Any]) -> RecordError | None:
    if brought["text"] != row.text:
        problem = f"{row.external_id!r} already belongs to another text; give every text an id of its own"
        return RecordError("id", problem)
    for field in _BROUGHT:
        if brought[field] is not None and _given(row, field) not in (None, brought[field]):
            problem = (
                f"{row.external_id!r} is stored with another one, which stays; give this line an id of its own to "
                "use both"
            )
            return RecordError(field, problem)
    return _miscounted(row, brought)


def _miscounted(row: Task, brought: Mapping[str, Any]) -> RecordError | None:
    """Links and tokens that would come together now, though the links were counted without these tokens."""
    for field, text in (("tokens", row.text), ("source_tokens", brought["source"] or row.source or "")):
        stored, new = getattr(row, field), brought[field]
        if row.alignment is not None and stored is None and new is not None and _are_others(new, text):
            problem = f"{row.external_id!r} is stored with links that count other words; give it an id of its own"
            return RecordError(field, problem)
        links_alone = row.alignment is None and brought["alignment"] is not None and new is None
        if links_alone and stored is not None and _are_others(stored, text):
            problem = f"{row.external_id!r} is stored with {field}; give them beside the links that count them"
            return RecordError("alignment", problem)
    return None


def _are_others(tokens: Sequence[str], text: str) -> bool:
    """Whether they aren't the tokens that links without tokens count."""
    return list(tokens) != list(Tokens.tokenize(text, letters=True).words())


def _complete(row: Task, brought: Mapping[str, Any]) -> bool:
    """Take over what the row lacks; says whether there was something."""
    missing = [field for field in _BROUGHT if brought[field] is not None and _given(row, field) is None]
    if "source" in missing:
        # what stages found in their own translation isn't about this source
        if row.tagger_id is not None:
            row.source_entities = row.tagger_id = None
        row.translator_id = None
    if "source_entities" in missing:
        row.tagger_id = None
    for field in missing:
        setattr(row, field, brought[field])
    return bool(missing)


def _given(row: Task, field: str) -> Any:
    """What people gave a task, without what stages made."""
    made = {"source": row.translator_id, "source_entities": row.tagger_id}.get(field)
    return None if made is not None else getattr(row, field)


def _stored(session: Session, project_id: int, external_ids: Sequence[str]) -> dict[str, Task]:
    by_external: dict[str, Task] = {}
    for ids in id_batches(external_ids):
        query = select(Task).where(Task.project_id == project_id, Task.external_id.in_(ids))
        by_external.update((row.external_id, row) for row in session.scalars(query))
    return by_external
