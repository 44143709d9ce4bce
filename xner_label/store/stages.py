"""Queries about the stages before the projection and what they added to tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from xner_label.store.database import id_batches, insert_new
from xner_label.store.tables import StageResult, StageVersion

# The signature under which what people gave is kept, when a stage was to make it anew.
GIVEN = "given"


def ensure_stage(session: Session, role: str, signature: str) -> int:
    """The id of a stage with its options, made when it is new."""
    stage_id = find_stage(session, role, signature)
    if stage_id is None:
        insert_new(session, StageVersion, [{"role": role, "signature": signature}])
        stage_id = find_stage(session, role, signature)
        assert stage_id is not None
    return stage_id


def find_stage(session: Session, role: str, signature: str) -> int | None:
    """The id of a stage with its options; None for one that has never run here."""
    query = select(StageVersion.id).where(StageVersion.role == role, StageVersion.signature == signature)
    return session.scalar(query)


def stage_results(
    session: Session, role: str, signature: str, fingerprints: Mapping[int, str]
) -> dict[int, Mapping[str, Any]]:
    """What a stage added to tasks, by their id, from the inputs with these fingerprints, where it has run."""
    stage_id = find_stage(session, role, signature)
    if stage_id is None:
        return {}
    known: dict[int, Mapping[str, Any]] = {}
    for ids in id_batches(list(fingerprints)):
        query = select(StageResult.task_id, StageResult.fingerprint, StageResult.added).where(
            StageResult.stage_id == stage_id, StageResult.task_id.in_(ids)
        )
        for task_id, fingerprint, added in session.execute(query):
            if fingerprint == fingerprints[task_id]:
                known[task_id] = added
    return known


def newest_links(session: Session, task_ids: Sequence[int]) -> dict[int, str]:
    """The alignments that aligners made last, by task id."""
    links: dict[int, str] = {}
    for ids in id_batches(task_ids):
        query = (
            select(StageResult.task_id, StageResult.added)
            .join(StageVersion, StageVersion.id == StageResult.stage_id)
            .where(StageVersion.role == "aligner", StageResult.task_id.in_(ids))
            .order_by(StageResult.id)
        )
        for task_id, added in session.execute(query):
            if added.get("alignment") is not None:
                links[task_id] = added["alignment"]
    return links


def add_stage_results(
    session: Session, role: str, signature: str, results: Sequence[tuple[int, str, Mapping[str, Any]]]
) -> int:
    """Keep what a stage added, as (task id, fingerprint of the input, fields); what is there already stays.

    Returns how many results were new.
    """
    stage_id = ensure_stage(session, role, signature)
    rows = [
        {"task_id": task_id, "stage_id": stage_id, "fingerprint": fingerprint, "added": dict(added)}
        for task_id, fingerprint, added in results
    ]
    return insert_new(session, StageResult, rows)
