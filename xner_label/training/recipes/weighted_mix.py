"""Weighted mix: gold, several times (``training.rules.gold_weight``), and silver side by side.

Best wherever the silver is good, as that of corpus mode is, at any amount of gold (docs/measurements.md).
"""

from __future__ import annotations

from collections.abc import Collection

from xner_label.stages.tagging.crf import CrfTagger
from xner_label.training.recipes.material import Material

stage = "mixed"


def fit(material: Material, without: Collection[int] = ()) -> CrfTagger:
    """Learn from silver and from gold but for the places in ``without``."""
    return material.learn_all(without)


def tag(material: Material, tagger: CrfTagger, place: int) -> list[str]:
    """The tags of a gold sentence."""
    return tagger.tag_words(material.gold_words[place])
