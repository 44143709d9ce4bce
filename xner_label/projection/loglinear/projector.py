"""The default projector: a fitted log-linear score with a "not projected" option.

For mention m with candidates t, features f(m,t) of a candidate and g(m) of the mention itself,

    s(m,t) = w . f(m,t) - u . g(m)

are the log-odds of m landing on t against its not being projected, and a matching x without overlaps has the
probability exp(sum s(m,t) x[m,t]) / Z (see :mod:`marginals`). A mention that competes with nobody has
P(t) = exp(s(t)) / (1 + sum exp(s)). Spans are chosen to maximise the expected number of right ones: the matching
with the largest sum of marginals. Weights differ for source entities that a person gave, that a tagger gave, and
for names that the tagger overlooked (see :mod:`mentions`), which take part where it found something and the label
regression (see :mod:`label_regression`) knows its labels; a label that a person gave never changes. The confidence
is

    sigmoid(a + b logit P(span) + c logit P(label))

with a, b, c fitted too; the default cut on it maximised F1 on the data that the weights were fitted on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xner_label.projection.loglinear.columns import Vocabulary
from xner_label.projection.loglinear.decoding import solve
from xner_label.projection.loglinear.mentions import matched_mentions
from xner_label.projection.loglinear.model import BATCH, Model, SentenceBatch, calibrated_confidence
from xner_label.projection.loglinear.weights_file import Weights
from xner_label.projection.problem import Instance, Projection, Projections

MAX_TYPES = 200_000  # a vocabulary that outgrows this starts afresh: flat memory on endless streams


class LogLinearProjector:
    """The projector of this module's docstring; ``cut`` is the confidence below which it would leave out."""

    needs: frozenset[str] = frozenset()

    def __init__(self, weights: Weights) -> None:
        self.cut = weights.cut
        self.signature = f"log-linear:{weights.digest}{weights.script_note}"
        self._model = Model(weights)
        self._vocabulary = Vocabulary()

    def project(self, instances: Sequence[Instance]) -> list[Projections]:
        """See :class:`xner_label.projection.problem.Projector`. Nothing is cut here."""
        results = [Projections() for _ in instances]
        solvable = [n for n, instance in enumerate(instances) if instance.mentions and len(instance.target)]
        for start in range(0, len(solvable), BATCH):
            numbers = solvable[start : start + BATCH]
            if len(self._vocabulary) > MAX_TYPES:
                self._vocabulary = Vocabulary()
            matched = [self._matched(instances[number]) for number in numbers]
            batch = SentenceBatch([instance for instance, _ in matched], self._vocabulary)
            places = [place for _, mention_places in matched for place in mention_places]
            for number, projections in zip(numbers, self._projections(batch, places), strict=True):
                results[number] = projections
        return results

    def _matched(self, instance: Instance) -> tuple[Instance, Sequence[int | None]]:
        known = self._model.known
        tagged = any(mention.score is not None and mention.label in known for mention in instance.mentions)
        return matched_mentions(instance, overlooked=tagged)

    def _projections(self, batch: SentenceBatch, places: Sequence[int | None]) -> list[Projections]:
        columns, candidates = batch.columns, batch.candidates
        results = [Projections() for _ in range(len(columns.target_at) - 1)]
        scores = batch.log_odds(self._model)
        probability, chosen, exact = solve(candidates, scores)
        for number in columns.sentence[~exact].tolist():
            results[number].exact = False
        labels, label_probability = batch.labels(self._model)
        mentions = np.flatnonzero(chosen >= 0)
        picked = chosen[mentions]
        weight_set = columns.weight_set[mentions]
        p_span, p_label = probability[picked], label_probability[mentions]
        sureness = calibrated_confidence(p_span, p_label, weight_set, self._model.calibration)
        sentence = columns.sentence[mentions]
        start = columns.target_at[sentence]
        rows = zip(
            sentence.tolist(),
            [places[mention] for mention in mentions.tolist()],
            (candidates.first[picked] - start).tolist(),
            (candidates.last[picked] - start).tolist(),
            [labels[mention] for mention in mentions.tolist()],
            scores[picked].tolist(),
            sureness.tolist(),
            strict=True,
        )
        for number, place, first, last, label, score, confidence in rows:
            results[number].append(Projection(place, first, last, label, score, confidence))
        for projections in results:
            projections.in_order()
        return results
