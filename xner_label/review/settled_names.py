"""The answers about names that are in force in a project, for its predictions."""

from __future__ import annotations

import msgspec
from sqlalchemy.orm import Session

from xner_label.review.name_answers import Kind, NameAnswer, NameAnswers, Verdict, verdict_in_force
from xner_label.review.name_groups import NameKey
from xner_label.store import gold, names
from xner_label.store.tables import Project


class DisputedName(msgspec.Struct, frozen=True):
    """A name about which people answered differently: nothing is settled. ``answers``: verdict by person."""

    key: NameKey
    answers: dict[str, Verdict]


def disputed_names(session: Session, project_id: int) -> list[DisputedName]:
    """The questions about names on which people disagree, in the order they were asked."""
    disputed: list[DisputedName] = []
    for question, states in names.answers_in_force(session, project_id):
        answers = {person: Verdict(Kind(state.kind), state.value) for person, state in states.items()}
        if verdict_in_force(answers) is None:
            key = NameKey(question.source_name, question.target_text, question.label)
            disputed.append(DisputedName(key, answers))
    return disputed


def name_answers(session: Session, project_id: int) -> NameAnswers:
    """What people said about names and haven't taken back; where they disagree nothing is settled, and nothing in
    a sentence that somebody reviewed. A label that the project hasn't any more settles nothing either."""
    answers: list[NameAnswer] = []
    labels = session.get_one(Project, project_id).labels
    for question, states in names.answers_in_force(session, project_id):
        verdict = verdict_in_force(
            {person: Verdict(Kind(state.kind), state.value) for person, state in states.items()}
        )
        if verdict is None or (verdict.kind is Kind.LABEL and verdict.value not in labels):
            continue
        newest = max(states.values(), key=lambda state: state.updated_at)
        answers.append(
            NameAnswer(
                NameKey(question.source_name, question.target_text, question.label),
                verdict,
                newest.annotator or "somebody",
                f"{newest.updated_at:%Y-%m-%d}",
            )
        )
    return NameAnswers(answers, gold.reviewed_texts(session, project_id) if answers else None)
