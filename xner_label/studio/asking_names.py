"""Bringing name cards to Label Studio, each exactly once.

The cards live in a project of their own beside the connected one, made when the first go out. As with tasks, the
choice is stored before anything is sent; a card that was sent without an answer is looked for before it goes
again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy.orm import Session

from xner_label.entities import Span
from xner_label.errors import ConfigurationError, StudioError
from xner_label.review.name_groups import NameGroup, NameKey, Occurrence, group_names, other_labels, other_spans
from xner_label.settings.table import Settings
from xner_label.store import names, projects, runs
from xner_label.store.base import utc_now
from xner_label.store.database import Store
from xner_label.store.tables import NameProject, NameQuestion, Project
from xner_label.studio.answers import NotAnsweredError
from xner_label.studio.card_options import refresh_options
from xner_label.studio.client import SETTLE, Studio, open_studio
from xner_label.studio.fetching import moment
from xner_label.studio.identity import mark_of
from xner_label.studio.labelling import EXTERNAL_ID
from xner_label.studio.name_cards import CARD, OPTIONS, card_config, card_data
from xner_label.studio.settled_cards import LEAST_EXPECTED_ERRORS, withdraw_settled_cards
from xner_label.studio.views import HIDDEN_COLUMNS
from xner_label.wording import counted

# Cards in one request.
_CARDS_PER_REQUEST = 200
_ID = "name-"
_INSTRUCTION = (
    "<p>Each card is one question about a name and all of its occurrences. Read the examples, press the key of "
    "your answer, then Ctrl+Enter. The answer is used for every sentence with that name that nobody has reviewed. "
    "If the right answer differs from sentence to sentence, choose <i>it depends on the sentence</i>. You can "
    "change or delete an answer at any time: what it moved goes back.</p>"
)


class AskReport(msgspec.Struct, frozen=True):
    """``chosen`` questions are new, ``sent`` cards went out now (left over ones too), ``settled`` ones left Label
    Studio because other answers have settled them, ``occurrences`` is what the new questions are about,
    ``expected_errors`` how many of these are expected to be wrong."""

    project: str
    chosen: int
    sent: int
    waiting: int
    occurrences: int
    expected_errors: float
    url: str | None
    settled: int = 0


def ask_names(
    store: Store,
    settings: Settings,
    limit: int,
    *,
    dry_run: bool = False,
    only: Sequence[NameKey] | None = None,
) -> AskReport:
    """Ask about names until ``limit`` cards wait for an answer, those with the most expected errors first.

    ``only``: the groups to ask about, in their order, however many wait. Raises StudioError, ConfigurationError
    when the project isn't connected.
    """
    with open_studio(settings) as studio:
        settled = 0 if dry_run else _withdraw_settled(store, studio, settings.project)
        with store.read() if dry_run else store.write() as session:
            project, _ = projects.connected_project(session, settings.project, studio.url)
            if not dry_run:
                projects.lock_project(session, project.id)
            waiting = count_waiting(session, project.id)
            count = max(0, limit - waiting) if only is None else len(only)
            chosen = _choose(session, project, count, only)
            if not dry_run:
                names.add_questions(session, project.id, [row for _, row in chosen])
        sent, url = 0, None
        if not dry_run:
            place = _project(store, studio, project)
            if place is not None:
                url = studio.project_url(place)
                sent = _send(store, studio, project.id, place)
        with store.read() as session:
            waiting = count_waiting(session, project.id)
    groups = [group for group, _ in chosen]
    return AskReport(
        project=project.name,
        chosen=len(groups),
        sent=sent,
        waiting=waiting,
        occurrences=sum(len(group.occurrences) for group in groups),
        expected_errors=round(sum(group.expected_errors for group in groups), 1),
        url=url,
        settled=settled,
    )


def _withdraw_settled(store: Store, studio: Studio, name: str) -> int:
    """Take settled cards out first, so that others can wait in their place, and let the rest offer the labels of
    today; returns how many left."""
    with store.read() as session:
        project, _ = projects.connected_project(session, name, studio.url)
        place = names.name_project(session, project.id)
    if place is None or place.studio_url != studio.url:
        return 0
    if not is_there(studio, place, studio.read(studio.api.projects.list)):
        return 0
    settled = withdraw_settled_cards(store, studio, project, place.studio_project)
    refresh_options(store, studio, project, place.studio_project)
    return settled


def _choose(
    session: Session, project: Project, count: int, only: Sequence[NameKey] | None
) -> list[tuple[NameGroup, dict[str, Any]]]:
    """The next groups to ask about, each with the columns of its question."""
    version = runs.reviewed_version(session, project, "pool")
    if not count or version is None:
        return []
    occurrences = [_occurrence(row) for row in names.open_occurrences(session, project.id, version)]
    asked = names.asked_names(session, project.id)
    every = group_names(occurrences, least=1)
    counts = {group.key: len(group.occurrences) for group in every}
    chosen: list[tuple[NameGroup, dict[str, Any]]] = []
    groups = group_names(occurrences)
    if only is not None:
        by_key = {group.key: group for group in groups}
        groups = [by_key[key] for key in only if key in by_key]
    for group in groups:
        key = group.key
        if len(chosen) == count:
            break
        if (key.source, key.target, key.label) in asked or group.expected_errors < LEAST_EXPECTED_ERRORS:
            continue
        identity = f"{_ID}{key.label}:{key.target}:{key.source}"
        data = card_data(identity, group, other_labels(key, counts, project.labels), other_spans(group, counts))
        row = {
            "source_name": key.source,
            "target_text": key.target,
            "label": key.label,
            "occurrences": len(group.occurrences),
            "expected_errors": round(group.expected_errors, 4),
            "card": data,
            "created_at": utc_now(),
        }
        chosen.append((group, row))
    return chosen


def _occurrence(row: names.Occurrence) -> Occurrence:
    mention = None
    if row.source_start is not None and row.source_end is not None:
        mention = Span(row.source_start, row.source_end)
    return Occurrence(row.task, row.text, row.start, row.end, row.label, row.confidence, row.source, mention)


def count_waiting(session: Session, project_id: int) -> int:
    """Questions without an answer in force."""
    answered = {state.question for state in names.answer_states(session, project_id) if not state.withdrawn}
    return len(names.questions(session, project_id).keys() - answered)


def _project(store: Store, studio: Studio, project: Project) -> int | None:
    """The project of Label Studio that holds the cards, made when there are cards to hold."""
    with store.read() as session:
        place = names.name_project(session, project.id)
        wanted = bool(names.unsent_questions(session, project.id))
    if place is None and not wanted:
        return None
    rows = studio.read(studio.api.projects.list)
    if place is not None and place.studio_url == studio.url and is_there(studio, place, rows):
        return place.studio_project
    mark = f"{mark_of(project)}: names"
    marked = next((studio.project(row.id) for row in rows if row.description == mark), None)
    made = marked or studio.project(
        studio.write(
            studio.api.projects.create,
            # Label Studio takes titles of 3 to 50 characters
            title=f"{project.name} names (XNER)"[-50:],
            description=mark,
            label_config=card_config(),
            sampling="Sequential sampling",
            expert_instruction=_INSTRUCTION,
            show_instruction=True,
        ).id
    )
    with store.write() as session:
        projects.lock_project(session, project.id)
        stored = names.name_project(session, project.id)
        if stored is not None and (place is None or stored.studio_created_at != place.studio_created_at):
            chosen = stored.studio_project  # another process was quicker
        else:
            if stored is not None:
                # another server, or one that began anew: the cards go out again, the answers stay
                names.forget_cards(session, project.id)
            chosen = int(made.id)
            session.add(
                NameProject(
                    project_id=project.id,
                    studio_url=studio.url,
                    studio_project=chosen,
                    studio_created_at=moment(made.created_at),
                )
            )
    if chosen != made.id:
        if marked is None:
            studio.write(studio.api.projects.delete, made.id)
        return chosen
    if not studio.read(studio.api.views.list, project=chosen):
        hidden = [*HIDDEN_COLUMNS, *(f"tasks:data.{key}" for key in (CARD, OPTIONS, EXTERNAL_ID))]
        view = {"title": "Names", "type": "list", "hiddenColumns": {"explore": hidden, "labeling": hidden}}
        studio.write(studio.api.views.create, project=chosen, data=view)
    return chosen


def is_there(studio: Studio, place: NameProject, rows: Sequence[Any]) -> bool:
    """Whether the project that was made for the cards still exists, and isn't another one with its number."""
    if not any(row.id == place.studio_project for row in rows):
        return False
    return moment(studio.project(place.studio_project).created_at) == place.studio_created_at


