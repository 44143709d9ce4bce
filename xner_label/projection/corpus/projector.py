"""Corpus mode as a projector."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from hashlib import sha256

import msgspec

from xner_label.errors import ConfigurationError
from xner_label.projection.corpus.evidence import (
    Observations,
)
from xner_label.projection.corpus.rounds import project_corpus
from xner_label.projection.loglinear.model import Model
from xner_label.projection.loglinear.weights_file import Weights
from xner_label.projection.problem import Instance, Projection


class CorpusProjector:
    """The projector of corpus mode: :meth:`learn` sees all instances, then each is answered.

    The signature names the corpus too, since every answer depends on all of it. ``cut`` is the default cut on
    the confidence. Raises ConfigurationError for weights that were fitted without corpus mode.
    """

    needs: frozenset[str] = frozenset()

    def __init__(self, weights: Weights) -> None:
        if not weights.rounds:
            raise ConfigurationError(
                "these weights know no corpus mode", hint="fit them with `xner-label fit-projector --corpus`"
            )
        self._weights = weights
        self._model = Model(weights)
        self._projections_of: dict[Hashable, list[Projection]] = {}
        self.cut = weights.rounds[-1].cut
        self.signature = f"log-linear-corpus:{weights.digest}"

    def learn(self, instances: Sequence[Instance]) -> None:
        """Project the corpus."""
        keys = list(map(_key, instances))
        self._projections_of = dict(zip(keys, self._projections(instances), strict=True))
        self.signature = f"log-linear-corpus:{self._weights.digest}:{_digest(keys)}"

    def project(self, instances: Sequence[Instance]) -> list[list[Projection]]:
        """See :class:`Projector`; instances that weren't learned from are taken as another corpus."""
        unknown = [instance for instance in instances if _key(instance) not in self._projections_of]
        others = dict(zip(map(_key, unknown), self._projections(unknown), strict=True)) if unknown else {}
        learned = self._projections_of
        return [learned[key] if (key := _key(instance)) in learned else others[key] for instance in instances]

    def _projections(self, instances: Sequence[Instance]) -> list[list[Projection]]:
        observations = Observations(instances, [self._model], [0] * len(instances))
        spans, _ = project_corpus(observations, self._weights.rounds)
        results: list[list[Projection]] = [[] for _ in instances]
        for row in range(len(spans.sentence)):
            mention = int(spans.mention[row])
            results[spans.sentence[row]].append(
                Projection(
                    observations.place[mention] if mention >= 0 else None,
                    int(spans.first[row]),
                    int(spans.last[row]),
                    observations.labels[spans.label[row]],
                    float(spans.score[row]),
                    float(spans.confidence[row]),
                    bool(spans.exact[row]),
                )
            )
        return [sorted(projections, key=_first_token) for projections in results]


def _first_token(projection: Projection) -> int:
    return projection.first


def _key(instance: Instance) -> Hashable:
    return instance.target.text, instance.source.text, instance.mentions, instance.links


def _digest(keys: Sequence[Hashable]) -> str:
    """A short hash of a corpus, in whatever order it came."""
    lines = sorted(msgspec.json.encode(key) for key in keys)
    return sha256(b"\n".join(lines)).hexdigest()[:10]
