"""What a tagger of the target language says: by itself, and together with a projection.

Transfer is model transfer without translation: a multilingual tagger on the target text. The ensemble is that of
translate-train and translate-test (Ebing and Glavaš 2025, arXiv 2505.10507): the mean of the probabilities that
the two give to each token's tags, where the tagger is one that was trained on translated data, and the projection
that of the source's entities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xner_label.iob2 import decode
from xner_label.projection.problem import Instance, Projection, Projections, Projector

OUTSIDE = "O"
# What a projection's silence weighs, as in training on silver.
OUTSIDE_WEIGHT = 0.5
TagProbabilities = Sequence[Mapping[str, float]]


def tagged(probabilities: TagProbabilities) -> list[Projection]:
    """The entities of the most probable tag of each token; of equal ones ``O`` is taken, then the first by name.

    An entity's score is the lowest probability among its tokens' tags. It has no mention.
    """
    best = [
        max([OUTSIDE, *sorted(of_token.keys() - {OUTSIDE})], key=lambda tag: of_token.get(tag, 0.0))
        for of_token in probabilities
    ]
    entities = []
    for first, last, label in decode(best):
        score = min(probabilities[token].get(best[token], 0.0) for token in range(first, last))
        entities.append(Projection(None, first, last, label, score, min(max(score, 0.0), 1.0)))
    return entities


class TransferProjector:
    """The target tagger's entities; a source is neither needed nor looked at."""

    signature = "transfer"
    needs = frozenset({"target_tags"})
    cut = 0.0
    without_source = True

    def project(self, instances: Sequence[Instance]) -> list[Projections]:
        """See :class:`xner_label.projection.problem.Projector`."""
        return [Projections(tagged(instance.target_tags or ())) for instance in instances]


class EnsembleProjector:
    """The mean of a projection's and the target tagger's probabilities of each token's tags:

        P(tag | l) = (P_train(tag | l) + w P_test(tag | l)) / (1 + w)

    P_train is the target tagger's. P_test gives the tags of a projected entity its confidence and what is left of
    it to ``O``, with w = 1; a token that no entity covers is all ``O``, with w = ``OUTSIDE_WEIGHT``: a projection
    misses entities, and with w = 1 none that the tagger alone sees could ever win. The most probable tags make the
    entities; one that the projection has with the same span and label keeps its mention.
    """

    def __init__(self, projector: Projector) -> None:
        self._projector = projector
        self.signature = f"ensemble({projector.signature})"
        self.needs = projector.needs | {"target_tags"}
        self.cut = 0.0

    def project(self, instances: Sequence[Instance]) -> list[Projections]:
        """See :class:`xner_label.projection.problem.Projector`."""
        return [
            _averaged(instance, projections)
            for instance, projections in zip(instances, self._projector.project(instances), strict=True)
        ]


def _averaged(instance: Instance, projected: Projections) -> Projections:
    by_projection: list[dict[str, float]] = [{OUTSIDE: 1.0} for _ in range(len(instance.target))]
    weights = [OUTSIDE_WEIGHT] * len(instance.target)
    for entity in projected:
        for token in range(entity.first, entity.last):
            tag = f"{'B' if token == entity.first else 'I'}-{entity.label}"
            by_projection[token] = {tag: entity.confidence, OUTSIDE: 1.0 - entity.confidence}
            weights[token] = 1.0
    by_tagger = instance.target_tags or [{OUTSIDE: 1.0}] * len(instance.target)
    mean = [
        {
            tag: (weight * projection.get(tag, 0.0) + tagger.get(tag, 0.0)) / (1.0 + weight)
            for tag in projection.keys() | tagger.keys()
        }
        for weight, projection, tagger in zip(weights, by_projection, by_tagger, strict=True)
    ]
    mentions = {(entity.first, entity.last, entity.label): entity.mention for entity in projected}
    result = Projections(
        Projection(
            mentions.get((entity.first, entity.last, entity.label)),
            *(entity.first, entity.last, entity.label, entity.score, entity.confidence),
        )
        for entity in tagged(mean)
    )
    result.exact = projected.exact
    return result
