"""Corrections that spread: what people settled in some sentences informs the projection of all others.

1. The reviewed sentences are clamped in the evidence (:mod:`corpus.settled`).
2. The round before the last is projected with them, its tagger as it is without any answer.
3. The target tagger of the last round is trained anew, out of fold, on what people settled and on what that round
   made of the other sentences.
4. The last round's weights are adapted (:mod:`adaptation`), and everything is projected once more.
5. What people marked is looked for wherever else it stands (:mod:`corpus.gazetteer`).

So the result depends on the corpus and on the answers, not on when they came: no tagger learns from what another
one made of earlier answers, and without answers the result is that of corpus mode. Learning from more answers
costs one training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from xner_label.iob2 import decode
from xner_label.projection.corpus.evidence import Observations, span_probability
from xner_label.projection.corpus.out_of_fold_tagger import Tagged
from xner_label.projection.corpus.rounds import (
    ChosenSpans,
    RoundModel,
    gather,
    project_round,
    tag_silver,
    with_answers,
)
from xner_label.projection.corpus.settled import Gold, NameAnswers, Settled, settle
from xner_label.projection.fitting.adaptation import Adapted, adapt, review_folds
from xner_label.projection.fitting.gazetteer import with_learned_gazetteer
from xner_label.projection.loglinear.columns import Floats
from xner_label.projection.loglinear.weights_file import Round


class Spread(NamedTuple):
    """A corpus projected in the light of what people settled in it."""

    chosen: ChosenSpans
    adapted: Adapted
    tagged: Tagged | None

    @property
    def cut(self) -> float:
        """The confidence below which spans are left out."""
        return self.adapted.round.cut

    def disagreement(self, observations: Observations) -> Floats | None:
        """(S,) how many spans the target tagger, which never saw the sentence, would change; None without one.

        For each span shown the probability that the tagger gives anything else, and for each of the tagger's own
        that isn't shown its probability.
        """
        if self.tagged is None:
            return None
        total = np.zeros(len(observations.instances))
        places = {label: place for place, label in enumerate(observations.labels)}
        kept = self.chosen.select(self.chosen.confidence >= self.cut)
        shown: dict[int, set[tuple[int, int, int]]] = {}
        rows = (kept.sentence, kept.first, kept.last, kept.label)
        for number, first, last, label in zip(*(column.tolist() for column in rows), strict=True):
            marginals = self.tagged.marginals[number]
            if marginals is not None:
                total[number] += 1.0 - span_probability(marginals, first, last)[label]
                shown.setdefault(number, set()).add((first, last, label))
        for number, (marginals, tags) in enumerate(zip(self.tagged.marginals, self.tagged.best, strict=True)):
            if marginals is not None:
                for first, last, name in decode(tags):
                    if (first, last, places[name]) not in shown.get(number, ()):
                        total[number] += span_probability(marginals, first, last)[places[name]]
        return total


def early_tags(observations: Observations, rounds: Sequence[Round]) -> Tagged | None:
    """What the tagger of the round before the last says where nobody has said anything; None without one."""
    tagged: Tagged | None = None
    for weights in rounds[:-2]:
        evidence = gather(observations, tagged)
        tagged = tag_silver(observations, project_round(observations, evidence, RoundModel(weights)))
        if tagged is None:
            break
    return tagged


def silver_of(
    observations: Observations, rounds: Sequence[Round], early: Tagged | None, settled: Settled
) -> ChosenSpans:
    """The spans of the round before the last, which the tagger of the last one learns from.

    ``early``: :func:`early_tags` of the corpus.
    """
    weights = rounds[0] if early is None else rounds[-2]
    return project_round(observations, gather(observations, early, settled), RoundModel(weights))


def spread(
    observations: Observations,
    rounds: Sequence[Round],
    early: Tagged | None,
    gold: Gold,
    answers: NameAnswers | None = None,
) -> Spread:
    """Project a corpus in the light of ``gold``, the entities of reviewed sentences, and of answers about names.

    ``early``: :func:`early_tags` of the corpus.
    """
    settled = settle(observations, gold, answers)
    silver = silver_of(observations, rounds, early, settled)
    if answers is not None:
        silver = with_answers(silver, answers)
    tagged = tag_silver(observations, silver, gold) if len(rounds) > 1 else None
    last = rounds[-1] if tagged is not None else rounds[0]
    adapted, chosen = adapt(observations, gather(observations, tagged, settled), settled, gold, last)
    if answers is not None:
        chosen = with_answers(chosen, answers)
    if gold or answers is not None:
        folds = review_folds(observations)
        gazetteer, chosen = with_learned_gazetteer(observations, chosen, tagged, settled, gold, answers, folds)
        adapted = msgspec.structs.replace(adapted, gazetteer=gazetteer)
    return Spread(chosen, adapted, tagged)