def _send(store: Store, studio: Studio, project_id: int, place: int) -> int:
    """Send what isn't there yet; returns how many cards went out."""
    with store.read() as session:
        waiting = names.unsent_questions(session, project_id)
    doubtful = [question for question in waiting if question.sent_at is not None]
    if doubtful:
        there = _held_cards(studio, place, doubtful)
        absent = [question.id for question in doubtful if question.id not in there]
        with store.write() as session:
            lost = names.lost_questions(session, absent, SETTLE)
            names.mark_sent(session, there)
            names.release_questions(session, lost)
        waiting = [question for question in waiting if question.sent_at is None or question.id in lost]
    sent = 0
    for start in range(0, len(waiting), _CARDS_PER_REQUEST):
        sent += _send_chunk(store, studio, place, waiting[start : start + _CARDS_PER_REQUEST])
    return sent


def _send_chunk(store: Store, studio: Studio, place: int, questions: Sequence[NameQuestion]) -> int:
    with store.write() as session:
        claimed = names.claim_questions(session, [question.id for question in questions])
    ours = [question for question in questions if question.id in claimed]
    if not ours:
        return 0
    try:
        answer = studio.write(
            studio.api.projects.import_tasks,
            place,
            request=[{"data": question.card} for question in ours],
            return_task_ids=True,
        )
    except NotAnsweredError:
        raise
    except StudioError:
        with store.write() as session:
            names.release_questions(session, sorted(claimed))
        raise
    ids = answer.task_ids or []
    if len(ids) != len(ours):
        raise ConfigurationError(
            f"Label Studio answered an import of {counted(len(ours), 'name card')} with {counted(len(ids), 'id')}",
            hint="run `xner-label push --names` again in a minute",
        )
    with store.write() as session:
        names.mark_sent(session, {question.id: row for question, row in zip(ours, ids, strict=True)})
    return len(ours)


def _held_cards(studio: Studio, place: int, questions: Sequence[NameQuestion]) -> dict[int, int]:
    """Those of the questions whose cards Label Studio holds: question id -> its task id."""
    ids = {question.card[EXTERNAL_ID]: question.id for question in questions}
    there: dict[int, int] = {}
    for row in studio.tasks(place, include="id,data"):
        question = ids.get(str(row.data.get(EXTERNAL_ID)))
        if question is not None:
            there.setdefault(question, row.id)
    return there
