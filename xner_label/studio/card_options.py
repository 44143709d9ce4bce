"""What waiting name cards offer follows the label set of the project.

A card in Label Studio is changed first and noted in the store then: what is interrupted goes on the next time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xner_label.review.name_answers import Kind
from xner_label.store import names, projects
from xner_label.store.database import Store
from xner_label.store.tables import Project
from xner_label.studio.client import Studio
from xner_label.studio.name_cards import OPTIONS, verdict_of_alias, with_verdicts


def refresh_options(store: Store, studio: Studio, project: Project, place: int) -> int:
    """Let the waiting cards in project ``place`` of Label Studio, and those still to be sent, offer the project's
    labels; returns how many changed. Raises StudioError."""
    with store.read() as session:
        labels = projects.get_project(session, project.name).labels
        waiting = names.waiting_cards(session, project.id)
        unsent = [card for card in names.unsent_questions(session, project.id) if card.sent_at is None]
        wanted = {card.id: with_labels(card.card, labels) for card in (*waiting, *unsent)}
    there = {card.studio_task: card for card in waiting if wanted[card.id] != card.card}
    current = {card.id: wanted[card.id] for card in unsent if wanted[card.id] != card.card}
    try:
        for row in studio.full_tasks(place, [task for task in there if task is not None], include="id,data"):
            card = wanted[there[row.id].id]
            data = row.data | {OPTIONS: card[OPTIONS]}
            if data != row.data:
                studio.write(studio.api.tasks.update, str(row.id), data=data)
            current[there[row.id].id] = card
    finally:
        with store.write() as session:
            names.set_cards(session, current)
    return len(current)


def with_labels(card: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    """A card's data with an option for each of these labels: those that it had come first, in their order."""
    offered = [verdict_of_alias(option["alias"]) for option in card[OPTIONS]]
    had = [verdict for verdict in offered if verdict.kind is Kind.LABEL]
    kept = [verdict.value for verdict in had if verdict.value in labels]
    if len(kept) == len(had) == len(labels):
        return dict(card)
    new = [label for label in labels if label not in kept]
    spans = [verdict.value for verdict in offered if verdict.kind is Kind.SPAN]
    return with_verdicts(card, [*kept, *new], spans)
