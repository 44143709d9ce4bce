"""Every projector by name. Implementations are imported when one is made."""

from __future__ import annotations

from collections.abc import Mapping

from xner_label.errors import ConfigurationError, UsageError
from xner_label.projection.problem import CorpusProjector, Projector
from xner_label.settings.choices import PROJECTORS, WEIGHTED_PROJECTORS
from xner_label.stages.interfaces import TranslationScorer

# The paper's fusions: weights of align, ner, ner_spans and nmt. The last one is its best.
_FUSIONS: dict[str, Mapping[str, float]] = {
    "ner": {"ner": 1.0},
    "ner-spans": {"ner_spans": 1.0},
    "nmt": {"nmt": 1.0},
    "align+ner": {"align": 0.5, "ner": 0.5},
    "align+ner-spans": {"align": 0.5, "ner_spans": 0.5},
    "align+ner-spans+nmt": {"align": 0.5, "ner_spans": 0.5, "nmt": 1.0},
}


def has_corpus_mode(name: str, *, weights: str = "") -> bool:
    """Whether the projector of that name can let tasks inform each other; raises as :func:`make_projector`."""
    if name != "default":
        return name == "corpus"
    from xner_label.projection.loglinear.weights_file import Weights

    return bool(Weights.load(weights or None).rounds)


def make_projector(
    name: str, *, weights: str = "", translation_scorer: TranslationScorer | None = None
) -> Projector | CorpusProjector:
    """The projector of that name.

    ``default`` and ``corpus``, which is the same in the light of all tasks, take ``weights``: a file that
    `xner-label fit-projector` wrote; empty: the shipped one. Raises UsageError for an unknown projector,
    ConfigurationError where it needs a translation scorer and has none, or the weights can't be read.
    """
    if name in WEIGHTED_PROJECTORS:
        from xner_label.projection.loglinear.projector import LogLinearProjector
        from xner_label.projection.loglinear.weights_file import Weights

        loaded = Weights.load(weights or None)
        if name == "corpus":
            from xner_label.projection.corpus.projector import LogLinearCorpusProjector

            return LogLinearCorpusProjector(loaded)
        return LogLinearProjector(loaded)
    if weights:
        raise UsageError(f"the projector {name!r} has no weights", hint="leave --weights out")
    if name in _FUSIONS:
        return _fusion(name, translation_scorer)
    if name == "heuristic":
        from xner_label.projection.handmade.heuristic import HeuristicProjector

        return HeuristicProjector()
    if name in PROJECTORS:
        from xner_label.projection.handmade import matching_projector as scored

        if name == "string":
            return scored.string_projector()
        if name == "link-dice":
            return scored.link_dice_projector()
        if name.startswith("align"):
            return scored.align_projector(greedy=name == "align-greedy")
    raise UsageError(f"there is no projector {name!r}", hint=f"choose one of {', '.join(PROJECTORS)}")


def _fusion(name: str, translation_scorer: TranslationScorer | None) -> Projector:
    from xner_label.projection.handmade.matching_projector import fusion_projector
    from xner_label.projection.handmade.scores import AlignScore, NerScore, NmtScore, Score

    parts: dict[str, Score] = {"align": AlignScore(), "ner": NerScore(), "ner_spans": NerScore(any_type=True)}
    weights = _FUSIONS[name]
    if "nmt" in weights:
        if translation_scorer is None:
            raise ConfigurationError(
                f"the projector {name!r} scores translations and there is no model for that",
                hint="name an NLLB or M2M-100 checkpoint with --translator-model, and both languages",
            )
        parts["nmt"] = NmtScore(translation_scorer)
    return fusion_projector(name, [(parts[part], weight) for part, weight in weights.items()])
