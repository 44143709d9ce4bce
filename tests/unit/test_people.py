"""People's numbers: intervals instead of rankings, and no breaks among the seconds."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from xner_label.entities import Entity
from xner_label.review.agreement import pair_agreement
from xner_label.review.people import Answer, people, without_breaks

KENYA, UN = Entity(0, 5, "LOC"), Entity(9, 11, "ORG")


def answer(task: int, annotator: str, *entities: Entity, **more: object) -> Answer:
    moment = more.pop("moment", datetime(2026, 11, 25, 9, tzinfo=UTC))
    return Answer(task=task, annotator=annotator, moment=moment, entities=entities, **more)  # type: ignore[arg-type]


def test_breaks_are_left_out() -> None:
    assert without_breaks([10.0, 11.0, 12.0, 13.0, 14.0, 3600.0]) == [10.0, 11.0, 12.0, 13.0, 14.0]
    assert without_breaks([10.0, 3600.0]) == [10.0, 3600.0]  # too few to tell
    assert without_breaks([]) == []


def test_a_share_is_drawn_towards_everybodys() -> None:
    answers = [answer(task, "ann", KENYA, shown=1, kept=1) for task in range(400)]
    answers += [answer(1000, "bob", KENYA, shown=1, kept=0)]
    ann, bob = people(answers)
    assert bob.acceptance is not None
    assert ann.acceptance is not None
    assert bob.acceptance.hits / bob.acceptance.n == 0.0
    assert bob.acceptance.value > 0.9  # one decision tells little
    assert bob.acceptance.low < ann.acceptance.low
    assert bob.acceptance.high - bob.acceptance.low > ann.acceptance.high - ann.acceptance.low


def test_agreement_counts_tasks_that_somebody_else_answered() -> None:
    answers = [answer(1, "ann", KENYA, UN), answer(1, "bob", KENYA), answer(2, "ann", UN)]
    ann, bob = people(answers)
    assert ann.agreement is not None
    assert bob.agreement is not None
    assert (ann.agreement.hits, ann.agreement.n) == (bob.agreement.hits, bob.agreement.n) == (2, 3)
    assert ann.tasks == 2


def test_agreement_is_that_of_pairs() -> None:
    """The same measure as ``conflicts --agreement``."""
    said = [(1, (KENYA, UN), (KENYA,)), (2, (UN,), (KENYA,)), (3, (KENYA,), (KENYA,))]
    ann, _ = people(
        answer(task, who, *what) for task, *both in said for who, what in zip(("ann", "bob"), both, strict=True)
    )
    (pair, *_) = pair_agreement({"ann": first, "bob": second} for _, first, second in said)
    assert pair.label == "all"
    assert ann.agreement is not None
    assert ann.agreement.hits / ann.agreement.n == pair.exact


def test_weeks_have_intervals_of_their_own() -> None:
    moments = [datetime(2026, 11, day, 9, tzinfo=UTC) for day in (16, 23)]
    answers = [
        answer(10 * week + task, who, KENYA if task < 8 - 6 * week or who == "ann" else UN, moment=moment, shown=1)
        for week, moment in enumerate(moments)
        for task in range(8)
        for who in ("ann", "bob")
    ]
    ann, _ = people(answers)
    first, second = (week.agreement for week in ann.weeks)
    assert first is not None
    assert second is not None
    assert first.value > second.value
    assert all(share.low < share.value < share.high for share in (first, second))


def test_alone_nobody_agrees_or_disagrees() -> None:
    (ann,) = people([answer(1, "ann", KENYA)])
    assert (ann.agreement, ann.acceptance, ann.seconds) == (None, None, None)
    assert people([]) == []


def test_seconds_with_and_without_predictions_and_weeks() -> None:
    sunday, monday = datetime(2026, 11, 22, 23, tzinfo=UTC), datetime(2026, 11, 23, 1, tzinfo=UTC)
    (ann,) = people(
        [
            answer(1, "ann", KENYA, seconds=8.0, moment=sunday),
            answer(2, "ann", KENYA, seconds=12.0, moment=monday),
            answer(3, "ann", KENYA, seconds=40.0, blind=True, moment=monday),
        ]
    )
    assert (ann.seconds, ann.seconds_blind) == (10.0, 40.0)
    assert [(week.monday, week.tasks) for week in ann.weeks] == [(date(2026, 11, 16), 1), (date(2026, 11, 23), 2)]


@pytest.mark.parametrize("n", [1, 50])
def test_the_interval_holds_the_value(n: int) -> None:
    (ann,) = people([answer(task, "ann", KENYA, shown=2, kept=2) for task in range(n)])
    assert ann.acceptance is not None
    assert 0.0 < ann.acceptance.low < ann.acceptance.value < ann.acceptance.high <= 1.0
