"""Silver as a feature: gold alone is learned; the sentence's own projection, its tags and its confidences, is
an observation beside the teacher's word.

TransFusion (Chen et al. 2023, arXiv 2305.13582) does the same with an encoder. The model needs the projection when
it answers; a text without one is answered by another recipe's stage.
"""

from __future__ import annotations

from collections.abc import Collection

from xner_label.stages.tagging.crf import CrfTagger
from xner_label.training.crf import Hints, joined, projection_hints
from xner_label.training.recipes.material import Material

stage = "projected"


def fit(material: Material, without: Collection[int] = ()) -> CrfTagger:
    """Learn from the gold that has been projected, but for the places in ``without``."""
    unprojected = {place for place, item in enumerate(material.gold) if item.sentence.silver is None}
    hints = [_hints(material, place) for place in range(len(material.gold))]
    return material.learn_gold(unprojected.union(without), hints)


def tag(material: Material, tagger: CrfTagger, place: int) -> list[str]:
    """The tags of a gold sentence."""
    return tagger.tag_words(material.gold_words[place], _hints(material, place))


def _hints(material: Material, place: int) -> Hints:
    return joined(material.gold_hints[place], projection_hints(material.gold[place].sentence))
