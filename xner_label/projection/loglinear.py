"""The default projector: a fitted log-linear score with a "not projected" option.

For mention m with candidates t, features f(m,t) of a candidate and g(m) of the mention itself,

    s(m,t) = w . f(m,t) - u . g(m)

are the log-odds of m landing on t against its not being projected, and a matching x without overlaps has the
probability exp(sum s(m,t) x[m,t]) / Z (see :mod:`marginals`). A mention that competes with nobody has
P(t) = exp(s(t)) / (1 + sum exp(s)). Spans are chosen to maximise the expected number of right ones: the matching
with the largest sum of marginals. Weights differ for source entities that a person gave, that a tagger gave, and
for names that the tagger overlooked (see :mod:`mentions`), which take part where it found something and the label
regression (see :mod:`labelling`) knows its labels; a label that a person gave never changes. The confidence is

    sigmoid(a + b logit P(span) + c logit P(label))

with a, b, c fitted too; the default cut on it maximised F1 on the data that the weights were fitted on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xner_label.projection.columns import GIVEN, Bools, Columns, Floats, Ints, Vocabulary
from xner_label.projection.decoding import solve
from xner_label.projection.features import CANDIDATE_FEATURES, MENTION_FEATURES, build_features
from xner_label.projection.instance import Instance, Projection
from xner_label.projection.labelling import label_observations, label_probabilities
from xner_label.projection.mentions import NAMELESS, matched_mentions
from xner_label.projection.parameters import Weights
from xner_label.projection.windows import Candidates, build_candidates, build_grid

BATCH = 256  # sentences
MAX_TYPES = 200_000  # a vocabulary that outgrows this starts afresh: flat memory on endless streams
_ROUND = float(2**30)  # scores are rounded, so that the order of summation can't show
_LOGIT_LIMIT = 12.0


class Model:
    """Weights as arrays.

    candidate: (len(CANDIDATE_FEATURES), 3), mention: (len(MENTION_FEATURES), 3), calibration: (3, 3),
    by GIVEN, TAGGED and OVERLOOKED; label: (BUCKETS, len(known))
    """

    def __init__(self, weights: Weights) -> None:
        kinds = (weights.given, weights.tagged, weights.overlooked)
        self.candidate: Floats = np.array(
            [[own.candidate.get(name, 0.0) for own in kinds] for name in CANDIDATE_FEATURES]
        )
        self.mention: Floats = np.array(
            [[own.mention.get(name, 0.0) for own in kinds] for name in MENTION_FEATURES]
        )
        self.calibration: Floats = np.array([own.calibration for own in kinds])
        self.known = weights.label.labels
        self.label: Floats = weights.label.table()


class Batch:
    """Columns, candidates and features of a batch, and what weights make of them."""

    def __init__(self, instances: Sequence[Instance], vocabulary: Vocabulary) -> None:
        self.columns = Columns(instances, vocabulary)
        grid = build_grid(self.columns)
        self.found: Candidates = build_candidates(self.columns, grid)
        self.features = build_features(self.columns, grid, self.found)

    def log_odds(self, model: Model) -> Floats:
        """(C,) s(m,t), multiples of 2**-30."""
        kind, mention = self.columns.kind, self.found.mention
        own = self.features.candidate @ model.candidate
        null = self.features.mention @ model.mention
        scores = own[np.arange(len(own)), kind[mention]] - null[mention, kind[mention]]
        result: Floats = np.rint(scores * _ROUND) / _ROUND
        return result

    def labels(self, model: Model) -> tuple[list[str], Floats]:
        """The label of each mention and its probability, shape (M,); 1 where labels aren't touched."""
        columns, known = self.columns, model.known
        names = [columns.labels[number] for number in columns.label.tolist()]
        probability = np.ones(len(names))
        open_ = np.flatnonzero(self.relabelled(known))
        if not len(open_):
            return names, probability
        answers = label_probabilities(label_observations(columns, known)[open_], model.label)
        answers = np.rint(answers * _ROUND) / _ROUND
        for mention, choice in zip(open_.tolist(), answers.argmax(axis=1).tolist(), strict=True):
            names[mention] = known[choice]
        probability[open_] = answers.max(axis=1)
        return names, probability

    def relabelled(self, known: Sequence[str]) -> Bools:
        """(M,) whether the label regression speaks: overlooked mentions, and tagged ones with a label it knows."""
        inside = np.array([name in known or name == NAMELESS for name in self.columns.labels], bool)
        result: Bools = self.columns.scored & inside[self.columns.label]
        return result


