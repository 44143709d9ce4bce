"""Every projector by name. Implementations are imported when one is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict

from xner_label.errors import ConfigurationError, UsageError
from xner_label.projection.problem import CorpusProjector, Projector
from xner_label.settings.choices import MATCHINGS, PROJECTORS, SCORES, WEIGHTED_PROJECTORS
from xner_label.settings.rules import weighted_sum
from xner_label.stages.interfaces import TranslationScorer, Translator, VariantScorer

if TYPE_CHECKING:
    from xner_label.projection.handmade.matching_projector import Solver
    from xner_label.projection.handmade.scores import Score
    from xner_label.stages.translation.markers import MarkerStyle

# The paper's fusions. The last one is its best.
_FUSIONS: dict[str, Mapping[str, float]] = {
    "ner": {"ner": 1.0},
    "ner-spans": {"ner-spans": 1.0},
    "nmt": {"nmt": 1.0},
    "codec": {"codec": 1.0},
    "align+ner": {"align": 0.5, "ner": 0.5},
    "align+ner-spans": {"align": 0.5, "ner-spans": 0.5},
    "align+ner-spans+nmt": {"align": 0.5, "ner-spans": 0.5, "nmt": 1.0},
}


# The projectors that have markers translated, and which.
_MARKERS: Mapping[str, MarkerStyle] = {"easyproject": "brackets", "xml": "xml"}


class _Scorers(TypedDict):
    translation_scorer: TranslationScorer | None
    variant_scorer: VariantScorer | None


def models_asked(name: str) -> frozenset[str]:
    """The models beside the stages that a projector asks: ``nmt`` for probabilities of translations, ``codec`` for
    those of places in a text, ``markers`` for translations of marked texts."""
    base = name.partition("@")[0]
    asked = {"nmt", "codec"} & set(weighted_sum(base) or base.split("+"))
    return frozenset(asked | ({"markers"} if base in _MARKERS else set()))


def has_corpus_mode(name: str, *, weights: str = "") -> bool:
    """Whether the projector of that name can let tasks inform each other; raises as :func:`make_projector`."""
    if name != "default":
        return name == "corpus"
    from xner_label.projection.loglinear.weights_file import Weights

    return bool(Weights.load(weights or None).rounds)


def make_projector(
    name: str,
    *,
    weights: str = "",
    translation_scorer: TranslationScorer | None = None,
    variant_scorer: VariantScorer | None = None,
    marker_translator: Translator | None = None,
) -> Projector | CorpusProjector:
    """The projector of that name, or that matches by a weighted sum of scores (``0.5*align+0.1*casing``).

    ``default`` and ``corpus``, which is the same in the light of all tasks, take ``weights``: a file that
    `xner-label fit-projector` wrote; empty: the shipped one. ``@`` and one of
    :data:`~xner_label.settings.choices.MATCHINGS` behind the name of a projector that matches candidates choose
    how (``align@>=``). ``translation_scorer``, ``variant_scorer`` and ``marker_translator``, from the source into
    the target language, are for those that ask such models (:func:`models_asked`). Raises UsageError for an
    unknown projector, ConfigurationError where a model that it asks isn't there, or the weights can't be read.
    """
    if name in WEIGHTED_PROJECTORS:
        from xner_label.projection.loglinear.projector import LogLinearProjector
        from xner_label.projection.loglinear.weights_file import Weights

        loaded = Weights.load(weights or None)
        if name == "corpus":
            from xner_label.projection.corpus.projector import LogLinearCorpusProjector

            return LogLinearCorpusProjector(loaded)
        return LogLinearProjector(loaded)
    if name == "ensemble":
        from xner_label.projection.handmade.target_tagging import EnsembleProjector
        from xner_label.projection.loglinear.projector import LogLinearProjector
        from xner_label.projection.loglinear.weights_file import Weights

        return EnsembleProjector(LogLinearProjector(Weights.load(weights or None)))
    if weights:
        raise UsageError(f"the projector {name!r} has no weights", hint="leave --weights out")
    base, at, solver_name = name.partition("@")
    if at and solver_name not in MATCHINGS:
        raise UsageError(f"there is no way {solver_name!r} to match", hint=f"choose among {', '.join(MATCHINGS)}")
    solver: Solver = solver_name if at else "<="  # type: ignore[assignment]
    scorers = _Scorers(translation_scorer=translation_scorer, variant_scorer=variant_scorer)
    if base in _FUSIONS:
        return make_fusion(base, _FUSIONS[base], solver=solver, **scorers)
    if weights_of_sum := weighted_sum(base):
        return make_fusion("fusion", weights_of_sum, solver=solver, **scorers)
    if base in _MARKERS:
        from xner_label.projection.handmade.marked_translation import MarkerProjector

        if marker_translator is None:
            raise ConfigurationError(
                f"the projector {base!r} has marked texts translated and there is no model for that",
                hint="name a translation checkpoint with --marker-model or --translator-model, and both languages",
            )
        return MarkerProjector(base, marker_translator, _MARKERS[base], solver)
    if name == "transfer":
        from xner_label.projection.handmade.target_tagging import TransferProjector

        return TransferProjector()
    if name == "heuristic":
        from xner_label.projection.handmade.heuristic import HeuristicProjector

        return HeuristicProjector()
    if base in ("string", "link-dice", "align", "align-greedy"):
        from xner_label.projection.handmade import matching_projector as scored

        if base == "string":
            return scored.string_projector(solver)
        if base == "link-dice":
            return scored.link_dice_projector(solver)
        if base == "align" or not at:
            return scored.align_projector("greedy" if base == "align-greedy" else solver)
    if at and base in PROJECTORS:
        raise UsageError(f"the projector {base!r} doesn't match candidates", hint=f"leave @{solver_name} out")
    raise UsageError(f"there is no projector {name!r}", hint=f"choose one of {', '.join(PROJECTORS)}")


def make_fusion(
    name: str,
    weights: Mapping[str, float],
    *,
    translation_scorer: TranslationScorer | None = None,
    variant_scorer: VariantScorer | None = None,
    texts: Iterable[Sequence[str]] = (),
    solver: Solver = "<=",
) -> Projector:
    """Matching by a weighted sum of the scores in ``weights``, under a ``name`` of its own.

    Scores are those of :data:`xner_label.settings.choices.SCORES` and ``frequency``, which counts the words of
    ``texts``, tokenised target texts. Raises UsageError for an unknown score and for ``frequency`` without texts,
    ConfigurationError for ``nmt`` without a translation scorer and ``codec`` without a variant scorer.
    """
    from xner_label.projection.handmade.matching_projector import fusion_projector

    counted = [*texts]
    scorers = _Scorers(translation_scorer=translation_scorer, variant_scorer=variant_scorer)
    return fusion_projector(
        name,
        [(_make_score(score, scorers, counted), weight) for score, weight in weights.items()],
        solver,
    )


def _make_score(name: str, scorers: _Scorers, texts: Sequence[Sequence[str]]) -> Score:
    from xner_label.projection.handmade import scores

    makers: dict[str, Callable[[], Score]] = {
        "align": scores.AlignScore,
        "link-dice": scores.LinkDiceScore,
        "ner": scores.NerScore,
        "ner-spans": lambda: scores.NerScore(any_type=True),
        "string": scores.StringScore,
        "source": scores.SourceScore,
        "length": scores.LengthScore,
        "casing": scores.CasingScore,
    }
    if name in makers:
        return makers[name]()
    if name == "nmt":
        if scorers["translation_scorer"] is None:
            raise ConfigurationError(
                "the score 'nmt' judges translations and there is no model for that",
                hint="name an NLLB or M2M-100 checkpoint with --translator-model, and both languages",
            )
        return scores.NmtScore(scorers["translation_scorer"])
    if name == "codec":
        from xner_label.projection.handmade.codec import CodecScore

        if scorers["variant_scorer"] is None:
            raise ConfigurationError(
                "the score 'codec' asks a model where it would put markers and there is none",
                hint="name a translation checkpoint with --marker-model or --translator-model, and both languages",
            )
        return CodecScore(scorers["variant_scorer"])
    if name == "frequency":
        if not texts:
            raise UsageError("the score 'frequency' counts words and there are no texts", hint="hand texts in")
        return scores.FrequencyScore(texts)
    raise UsageError(f"there is no score {name!r}", hint=f"choose among {', '.join(SCORES)}, frequency")
