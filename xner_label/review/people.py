"""Who reviewed what, how fast, and how reliably: numbers with intervals, never a ranking."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta

import msgspec

from xner_label.entities import Entity

# Lead times beyond the upper quartile by so many interquartile ranges are breaks (Tukey's outer fence).
_FENCE = 3.0
# A person's share is drawn towards everybody's as if they had made so many more decisions of the average kind.
_PRIOR_DECISIONS = 20.0
_LEVEL = 0.95
# Two people's marks of one entity are one decision.
_PER_MARK = 0.5


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What one person says about a task in the end. ``seconds`` is Label Studio's lead time; ``kept`` of the
    ``shown`` predicted entities were left as they were; ``blind``: none were shown on purpose."""

    task: int
    annotator: str
    moment: datetime
    entities: tuple[Entity, ...]
    seconds: float | None = None
    shown: int = 0
    kept: int = 0
    blind: bool = False


class Share(msgspec.Struct, frozen=True):
    """``hits`` of ``n`` decisions or marks; ``value`` is drawn towards everybody's share, in ``low`` to ``high``
    with 95 %.

    The value is the mean of the Beta posterior whose prior has everybody's share as its mean and the weight of
    20 decisions. Two marks, one of each person, are one decision.
    """

    hits: int
    n: int
    value: float
    low: float
    high: float


class Week(msgspec.Struct, frozen=True):
    """A person's week, named by its Monday: the same as of the :class:`Person` altogether."""

    monday: date
    tasks: int
    seconds: float | None
    acceptance: Share | None
    agreement: Share | None


class Person(msgspec.Struct, frozen=True):
    """What a person did.

    ``seconds`` is the median lead time of a task without breaks, ``seconds_blind`` that of tasks without
    predictions. ``acceptance`` is the share of shown entities that they left as they were; ``agreement``: F1 of
    exactly marked entities with the others, on tasks that somebody else answered too, as ``conflicts
    --agreement`` has it for pairs: the share of both sides' marks that the other made, too; None where there are
    no such tasks.
    """

    annotator: str
    tasks: int
    seconds: float | None
    seconds_blind: float | None
    acceptance: Share | None
    agreement: Share | None
    weeks: tuple[Week, ...]


def people(answers: Iterable[Answer]) -> list[Person]:
    """Each person's numbers, by name."""
    by_person: dict[str, list[Answer]] = defaultdict(list)
    by_task: dict[int, list[Answer]] = defaultdict(list)
    for answer in answers:
        by_person[answer.annotator].append(answer)
        by_task[answer.task].append(answer)
    agreed = {
        (answer.annotator, answer.task): _agreement(answer, of_task)
        for of_task in by_task.values()
        for answer in of_task
        if len(of_task) > 1
    }
    everybody = [answer for its in by_person.values() for answer in its]
    acceptance = _pooled([(answer.kept, answer.shown) for answer in everybody])
    agreement = _pooled(list(agreed.values()))
    return [
        Person(
            annotator=name,
            tasks=len({answer.task for answer in its}),
            seconds=_typical([answer.seconds for answer in its if not answer.blind]),
            seconds_blind=_typical([answer.seconds for answer in its if answer.blind]),
            acceptance=_share([(answer.kept, answer.shown) for answer in its], acceptance),
            agreement=_share(_pairs(its, agreed), agreement, _PER_MARK),
            weeks=_weeks(its, agreed, acceptance, agreement),
        )
        for name, its in sorted(by_person.items())
    ]


def without_breaks(seconds: Sequence[float]) -> list[float]:
    """Lead times up to Tukey's outer fence; fewer than five are left as they are."""
    if len(seconds) < 5:
        return list(seconds)
    lower, _, upper = statistics.quantiles(seconds, n=4, method="inclusive")
    fence = upper + _FENCE * (upper - lower)
    return [value for value in seconds if value <= fence]


def _typical(seconds: Iterable[float | None]) -> float | None:
    measured = without_breaks([value for value in seconds if value is not None])
    return statistics.median(measured) if measured else None


def _agreement(answer: Answer, of_task: Sequence[Answer]) -> tuple[int, int]:
    """Marks of two people that the other made, too, and all of their marks, over all others."""
    marked = set(answer.entities)
    others = [set(other.entities) for other in of_task if other.annotator != answer.annotator]
    return 2 * sum(len(marked & other) for other in others), sum(len(marked) + len(other) for other in others)


def _pairs(its: Iterable[Answer], agreed: dict[tuple[str, int], tuple[int, int]]) -> list[tuple[int, int]]:
    return [agreed[key] for answer in its if (key := (answer.annotator, answer.task)) in agreed]


def _weeks(
    its: Iterable[Answer],
    agreed: dict[tuple[str, int], tuple[int, int]],
    acceptance: float | None,
    agreement: float | None,
) -> tuple[Week, ...]:
    by_week: dict[date, list[Answer]] = defaultdict(list)
    for answer in its:
        day = answer.moment.date()
        by_week[day - timedelta(days=day.weekday())].append(answer)
    return tuple(
        Week(
            monday,
            len({answer.task for answer in of_week}),
            _typical([answer.seconds for answer in of_week if not answer.blind]),
            _share([(answer.kept, answer.shown) for answer in of_week], acceptance),
            _share(_pairs(of_week, agreed), agreement, _PER_MARK),
        )
        for monday, of_week in sorted(by_week.items())
    )


def _pooled(counts: Sequence[tuple[int, int]]) -> float | None:
    total = sum(n for _, n in counts)
    return sum(hits for hits, _ in counts) / total if total else None


def _share(counts: Sequence[tuple[int, int]], everybody: float | None, weight: float = 1.0) -> Share | None:
    """``weight``: how many decisions one of the counted things is."""
    from scipy.stats import beta

    hits, n = sum(hits for hits, _ in counts), sum(n for _, n in counts)
    if not n or everybody is None:
        return None
    # Half a decision each way keeps the posterior proper where everybody always, or never, agrees.
    right = weight * hits + everybody * _PRIOR_DECISIONS + 0.5
    wrong = weight * (n - hits) + (1.0 - everybody) * _PRIOR_DECISIONS + 0.5
    low, high = beta.ppf([(1.0 - _LEVEL) / 2.0, (1.0 + _LEVEL) / 2.0], right, wrong)
    return Share(hits, n, right / (right + wrong), float(low), float(high))