def logit(probability: Floats) -> Floats:
    """Log-odds, limited to +-12."""
    with np.errstate(divide="ignore"):
        result: Floats = np.clip(np.log(probability) - np.log1p(-probability), -_LOGIT_LIMIT, _LOGIT_LIMIT)
    return result


def confidence(span: Floats, label: Floats, kind: Ints, model: Model) -> Floats:
    """P(exactly right) from P(span) and P(label), each of shape (n,)."""
    numbers = model.calibration[kind]
    odds = numbers[:, 0] + numbers[:, 1] * logit(span) + numbers[:, 2] * logit(label) * (kind != GIVEN)
    result: Floats = 1.0 / (1.0 + np.exp(-odds))
    return result


class LogLinearProjector:
    """The projector of this module's docstring; ``cut`` is the confidence below which it would leave out."""

    needs: frozenset[str] = frozenset()

    def __init__(self, weights: Weights) -> None:
        self.cut = weights.cut
        self.signature = f"log-linear:{weights.digest}"
        self._model = Model(weights)
        self._vocabulary = Vocabulary()

    def project(self, instances: Sequence[Instance]) -> list[list[Projection]]:
        """See :class:`xner_label.projection.instance.Projector`. Nothing is cut here."""
        results: list[list[Projection]] = [[] for _ in instances]
        busy = [number for number, own in enumerate(instances) if own.mentions and len(own.target)]
        for start in range(0, len(busy), BATCH):
            numbers = busy[start : start + BATCH]
            if len(self._vocabulary) > MAX_TYPES:
                self._vocabulary = Vocabulary()
            matched = [self._matched(instances[number]) for number in numbers]
            batch = Batch([instance for instance, _ in matched], self._vocabulary)
            places = [place for _, own in matched for place in own]
            for number, own in zip(numbers, self._projections(batch, places), strict=True):
                results[number] = own
        return results

    def _matched(self, instance: Instance) -> tuple[Instance, Sequence[int | None]]:
        known = self._model.known
        tagged = any(mention.score is not None and mention.label in known for mention in instance.mentions)
        return matched_mentions(instance, overlooked=tagged)

    def _projections(self, batch: Batch, places: Sequence[int | None]) -> list[list[Projection]]:
        columns, found = batch.columns, batch.found
        results: list[list[Projection]] = [[] for _ in range(len(columns.target_at) - 1)]
        scores = batch.log_odds(self._model)
        probability, chosen, exact = solve(found, scores)
        labels, label_probability = batch.labels(self._model)
        mentions = np.flatnonzero(chosen >= 0)
        picked = chosen[mentions]
        sure = confidence(probability[picked], label_probability[mentions], columns.kind[mentions], self._model)
        sentence = columns.sentence[mentions]
        start = columns.target_at[sentence]
        rows = zip(
            sentence.tolist(),
            [places[mention] for mention in mentions.tolist()],
            (found.first[picked] - start).tolist(),
            (found.last[picked] - start).tolist(),
            [labels[mention] for mention in mentions.tolist()],
            scores[picked].tolist(),
            sure.tolist(),
            exact[mentions].tolist(),
            strict=True,
        )
        for number, *projection in rows:
            results[number].append(Projection(*projection))
        for own in results:
            if len(own) > 1:
                own.sort(key=_first)
        return results


def _first(projection: Projection) -> int:
    return projection.first
