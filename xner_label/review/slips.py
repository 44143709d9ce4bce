"""Likely slips among what people settled: entities to look at a second time, the likeliest first.

What speaks about a decision never learned from it (confident learning, Northcutt et al. 2021, arXiv 1911.00068): a
tagger trained on the other folds, the prediction made before the answer, and the same name in other sentences. How
much each of these witnesses is worth differs between languages, and is learned from slips that are made up: every
settled entity is told from what it would look like dropped, with another label, and a word longer or shorter (two
logistic regressions, for what was marked and for what wasn't).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from math import exp, log

import msgspec
import numpy as np

from xner_label.entities import Entity, ProjectedEntity, Tokens
from xner_label.iob2 import decode, tags_of
from xner_label.projection.corpus.evidence import TagMarginals, span_probability
from xner_label.projection.corpus.out_of_fold_tagger import Tagged, tag_out_of_fold
from xner_label.projection.fitting.optimisation import logistic, minimise
from xner_label.projection.loglinear.columns import Floats
from xner_label.review.error_sources import ReviewedTask
from xner_label.word_forms import fold

# What speaks about a decision, as log-odds, apart from 1 and whether the name stands elsewhere. Priors of the
# weights for what was marked and for what wasn't, and their precision; chosen on planted slips in Luganda, see
# docs/measurements.md.
_WITNESSES = ("bias", "prediction", "tagger", "name", "is_elsewhere", "rival")
_MARKED, _UNMARKED = (-2.0, -0.6, -0.9, -0.8, 0.0, 0.3), (-2.0, 0.6, 0.9, 0.8, 0.0, 0.0)
_PRECISION = 0.1
# The share of decisions that are taken to be slips of each of three kinds.
_SPOILT = 0.05 / 3
# No witness is surer than this.
_SUREST = 0.98

_Key = tuple[int, int, str]


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
    first. Deterministic."""
    names: dict[str, Counter[str]] = defaultdict(Counter)
    for task in tasks:
        for entity in task.gold:
            names[_name(task, entity)][entity.label] += 1
    tagged = tag_out_of_fold(
        [task.tokens.words() for task in tasks], [tags_of(task.tokens, task.gold) for task in tasks], labels
    )
    decided = [_Decisions(task, labels, names, tagged, number) for number, task in enumerate(tasks)]
    draw = np.random.default_rng(0)
    made_up = [row for decisions in decided for row in decisions.made_up(draw)]
    settled = [row for decisions in decided for row in decisions.settled()]
    marked, unmarked = (
        _fitted(
            [row.witnesses for row in settled if row.marked == which],
            [witnesses for of_marked, witnesses in made_up if of_marked == which],
            prior,
        )
        for which, prior in ((True, _MARKED), (False, _UNMARKED))
    )
    slips = [row.slip(marked if row.marked else unmarked) for row in settled]
    return sorted(slips, key=lambda slip: (-slip.suspicion, slip.task, slip.start))


def _fitted(
    settled: Sequence[Sequence[float]], made_up: Sequence[Sequence[float]], prior: Sequence[float]
) -> Floats:
    """What each witness is worth where decisions are told from slips."""
    table = np.array([*settled, *made_up], np.float64).reshape(-1, len(_WITNESSES))
    slip = np.arange(len(table)) >= len(settled)
    worth = np.where(slip, _SPOILT, 1.0)
    return minimise(logistic(table, slip, worth), np.array(prior), np.full(len(prior), _PRECISION))


class _Decision(msgspec.Struct, frozen=True):
    """A decision of people, and what speaks about it."""

    task: ReviewedTask
    entity: Entity
    marked: bool
    witnesses: list[float]
    tagger: float | None
    predicted: float
    same_name: int
    other_names: int

    def slip(self, weights: Floats) -> Slip:
        odds = float(np.array(self.witnesses) @ weights)
        return Slip(
            self.task.id,
            self.entity.start,
            self.entity.end,
            self.entity.label,
            self.task.text[self.entity.start : self.entity.end],
            self.marked,
            1.0 / (1.0 + exp(-odds)),
            self.tagger,
            self.predicted,
            self.same_name,
            self.other_names,
        )


