"""What tasks brought along, set aside for a stage to make it anew."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from xner_label.store.database import id_batches
from xner_label.store.pruning import delete_unused
from xner_label.store.stages import GIVEN, add_stage_results
from xner_label.store.tables import Task

# What goes with a source that a task brought along, when a translator is to make another.
_ABOUT_SOURCE = ("source", "source_tokens", "source_entities", "alignment")


def set_given_aside(session: Session, project_id: int, role: str) -> int:
    """Let the translator or the tagger do its stage also where tasks brought a source or its entities along.

    What they brought stays readable as the result of a stage with the signature ``given``; importing it again
    brings it back. Predictions that nobody has seen go, so that the tasks are predicted anew. Returns how many
    tasks are concerned.
    """
    if role == "translator":
        concerned = Task.source.is_not(None) & Task.translator_id.is_(None)
        fields: tuple[str, ...] = _ABOUT_SOURCE
    else:
        concerned = Task.source_entities.is_not(None) & Task.tagger_id.is_(None)
        fields = ("source_entities",)
    query = select(Task).where(Task.project_id == project_id, concerned).order_by(Task.id)
    ids = list(session.scalars(query.with_only_columns(Task.id)))
    for batch in id_batches(ids):
        rows = session.scalars(select(Task).where(Task.id.in_(batch))).all()
        brought = [(row.id, GIVEN, {field: getattr(row, field) for field in fields}) for row in rows]
        add_stage_results(session, role, GIVEN, brought)
        cleared: dict[str, None] = dict.fromkeys((*fields, "tagger_id"))
        session.execute(update(Task).where(Task.id.in_(batch)).values(**cleared))
    delete_unused(session, ids)
    session.expire_all()
    return len(ids)
