"""How far synchronisation with Label Studio has come."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from xner_label.store.tables import SyncState


def get_cursor(session: Session, project_id: int) -> datetime | None:
    """Up to which time changes in Label Studio have been taken over; None before the first sync."""
    state = session.get(SyncState, project_id)
    return None if state is None else state.cursor


def last_sync(session: Session, project_id: int) -> datetime | None:
    """When a sync last wrote; None before the first one."""
    state = session.get(SyncState, project_id)
    return None if state is None or state.cursor is None else state.updated_at


def generation(session: Session, project_id: int) -> int:
    """How many syncs of the project have written."""
    state = session.get(SyncState, project_id)
    return 0 if state is None else state.generation


def set_cursor(session: Session, project_id: int, cursor: datetime | None) -> None:
    """Move the cursor (None: to the beginning); call it in the transaction that writes the rows it covers."""
    state = session.get(SyncState, project_id)
    if state is None:
        session.add(SyncState(project_id=project_id, cursor=cursor, generation=1))
    else:
        state.cursor = cursor
        state.generation += 1
