"""Ordering anew what waits, once answers elsewhere have made some of it surer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from sqlalchemy.orm import Session

from xner_label.errors import UsageError
from xner_label.review.name_audit import STRATEGY as NAME_AUDIT
from xner_label.review.queue import ONE_QUEUE, order_tasks
from xner_label.review.queued import queued_tasks
from xner_label.settings.choices import DEFAULT_STRATEGY
from xner_label.store.queue_positions import WaitingItem, set_positions, waiting_items

# Orders that were drawn stay: a slice must not depend on what was learned since.
_DRAWN = frozenset({"random", "mix", NAME_AUDIT})


def rank_waiting(session: Session, project_id: int) -> int:
    """Let what waits of each batch stand in the order of its strategy by the predictions that it shows now.

    Returns how many items stand elsewhere than before; answered items keep their places.
    """
    positions: dict[int, int] = {}
    for _, group in groupby(waiting_items(session, project_id), key=lambda item: item.batch):
        items = list(group)
        if items[0].strategy not in _DRAWN:
            ordered = _ordered(session, items)
            places = [item.position for item in items]
            positions |= {item.item: place for item, place in zip(ordered, places, strict=True)}
    now = {item.item: item.position for item in waiting_items(session, project_id)}
    moved = {item: place for item, place in positions.items() if now[item] != place}
    set_positions(session, moved)
    return len(moved)


def _ordered(session: Session, items: Sequence[WaitingItem]) -> list[WaitingItem]:
    if items[0].strategy == DEFAULT_STRATEGY:
        return sorted(items, key=lambda item: item.confidence)
    queued = queued_tasks(session, [(item.task, item.prediction, item.confidence) for item in items])
    strategy = "leverage" if items[0].strategy == ONE_QUEUE else items[0].strategy
    try:
        order = order_tasks(queued, strategy, len(items))
    except UsageError:  # one of a package that isn't installed any more, or that lacks what it reads
        return list(items)
    return [items[number] for number in order]
