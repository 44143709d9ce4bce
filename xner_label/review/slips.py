"""Likely slips among what people settled: entities to look at a second time, the likeliest first.

What speaks about a decision never learned from it (confident learning, Northcutt et al. 2021, arXiv 1911.00068): a
tagger trained on the other folds, the prediction made before the answer, and the same name in other sentences.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from math import exp, log

import msgspec

from xner_label.entities import Entity, ProjectedEntity, Tokens
from xner_label.iob2 import decode, tags_of
from xner_label.projection.corpus.evidence import TagMarginals, span_probability
from xner_label.projection.corpus.out_of_fold_tagger import Tagged, tag_out_of_fold
from xner_label.review.error_sources import ReviewedTask
from xner_label.word_forms import fold

# Weights of the log-odds of each witness; chosen on planted slips in Luganda, see docs/measurements.md.
_TAGGER, _PREDICTION, _NAME, _RIVAL = 0.9, 0.6, 0.8, 1.0
# No witness is surer than this.
_SUREST = 0.98


class Slip(msgspec.Struct, frozen=True):
    """A decision that may be a slip: an entity that was left standing (``marked``), or one that was not.

    ``suspicion`` (0..1, higher is likelier) orders slips and is no probability. ``tagger`` is P(exactly this
    entity) by a tagger that never saw the task, None where there is too little gold for one; ``predicted`` the
    confidence of the same entity in the prediction made before, 0 where it had none; ``same_name`` of
    ``other_names`` other settled entities of this text have this label.
    """

    task: str
    start: int
    end: int
    label: str
    text: str
    marked: bool
    suspicion: float
    tagger: float | None
    predicted: float
    same_name: int
    other_names: int


def likely_slips(tasks: Sequence[ReviewedTask], labels: Sequence[str]) -> list[Slip]:
    """Every settled entity, and every entity that tagger or prediction would have marked, the likeliest slips
    first."""
    names: dict[str, Counter[str]] = defaultdict(Counter)
    for task in tasks:
        for entity in task.gold:
            names[_name(task, entity)][entity.label] += 1
    tagged = tag_out_of_fold(
        [task.tokens.words() for task in tasks], [tags_of(task.tokens, task.gold) for task in tasks], labels
    )
    slips = [
        slip
        for number, task in enumerate(tasks)
        for slip in _Decisions(task, labels, names, tagged, number).slips()
    ]
    return sorted(slips, key=lambda slip: (-slip.suspicion, slip.task, slip.start))


class _Decisions:
    """What was decided in one task, and what speaks for and against it."""

    def __init__(
        self,
        task: ReviewedTask,
        labels: Sequence[str],
        names: dict[str, Counter[str]],
        tagged: Tagged | None,
        number: int,
    ) -> None:
        self._task = task
        self._labels = list(labels)
        self._names = names
        self._marginals: TagMarginals | None = None if tagged is None else tagged.marginals[number]
        self._gold = {_key(entity) for entity in task.gold}
        self._predicted = {_key(entity): entity.confidence for entity in task.predicted}
        proposed = [] if tagged is None else list(_entities(task.tokens, tagged.best[number]))
        self._rivals = {*self._predicted, *map(_key, proposed)} - self._gold

    def slips(self) -> Iterator[Slip]:
        """The settled entities, then those that stand alone and were not marked."""
        for entity in self._task.gold:
            rival = max((self._belief(other) for other in self._rivals if _meet(_key(entity), other)), default=0.0)
            yield self._slip(entity, marked=True, against=rival)
        for start, end, label in sorted(self._rivals):
            if not any(_meet((start, end, label), other) for other in self._gold):
                yield self._slip(Entity(start, end, label), marked=False, against=0.0)

    def _slip(self, entity: Entity, *, marked: bool, against: float) -> Slip:
        others = self._names.get(_name(self._task, entity), Counter())
        same, every = others[entity.label] - marked, sum(others.values()) - marked
        tagger, predicted = self._tagger(_key(entity)), self._predicted.get(_key(entity), 0.0)
        for_it = _PREDICTION * _log_odds(predicted) - _RIVAL * against
        if tagger is not None:
            for_it += _TAGGER * _log_odds(tagger)
        if every:
            for_it += _NAME * _log_odds((same + 0.5) / (every + 1.5))
        return Slip(
            self._task.id,
            entity.start,
            entity.end,
            entity.label,
            self._task.text[entity.start : entity.end],
            marked,
            1.0 / (1.0 + exp(for_it if marked else -for_it)),
            tagger,
            predicted,
            same,
            every,
        )

    def _belief(self, key: tuple[int, int, str]) -> float:
        return max(self._predicted.get(key, 0.0), self._tagger(key) or 0.0)

    def _tagger(self, key: tuple[int, int, str]) -> float | None:
        start, end, label = key
        if self._marginals is None or label not in self._labels:
            return None
        first, last, _ = self._task.tokens.covering(start, end)
        if first >= last:
            return 0.0
        return float(span_probability(self._marginals, first, last)[self._labels.index(label)])


def _entities(tokens: Tokens, tags: Sequence[str]) -> Iterator[Entity]:
    for first, last, label in decode(tags):
        span = tokens.span(first, last)
        yield Entity(span.start, span.end, label)


def _name(task: ReviewedTask, entity: Entity) -> str:
    return fold(task.text[entity.start : entity.end])


def _key(entity: Entity | ProjectedEntity) -> tuple[int, int, str]:
    return entity.start, entity.end, entity.label


def _meet(left: tuple[int, int, str], right: tuple[int, int, str]) -> bool:
    return left[0] < right[1] and right[0] < left[1]


def _log_odds(probability: float) -> float:
    bounded = min(max(probability, 1.0 - _SUREST), _SUREST)
    return log(bounded / (1.0 - bounded))
