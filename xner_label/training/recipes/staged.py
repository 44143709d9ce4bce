"""Staged: gold alone is learned, what a teacher of silver alone says being an observation.

Stacking (Wolpert 1992); in Liang et al. 2020 (arXiv 2106.08977) gold comes last, too. Silver helps as evidence
where it would hurt as truth.
"""

from __future__ import annotations

from collections.abc import Collection

from xner_label.stages.tagging.crf import CrfTagger
from xner_label.training.recipes.material import Material

stage = "text"


def fit(material: Material, without: Collection[int] = ()) -> CrfTagger:
    """Learn from gold but for the places in ``without``, with the teacher's word beside it."""
    return material.learn_gold(without, material.gold_hints)


def tag(material: Material, tagger: CrfTagger, place: int) -> list[str]:
    """The tags of a gold sentence."""
    return tagger.tag_words(material.gold_words[place], material.gold_hints[place])
