"""The one place that turns settings into stages: translators, taggers, aligners and projectors.

What there is by name, apart from settings, is in :mod:`xner_label.stages.alignment.by_name` and
:mod:`xner_label.projection.projectors`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from xner_label.entities import Entity, Tokens
from xner_label.errors import ConfigurationError, UsageError
from xner_label.iob2 import tags_of
from xner_label.pipeline.folder_cache import FolderCache
from xner_label.pipeline.memory_cache import MemoryCache
from xner_label.projection.problem import CorpusProjector, Projector
from xner_label.projection.projectors import make_projector, models_asked
from xner_label.settings.choices import CHECKPOINT_TRANSLATORS, TAGGERS, TRANSLATORS
from xner_label.settings.table import Settings
from xner_label.stages.alignment.by_name import aligner_by_name
from xner_label.stages.alignment.options import AlignerOptions
from xner_label.stages.interfaces import (
    Aligner,
    Cache,
    Tagger,
    TargetTagger,
    TranslationScorer,
    Translator,
    VariantScorer,
)

if TYPE_CHECKING:
    from xner_label.checkpoints.devices import Placement
    from xner_label.stages.chat_model import Endpoint
    from xner_label.stages.tagging.crf import CrfTagger

# As target tagger: the project's promoted run, which only its store knows.
PROMOTED_RUN = "run"
LabelledText = tuple[str, Sequence[Entity]]


def make_translator(settings: Settings, *, cache: Cache) -> Translator | None:
    """The translator that the settings name; None for ``given`` (the source comes with the tasks).

    What ``llm`` answers is kept in the folder ``model_cache``, whatever ``cache`` is: it cost money. Raises
    ConfigurationError for an unknown name or language and for a model that can't be used, MissingExtraError when
    the extra ``models`` or ``llm`` is missing.
    """
    if settings.translator == "given":
        return None
    if settings.translator not in TRANSLATORS:
        known = ", ".join(TRANSLATORS)
        raise ConfigurationError(f"there is no translator {settings.translator!r}", hint=f"choose among {known}")
    if settings.translator == "llm":
        from xner_label.stages.translation.llm_translator import LlmTranslator

        if not settings.target_language:
            raise ConfigurationError(
                "the translator llm has to know the language of the texts", hint="set target_language"
            )
        return LlmTranslator(
            _endpoint(settings, settings.translator_model),
            settings.target_language,
            settings.source_language,
            cache=FolderCache(Path(_cache_folder(settings)) / "llm"),
        )
    from xner_label.stages.translation.engines import ctranslate2_translator, transformers_translator
    from xner_label.stages.translation.translator import CachedTranslator

    placement = make_placement(settings)
    model, beams = settings.translator_model, settings.translator_beams
    languages = settings.target_language, settings.source_language  # a translator reads the language annotated
    if settings.translator == "transformers":
        translator = transformers_translator(model, *languages, placement, beams=beams)
    else:
        translator = ctranslate2_translator(model, *languages, placement, Path(placement.cache), beams=beams)
    return CachedTranslator(translator, cache)


def make_tagger(settings: Settings, *, cache: Cache, labelled: Sequence[LabelledText] = ()) -> Tagger | None:
    """The source tagger that the settings name; None for ``given`` (source entities come with the tasks).

    ``crf`` is read from the file that ``tagger_model`` names, or learns from labelled source data, once per data;
    without either there is no tagger (None). Raises ConfigurationError for an unknown name and for a model that
    can't be used, MissingExtraError when the extra ``models`` is needed and missing.
    """
    name, model = settings.tagger, settings.tagger_model
    if name == "given" or (name == "crf" and not (labelled or model)):
        return None
    from xner_label.stages.tagging.tag_map import parse_mapping

    if name == "crf":
        from xner_label.stages.tagging.crf import CrfTagger
        from xner_label.stages.tagging.relabelled import RelabelledTagger

        crf = CrfTagger.load(model) if model else _trained_crf(cache, labelled)
        known = sorted({tag[2:] for tag in crf.tags if tag != "O"})
        return RelabelledTagger(crf, known, settings.labels, parse_mapping(settings.tagger_map))
    if name == "transformers":
        from xner_label.stages.tagging.transformers_tagger import TransformersTagger

        mapping = parse_mapping(settings.tagger_map)
        return TransformersTagger(model, settings.labels, mapping=mapping, placement=make_placement(settings))
    if name == "spacy":
        from xner_label.stages.tagging.relabelled import RelabelledTagger
        from xner_label.stages.tagging.spacy_tagger import SpacyTagger

        pipeline = SpacyTagger(model)
        return RelabelledTagger(pipeline, pipeline.known, settings.labels, parse_mapping(settings.tagger_map))
    if name == "gliner":
        from xner_label.stages.tagging.gliner_tagger import GlinerTagger

        prompts = dict(prompt.split("=", 1) for prompt in settings.tagger_prompts)
        return GlinerTagger(model, settings.labels, prompts=prompts, placement=make_placement(settings))
    if name == "llm":
        from xner_label.stages.tagging.llm_tagger import LlmTagger

        return LlmTagger(
            _endpoint(settings, model),
            settings.labels,
            language=settings.source_language,
            prompts=dict(prompt.split("=", 1) for prompt in settings.tagger_prompts),
            mapping=parse_mapping(settings.tagger_map),
            cache=FolderCache(Path(_cache_folder(settings)) / "llm"),
        )
    raise ConfigurationError(f"there is no tagger {name!r}", hint=f"choose among {', '.join(TAGGERS)}")


def _trained_crf(cache: Cache, labelled: Sequence[LabelledText]) -> CrfTagger:
    from xner_label.stages.tagging.crf import CrfTagger
    from xner_label.stages.tagging.crf_features import FEATURES_VERSION

    namespace = f"source-crf:{FEATURES_VERSION}"
    key = hashlib.sha256(msgspec.json.encode(labelled)).hexdigest()
    stored = cache.get_many(namespace, [key])
    if key in stored:
        return CrfTagger(stored[key])
    texts = [Tokens.tokenize(text) for text, _ in labelled]
    tags = [tags_of(tokens, entities) for tokens, (_, entities) in zip(texts, labelled, strict=True)]
    tagger = CrfTagger.train([tokens.words() for tokens in texts], tags)
    cache.put_many(namespace, {key: tagger.to_bytes()})
    return tagger


def make_back_translator(settings: Settings, *, cache: Cache) -> Translator:
    """The settings' translator the other way round: from the source language into the one annotated.

    Raises UsageError where the settings name no translator, and what make_translator raises.
    """
    turned = replace(settings, source_language=settings.target_language, target_language=settings.source_language)
    translator = make_translator(turned, cache=cache)
    if translator is None:
        raise UsageError(
            "back-translation needs a translator", hint="choose one with --translator, or give back_translations"
        )
    return translator


def chosen_target_tagger(settings: Settings, projector: Projector | CorpusProjector) -> TargetTagger | None:
    """The target tagger that the settings name, where the projector asks for one; else None.

    Raises what :func:`make_target_tagger` does.
    """
    if not settings.target_tagger or "target_tags" not in projector.needs:
        return None
    if settings.target_tagger == PROMOTED_RUN:
        raise ConfigurationError(
            "the target tagger is the promoted run, which only stored tasks know",
            hint="name its model with --target-tagger or in pipeline.target_tagger",
        )
    return make_target_tagger(settings.target_tagger, settings)


def make_target_tagger(model: str, settings: Settings) -> TargetTagger:
    """A tagger of the target language: a CRF from a file, or a checkpoint for token classification.

    Raises ConfigurationError for a model that can't be used, MissingExtraError when ``models`` is missing.
    """
    if Path(model).is_file():
        from xner_label.stages.tagging.crf import CrfTagger

        return CrfTagger.load(model)
    from xner_label.stages.tagging.transformers_tagger import TransformersTagger

    return TransformersTagger(model, settings.labels, placement=make_placement(settings))


def make_translation_scorer(settings: Settings) -> TranslationScorer | None:
    """Scores by the checkpoint that ``translator_model`` names; None where it names none.

    Raises ConfigurationError for a checkpoint or language that can't be used.
    """
    if not settings.translator_model:
        return None
    from xner_label.stages.translation.forced_decoding import TransformersScorer

    languages = settings.source_language, settings.target_language
    return TransformersScorer(settings.translator_model, *languages, make_placement(settings))


def make_aligner(settings: Settings, *, cache: Cache, scope: str = "", **options: Any) -> Aligner | None:
    """The aligner that the settings name; None for ``given`` (links come with the tasks) and ``none`` (no links).

    ``scope`` separates the fits of different projects in the cache. ``options`` are fields of
    :class:`~xner_label.stages.alignment.options.AlignerOptions` that come before what the settings say; those that
    are None don't. Raises what :func:`xner_label.stages.alignment.by_name.aligner_by_name` does.
    """
    if settings.aligner in ("given", "none"):
        return None
    chosen = {name: value for name, value in options.items() if value is not None}
    return aligner_by_name(
        settings.aligner, msgspec.structs.replace(_aligner_options(settings), **chosen), cache=cache, scope=scope
    )


def _aligner_options(settings: Settings) -> AlignerOptions:
    return AlignerOptions(
        model=settings.aligner_model,
        method=settings.aligner_method,
        token_type=settings.aligner_token_type,
        layer=None if settings.aligner_layer < 0 else settings.aligner_layer,
        languages=(settings.source_language, settings.target_language) if settings.target_language else None,
        device=settings.device,
        dtype=settings.dtype,
        cache=_cache_folder(settings),
    )


def make_variant_scorer(settings: Settings) -> VariantScorer | None:
    """Scores of places for markers, by the checkpoint ``marker_model``, else ``translator_model``; None where both
    are unnamed.

    Raises ConfigurationError for a checkpoint or language that can't be used.
    """
    model = settings.marker_model or settings.translator_model
    if not model:
        return None
    from xner_label.stages.translation.variant_scores import TransformersVariantScorer

    languages = settings.source_language, settings.target_language
    return TransformersVariantScorer(model, *languages, make_placement(settings))


def make_marker_translator(settings: Settings, *, cache: Cache) -> Translator | None:
    """What translates marked texts from the source into the target language: the checkpoint ``marker_model``, else
    the translator the other way round, else the checkpoint ``translator_model``; None where all are unnamed.

    Raises what make_translator raises.
    """
    model = settings.marker_model or settings.translator_model
    if settings.marker_model or settings.translator == "given":
        if not model:
            return None
        kind = settings.translator if settings.translator in CHECKPOINT_TRANSLATORS else "transformers"
        settings = replace(settings, translator=kind, translator_model=model)
    return make_back_translator(settings, cache=cache)


def assemble_projector(
    settings: Settings, *, corpus: bool = False, cache: Cache | None = None
) -> Projector | CorpusProjector:
    """The projector that the settings name, or, of its kind, the one that lets the tasks of a ``corpus`` inform
    each other. ``cache`` keeps what it has translated.

    Raises what :func:`xner_label.projection.projectors.make_projector`, :func:`make_translation_scorer` and
    :func:`make_marker_translator` do.
    """
    name = "corpus" if corpus else settings.projector
    asked = models_asked(name)
    return make_projector(
        name,
        weights=settings.projector_weights,
        translation_scorer=make_translation_scorer(settings) if "nmt" in asked else None,
        variant_scorer=make_variant_scorer(settings) if "codec" in asked else None,
        marker_translator=make_marker_translator(settings, cache=cache or MemoryCache())
        if "markers" in asked
        else None,
    )


def make_placement(settings: Settings) -> Placement:
    """Where the settings have models run. Raises ConfigurationError for a device that isn't there,
    MissingExtraError without the extra ``models``."""
    from xner_label.checkpoints.devices import choose_placement

    return choose_placement(settings.device, settings.dtype, _cache_folder(settings))


def _endpoint(settings: Settings, model: str) -> Endpoint:
    from xner_label.stages.chat_model import Endpoint

    return Endpoint(
        settings.llm_url,
        model,
        settings.llm_api_key,
        timeout=settings.llm_timeout,
        retries=settings.llm_retries,
        parallel=settings.llm_parallel,
        input_price=settings.llm_input_price,
        output_price=settings.llm_output_price,
    )


def _cache_folder(settings: Settings) -> str:
    return str(Path(settings.model_cache).expanduser())
