"""How far two people agree about the texts that both answered, by entity type.

F1 between two annotators needs no count of the places where nobody marked anything, which text doesn't have; where
such places are many, it is what kappa approaches (Hripcsak and Rothschild 2005, "Agreement, the F-measure, and
reliability in information retrieval").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import msgspec

from xner_label.entities import Entity
from xner_label.store import projects
from xner_label.store.database import Store
from xner_label.store.gold import answers_of

# The row that counts every type.
ALL = "all"


class PairAgreement(msgspec.Struct, frozen=True):
    """Two people on one type of entity, in the ``tasks`` both answered. ``exact``: F1 of entities with the same
    borders and label; ``overlap``: the same with borders that only overlap. Both are None where neither marked
    any; ``first_marked`` and ``second_marked`` count the entities."""

    first: str
    second: str
    label: str
    tasks: int
    first_marked: int
    second_marked: int
    exact: float | None
    overlap: float | None


def agreement(store: Store, project: str) -> list[PairAgreement]:
    """Every pair of people with tasks in common, each type and all together. Imported gold is nobody's answer.

    Raises UsageError when the store has no such project.
    """
    with store.read() as session:
        return pair_agreement(answers_of(session, projects.get_project(session, project).id))


def pair_agreement(answers: Iterable[Mapping[str, Sequence[Entity]]]) -> list[PairAgreement]:
    """``answers`` holds, of each task, what each person said."""
    common: dict[tuple[str, str], list[tuple[Sequence[Entity], Sequence[Entity]]]] = {}
    for said in answers:
        for first, second in combinations(sorted(said), 2):
            common.setdefault((first, second), []).append((said[first], said[second]))
    agreements = []
    for (first, second), pairs in sorted(common.items()):
        labels = {entity.label for pair in pairs for entities in pair for entity in entities}
        for label in [ALL, *sorted(labels)]:
            chosen = [tuple(_of(label, entities) for entities in pair) for pair in pairs]
            left, right = (sum(len(pair[side]) for pair in chosen) for side in (0, 1))
            total = left + right
            exact = sum(len({*spans} & {*others}) for spans, others in chosen)
            overlap = sum(_overlapping(spans, others) + _overlapping(others, spans) for spans, others in chosen)
            agreements.append(
                PairAgreement(
                    first,
                    second,
                    label,
                    len(pairs),
                    left,
                    right,
                    2 * exact / total if total else None,
                    overlap / total if total else None,
                )
            )
    return agreements


def _of(label: str, entities: Iterable[Entity]) -> list[tuple[int, int, str]]:
    return [(entity.start, entity.end, entity.label) for entity in entities if label in (ALL, entity.label)]


def _overlapping(some: Iterable[tuple[int, int, str]], others: Sequence[tuple[int, int, str]]) -> int:
    """How many of some entities overlap another one's with the same label."""
    return sum(
        any(start < other_end and other_start < end and label == other for other_start, other_end, other in others)
        for start, end, label in some
    )
