"""Corrections that spread: what people settled in some sentences informs the projection of all others.

1. The reviewed sentences are clamped in the evidence (:mod:`corpus.settled`).
2. The target tagger is trained anew, out of fold, on what people settled and on the projections of the state
   before.
3. The last round's weights are adapted (:mod:`adaptation`), and everything is projected once more.

One training a time: the rounds before the last aren't run again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from xner_label.projection.corpus.evidence import Observations
from xner_label.projection.corpus.out_of_fold_tagger import Tagged
from xner_label.projection.corpus.rounds import ChosenSpans, gather, project_corpus, tag_silver
from xner_label.projection.corpus.settled import Gold, settle
from xner_label.projection.fitting.adaptation import Adapted, adapt
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


def spread(
    observations: Observations, rounds: Sequence[Round], gold: Gold, before: ChosenSpans | None = None
) -> Spread:
    """Project a corpus in the light of ``gold``, the entities of reviewed sentences.

    ``before``: the spans of an earlier state, which the target tagger learns from beside the gold; None to make
    them by running all rounds without the gold.
    """
    if before is None:
        before, _ = project_corpus(observations, rounds)
    tagged = tag_silver(observations, before, gold)
    settled = settle(observations, gold)
    last = rounds[-1] if tagged is not None else rounds[0]
    adapted, chosen = adapt(observations, gather(observations, tagged, settled), settled, gold, last)
    return Spread(chosen, adapted, tagged)
