"""Gold only: what people settled, and nothing else. For silver that is worth nothing, or where there is none."""

from __future__ import annotations

from collections.abc import Collection

from xner_label.stages.tagging.crf import CrfTagger
from xner_label.training.recipes.material import Material

stage = "gold"


def fit(material: Material, without: Collection[int] = ()) -> CrfTagger:
    """Learn from gold but for the places in ``without``."""
    return material.learn_gold(without)


def tag(material: Material, tagger: CrfTagger, place: int) -> list[str]:
    """The tags of a gold sentence."""
    return tagger.tag_words(material.gold_words[place])
