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
        self._answers: dict[Hashable, list[Projection]] = {}
        self.cut = weights.rounds[-1].cut
        self.signature = f"log-linear-corpus:{weights.digest}"

    def learn(self, instances: Sequence[Instance]) -> None:
        """Project the corpus."""
        keys = list(map(_key, instances))
        self._answers = dict(zip(keys, self._projections(instances), strict=True))
        self.signature = f"log-linear-corpus:{self._weights.digest}:{_digest(keys)}"

    def project(self, instances: Sequence[Instance]) -> list[list[Projection]]:
        """The answers; instances that weren't learned from are taken as a corpus of their own."""
        unknown = [instance for instance in instances if _key(instance) not in self._answers]
        others = dict(zip(map(_key, unknown), self._projections(unknown), strict=True)) if unknown else {}
        known = self._answers
        return [known[key] if (key := _key(instance)) in known else others[key] for instance in instances]

    def _projections(self, instances: Sequence[Instance]) -> list[list[Projection]]:
        seen = Observations(instances, [self._model], [0] * len(instances))
        chosen, _ = project_corpus(seen, self._weights.rounds)
        results: list[list[Projection]] = [[] for _ in instances]
        for row in range(len(chosen.sentence)):
            mention = int(chosen.mention[row])
            results[chosen.sentence[row]].append(
                Projection(
                    seen.place[mention] if mention >= 0 else None,
                    int(chosen.first[row]),
                    int(chosen.last[row]),
                    seen.labels[chosen.label[row]],
                    float(chosen.score[row]),
                    float(chosen.confidence[row]),
                    bool(chosen.exact[row]),
                )
            )
        return [sorted(own, key=_first) for own in results]


def _first(projection: Projection) -> int:
    return projection.first


def _key(instance: Instance) -> Hashable:
    return instance.target.text, instance.source.text, instance.mentions, instance.links


def _digest(keys: Sequence[Hashable]) -> str:
    """A short hash of a corpus, in whatever order it came."""
    lines = sorted(msgspec.json.encode(key) for key in keys)
    return sha256(b"\n".join(lines)).hexdigest()[:10]
