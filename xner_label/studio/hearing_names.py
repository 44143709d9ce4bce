"""Taking over what people answer on name cards: new answers, changed ones, and those that were deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec

from xner_label.errors import ContractError
from xner_label.store import names, projects
from xner_label.store.database import Store
from xner_label.store.names import AnswerState
from xner_label.store.tables import Project
from xner_label.studio.asking_names import is_there
from xner_label.studio.card_options import refresh_options
from xner_label.studio.client import Studio
from xner_label.studio.fetching import moment, user_names
from xner_label.studio.name_cards import verdict_of
from xner_label.studio.settled_cards import withdraw_settled_cards
from xner_label.studio.sync_report import AnswersReport

# A request that began before ours may commit after it.
_OVERLAP = timedelta(seconds=60)


def sync_names(store: Store, studio: Studio, project: Project) -> AnswersReport:
    """Take over answers, changes and deletions since the last time, and take out the cards that they settled.

    Raises StudioError; then nothing of what it couldn't read is written."""
    project_id = project.id
    with store.read() as session:
        place = names.name_project(session, project_id)
        if place is None:
            return AnswersReport()
        cards = names.questions_by_card(session, project_id)
        known = {(state.question, state.annotation): state for state in names.answer_states(session, project_id)}
        cursor = place.cursor
        number = place.studio_project
    if place.studio_url != studio.url or not is_there(studio, place, studio.read(studio.api.projects.list)):
        problem = f"project {number}, which held the name cards, is gone: `xner-label push --names` makes another"
        return AnswersReport(problems=(problem,))
    began = studio.clock()
    since = None if cursor is None else cursor - _OVERLAP
    changed = [
        task for task in studio.tasks(number, changed_after=since, include="id,updated_at") if task.id in cards
    ]
    fetched = list(studio.full_tasks(number, [task.id for task in changed]))
    states, lead_times, problems = _read_answers(fetched, cards, user_names(studio) if fetched else {})
    seen = {(state.question, state.annotation) for state in states}
    looked_at = {cards[task.id] for task in fetched}
    with store.write() as session:
        projects.lock_project(session, project_id)
        # another sync may have written meanwhile: what it stored is compared with, what was known before is not
        current = {(state.question, state.annotation): state for state in names.answer_states(session, project_id)}
        gone = [
            msgspec.structs.replace(state, withdrawn=True)
            for key, state in known.items()
            if state.question in looked_at
            and key not in seen
            and not state.withdrawn
            and current.get(key) == state
        ]
        new = [state for state in states if _is_news(state, current.get((state.question, state.annotation)))]
        answered = sum((state.question, state.annotation) not in current for state in new)
        names.add_answers(session, [*new, *gone], lead_times)
        stored = names.name_project(session, project_id)
        if stored is not None and stored.cursor == cursor:
            stored.cursor = began
    settled = withdraw_settled_cards(store, studio, project, number)
    refresh_options(store, studio, project, number)
    return AnswersReport(answered, len(new) - answered, len(gone), tuple(problems), settled)


def _is_news(state: AnswerState, stored: AnswerState | None) -> bool:
    """Whether a fetched answer is newer than the stored one; one that was withdrawn here stays so until then."""
    return stored is None or state.updated_at > stored.updated_at


def _read_answers(
    fetched: Sequence[Any], cards: Mapping[int, int], users: Mapping[int, str]
) -> tuple[list[AnswerState], dict[int, float | None], list[str]]:
    states: list[AnswerState] = []
    lead_times: dict[int, float | None] = {}
    problems: list[str] = []
    for task in fetched:
        for annotation in task.annotations or ():
            if annotation["was_cancelled"]:
                continue
            try:
                verdict = verdict_of(annotation["result"])
            except ContractError as error:
                problems.append(f"card {task.id}, annotation {annotation['id']}: {error.args[0]}")
                continue
            if verdict is None:
                continue
            lead_times[annotation["id"]] = annotation.get("lead_time")
            states.append(
                AnswerState(
                    question=cards[task.id],
                    annotation=annotation["id"],
                    updated_at=moment(annotation["updated_at"]),
                    annotator=_annotator(annotation["completed_by"], users),
                    kind=str(verdict.kind),
                    value=verdict.value,
                    withdrawn=False,
                )
            )
    return states, lead_times, problems


def _annotator(number: int | None, users: Mapping[int, str]) -> str:
    """Who answered, by the name that their answers in sentences have: `undo` finds a person's answers by it."""
    return "" if number is None else users.get(number, str(number))
