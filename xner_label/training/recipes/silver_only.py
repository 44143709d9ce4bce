"""Silver only: what was projected. The teacher of other recipes, and the answer where nobody has reviewed."""

from __future__ import annotations

from collections.abc import Collection

from xner_label.errors import UsageError
from xner_label.stages.tagging.crf import CrfTagger
from xner_label.training.recipes.material import Material

stage = "teacher"


def fit(material: Material, without: Collection[int] = ()) -> CrfTagger:
    """The teacher, which has learned from no gold. Raises UsageError without silver."""
    if material.teacher is None:
        raise UsageError("there is no silver to learn from", hint="run `xner-label predict`")
    return material.teacher


def tag(material: Material, tagger: CrfTagger, place: int) -> list[str]:
    """The tags of a gold sentence."""
    return tagger.tag_words(material.gold_words[place])
