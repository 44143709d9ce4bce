"""Which recipe a CRF is made by: the rule that chooses, by cross-validation on the gold.

For texts alone the weighted mix is the default, for texts with a projection the projection itself is. Another
recipe takes its place where cross-validation says so. People often review what the projection was least sure of,
and on such sentences whatever trusts the silver looks worse than it is elsewhere; so the other recipe has to be
better in nine of ten resamples. With few gold sentences even that is no proof: those of one article count as so
many witnesses, though they say the same, so that nearly all resamples have to agree.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xner_label.evaluation.metrics import f1_score, resampled_sums
from xner_label.iob2 import decode
from xner_label.stages.tagging.crf import CrfTagger
from xner_label.training.crf import CrfModel, projected_tags
from xner_label.training.data import TrainingData
from xner_label.training.recipes import gold_only, silver_as_feature, silver_only, staged, weighted_mix
from xner_label.training.recipes.material import CrfOptions, Material, Recipe
from xner_label.training.rules import MergeRules

# What answers texts alone where it is clearly better than the mix.
RIVALS: tuple[Recipe, ...] = (staged, gold_only)
_FOLDS = 3
_RESAMPLES = 1_000
_SEED = 13


def train_crf(data: TrainingData, rules: MergeRules | None = None, options: CrfOptions | None = None) -> CrfModel:
    """Train all stages for which there is data. Deterministic. Raises UsageError when there is none."""
    options = options or CrfOptions()
    material = Material(data, rules or MergeRules(), options)
    teacher = material.teacher
    stages: dict[str, CrfTagger] = {}
    if material.gold:
        recipe = gold_only if teacher is None else _for_texts(material, options)
        stages[recipe.stage] = recipe.fit(material)
        if _beats_projection(material, options):
            stages[silver_as_feature.stage] = silver_as_feature.fit(material)
    if teacher is not None and (not material.gold or stages.keys() & {staged.stage, silver_as_feature.stage}):
        stages[silver_only.stage] = teacher
    return CrfModel(stages)


def cross_validated(material: Material, recipe: Recipe, places: Sequence[int]) -> list[list[str]]:
    """The tags of the gold sentences at ``places``, each by a tagger that hasn't learned from it."""
    tags: dict[int, list[str]] = {}
    for first in range(_FOLDS):
        fold = places[first::_FOLDS]
        tagger = recipe.fit(material, frozenset(fold))
        tags |= {place: recipe.tag(material, tagger, place) for place in fold}
    return [tags[place] for place in places]


def share_better(
    challenger: Sequence[Sequence[str]], rival: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]
) -> float:
    """In which share of bootstrap resamples of the sentences ``challenger`` has the higher span F1."""
    counts = np.hstack([_counts(challenger, gold), _counts(rival, gold)])
    sums = resampled_sums(counts, _RESAMPLES, _SEED)
    return float(np.mean(f1_score(*sums[:, :3].T) > f1_score(*sums[:, 3:].T)))


def _for_texts(material: Material, options: CrfOptions) -> Recipe:
    """The recipe that answers texts alone: the mix, or what is clearly better."""
    gold = material.gold_tags
    if len(gold) < options.min_gold:
        return weighted_mix
    places = range(len(gold))
    answers = [cross_validated(material, rival, places) for rival in RIVALS]
    best = max(range(len(RIVALS)), key=lambda number: _f1(answers[number], gold))
    teacher = silver_only.fit(material)
    silver = [silver_only.tag(material, teacher, place) for place in places]
    # what isn't clearly better than silver alone isn't than the mix, which takes long to cross-validate
    if not options.is_clear(share_better(answers[best], silver, gold), len(gold)):
        return weighted_mix
    mixed = cross_validated(material, weighted_mix, places)
    clear = options.is_clear(share_better(answers[best], mixed, gold), len(gold))
    return RIVALS[best] if clear else weighted_mix


def _beats_projection(material: Material, options: CrfOptions) -> bool:
    """Whether a student that sees the projection is clearly better than the projection itself."""
    places = [place for place, item in enumerate(material.gold) if item.sentence.silver is not None]
    if len(places) < options.min_gold:
        return False
    answers = cross_validated(material, silver_as_feature, places)
    projected = [projected_tags(material.gold[place].sentence) for place in places]
    gold = [material.gold_tags[place] for place in places]
    return options.is_clear(share_better(answers, projected, gold), len(gold))


def _f1(tags: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]) -> float:
    return float(f1_score(*_counts(tags, gold).sum(axis=0)))


def _counts(tags: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """(S, 3) correct, predicted and gold spans of each sentence."""
    spans = [(set(decode(said)), set(decode(truth))) for said, truth in zip(tags, gold, strict=True)]
    return np.array([[len(said & truth), len(said), len(truth)] for said, truth in spans], np.float64).reshape(
        -1, 3
    )
