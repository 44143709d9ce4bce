"""Corpus mode as a projector."""

from __future__ import annotations

from collections.abc import Sequence

from xner_label.errors import ConfigurationError
from xner_label.projection.corpus.consistency import consistent_in_corpus
from xner_label.projection.corpus.evidence import Observations
from xner_label.projection.corpus.out_of_fold_tagger import Tagged
from xner_label.projection.corpus.rounds import (
    ChosenSpans,
    RoundEvidence,
    RoundModel,
    gather,
    project_round,
    tag_silver,
)
from xner_label.projection.loglinear.model import Model
from xner_label.projection.loglinear.weights_file import Round, Weights
from xner_label.projection.problem import Instance, Projection, Projections


class LogLinearCorpusProjector:
    """The default projector in the light of all sentences; ``cut`` is that of the last round.

    Raises ConfigurationError for weights that were fitted without corpus mode.
    """

    needs: frozenset[str] = frozenset()

    def __init__(self, weights: Weights) -> None:
        if not weights.rounds:
            raise ConfigurationError(
                "these weights know no corpus mode", hint="fit them with `xner-label fit-projector --corpus`"
            )
        self._rounds = weights.rounds
        self._model = Model(weights)
        self.cut = weights.rounds[-1].cut
        self.signature = f"log-linear-corpus:{weights.digest}{weights.script_note}"

    def project_corpus(self, instances: Sequence[Instance]) -> list[Projections]:
        """See :class:`xner_label.projection.problem.CorpusProjector`."""
        observations = Observations(instances, [self._model], [0] * len(instances))
        spans, _ = project_corpus(observations, self._rounds)
        results = [Projections() for _ in instances]
        for row in range(len(spans.sentence)):
            mention = int(spans.mention[row])
            projections = results[spans.sentence[row]]
            projections.append(
                Projection(
                    observations.place[mention] if mention >= 0 else None,
                    int(spans.first[row]),
                    int(spans.last[row]),
                    observations.labels[spans.label[row]],
                    float(spans.score[row]),
                    float(spans.confidence[row]),
                )
            )
            projections.exact &= bool(spans.exact[row])
        return [projections.in_order() for projections in results]


def project_corpus(observations: Observations, rounds: Sequence[Round]) -> tuple[ChosenSpans, RoundEvidence]:
    """The spans after the last round and its second stage, or after the last round that the corpus is large enough
    for, and the evidence of that round."""
    tagged: Tagged | None = None
    for number, weights in enumerate(rounds):
        evidence = gather(observations, tagged)
        chosen = project_round(observations, evidence, RoundModel(weights))
        if number + 1 < len(rounds):
            tagged = tag_silver(observations, chosen)
            if tagged is None:
                break
    return consistent_in_corpus(observations, evidence, weights, chosen), evidence