class _Decisions:
    """What was decided in one task, and what speaks for and against it."""

    def __init__(
        self,
        task: ReviewedTask,
        labels: Sequence[str],
        names: Mapping[str, Counter[str]],
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
        self._proposed = {*self._predicted, *map(_key, proposed)}

    def settled(self) -> Iterator[_Decision]:
        """The settled entities, then the proposed ones that stand alone and were not marked."""
        for entity in self._task.gold:
            yield self._decision(_key(entity), self._gold, entity, marked=True)
        for key in sorted(self._proposed - self._gold):
            if not any(_meet(key, other) for other in self._gold):
                yield self._decision(key, self._gold, None, marked=False)

    def made_up(self, draw: np.random.Generator) -> Iterator[tuple[bool, list[float]]]:
        """Whether it would be marked, and the witnesses, of slips that each settled entity could have become."""
        for entity in self._task.gold:
            key = _key(entity)
            others = self._gold - {key}
            # dropped, it is listed only where something proposes it
            if key in self._proposed and not any(_meet(key, other) for other in others):
                yield False, self._decision(key, others, entity, marked=False).witnesses
            for spoilt in (self._relabelled(key, draw), self._moved(key, draw)):
                if spoilt is not None:
                    yield True, self._decision(spoilt, {*others, spoilt}, entity, marked=True).witnesses

    def _relabelled(self, key: _Key, draw: np.random.Generator) -> _Key | None:
        labels = [label for label in self._labels if label != key[2]]
        return (key[0], key[1], labels[draw.integers(len(labels))]) if labels else None

    def _moved(self, key: _Key, draw: np.random.Generator) -> _Key | None:
        """With one of its borders a word away."""
        tokens = self._task.tokens
        first, last, _ = tokens.covering(key[0], key[1])
        spans = [(first - 1, last), (first + 1, last), (first, last - 1), (first, last + 1)]
        spans = [(left, right) for left, right in spans if 0 <= left < right <= len(tokens)]
        if first >= last or not spans:
            return None
        span = tokens.span(*spans[draw.integers(len(spans))])
        return span.start, span.end, key[2]

    def _decision(
        self, key: _Key, settled: AbstractSet[_Key], without: Entity | None, *, marked: bool
    ) -> _Decision:
        """What speaks about an entity among those that are ``settled``; ``without`` is not counted among the
        names."""
        entity = Entity(*key)
        name = _name(self._task, entity)
        others = self._names.get(name, Counter())
        same, every = others[entity.label], sum(others.values())
        if without is not None and _name(self._task, without) == name:
            same, every = same - (without.label == entity.label), every - 1
        rivals = self._proposed - settled - {key}
        rival = max((self._belief(other) for other in rivals if _meet(key, other)), default=0.0)
        tagger, predicted = self._tagger(key), self._predicted.get(key, 0.0)
        witnesses = [
            1.0,
            _log_odds(predicted),
            0.0 if tagger is None else _log_odds(tagger),
            _log_odds((same + 0.5) / (every + 1.5)) if every else 0.0,
            float(every > 0),
            _log_odds(rival),
        ]
        return _Decision(self._task, entity, marked, witnesses, tagger, predicted, same, every)

    def _belief(self, key: _Key) -> float:
        return max(self._predicted.get(key, 0.0), self._tagger(key) or 0.0)

    def _tagger(self, key: _Key) -> float | None:
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


def _key(entity: Entity | ProjectedEntity) -> _Key:
    return entity.start, entity.end, entity.label


def _meet(left: _Key, right: _Key) -> bool:
    return left[0] < right[1] and right[0] < left[1]


def _log_odds(probability: float) -> float:
    bounded = min(max(probability, 1.0 - _SUREST), _SUREST)
    return log(bounded / (1.0 - bounded))
