"""Whether the stages that the settings name can be made, found out without loading a model.

Names and ranges are checked as the settings are read. Here are the files, checkpoints, languages and optional
packages behind them: a stage that can't be made is refused before another one works for hours.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from xner_label.errors import ConfigurationError, MissingExtraError, XnerLabelError
from xner_label.pipeline.assembly import make_tagger, make_translator
from xner_label.pipeline.memory_cache import MemoryCache
from xner_label.settings.choices import CHECKPOINT_TRANSLATORS, SIMALIGN_METHODS
from xner_label.settings.table import Settings

# The optional parts that a choice needs: extra, and the modules that show whether it is installed.
_EXTRAS = {
    "transformers": ("models", ("torch", "transformers")),
    "ctranslate2": ("models", ("torch", "transformers", "ctranslate2")),
    "llm": ("llm", ("openai",)),
    "eflomal": ("eflomal", ("eflomal",)),
    "simalign": ("models", ("torch", "transformers")),
    "mt-encoder": ("models", ("torch", "transformers")),
    "simalign-package": ("models", ("torch", "transformers", "simalign")),
}


class StageCheck(NamedTuple):
    """What a stage is, in words, and what keeps it from being made (None: nothing)."""

    stage: str
    description: str
    problem: XnerLabelError | None


def check_stages(settings: Settings) -> list[StageCheck]:
    """Every stage of the pipeline, in the order in which they work, and the device where one needs it."""
    checks = [
        _checked("translator", settings.translator, _translator, settings),
        _checked("tagger", settings.tagger, _tagger, settings),
        _checked("aligner", settings.aligner, _aligner, settings),
        _checked("projector", settings.projector, _projector, settings),
    ]
    chosen = [settings.translator, settings.tagger, *_aligners(settings)]
    neural = [name for name in chosen if name in _EXTRAS and _EXTRAS[name][0] == "models"]
    if neural and not any(isinstance(check.problem, MissingExtraError) for check in checks):
        checks.append(_checked("device", settings.device, _device, settings))
    return checks


def require_stages(settings: Settings) -> None:
    """Raise what keeps the first of the stages from being made: ConfigurationError or one of its kind."""
    for check in check_stages(settings):
        if check.problem is not None:
            raise check.problem


def _checked(stage: str, choice: str, check: Callable[[Settings], str], settings: Settings) -> StageCheck:
    try:
        more = check(settings)
    except XnerLabelError as problem:
        return StageCheck(stage, choice, problem)
    return StageCheck(stage, f"{choice}, {more}" if more else choice, None)


def _require_extra(choice: str) -> None:
    extra, modules = _EXTRAS.get(choice, ("", ()))
    if any(importlib.util.find_spec(module) is None for module in modules):
        raise MissingExtraError(extra, choice)


def _translator(settings: Settings) -> str:
    if settings.translator == "given":
        return ""
    _require_extra(settings.translator)
    if settings.translator == "llm":
        make_translator(settings, cache=MemoryCache())  # which asks nothing yet
        return settings.translator_model
    shown = _checkpoint(settings.translator_model)
    from xner_label.checkpoints.languages import LanguageCodes
    from xner_label.checkpoints.loading import load_tokenizer

    codes = LanguageCodes(load_tokenizer(settings.translator_model, fast=False))
    if codes.family != "pair":
        for language in (settings.target_language, settings.source_language):
            codes.token(language)
    return shown


def _tagger(settings: Settings) -> str:
    from xner_label.stages.tagging.tag_map import TagMap, parse_mapping

    mapping = parse_mapping(settings.tagger_map)
    if settings.tagger == "crf" and settings.tagger_model:
        from xner_label.stages.tagging.crf import CrfTagger

        CrfTagger.load(settings.tagger_model)
        return settings.tagger_model
    if settings.tagger == "llm":
        make_tagger(settings, cache=MemoryCache())  # which asks nothing yet
        return settings.tagger_model
    if settings.tagger != "transformers":
        return ""
    _require_extra(settings.tagger)
    shown = _checkpoint(settings.tagger_model)
    tags = _tags_of(settings.tagger_model)
    if tags:
        TagMap(tags, settings.labels, mapping)
    return shown


def _tags_of(model: str) -> Sequence[str]:
    """The tags that a checkpoint's configuration names."""
    from xner_label.checkpoints.loading import find_checkpoint

    try:
        names = json.loads((Path(find_checkpoint(model)) / "config.json").read_bytes()).get("id2label", {})
        return [str(names[key]) for key in sorted(names, key=int)]
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigurationError(
            f"the config.json of {model} can't be read: {error}", hint="check that the checkpoint is whole"
        ) from None


def _aligners(settings: Settings) -> list[str]:
    return [name.strip() for name in settings.aligner.split("+")]


def _aligner(settings: Settings) -> str:
    shown = ""
    for name in _aligners(settings):
        _require_extra(name)
        if name == "simalign-package" and settings.aligner_method not in ("", *SIMALIGN_METHODS):
            raise ConfigurationError(
                f"simalign-package has no method {settings.aligner_method!r}",
                hint=f"choose one of {', '.join(SIMALIGN_METHODS)}",
            )
        if _EXTRAS.get(name, ("",))[0] == "models":
            shown = _checkpoint(settings.aligner_model)
    return shown


def _projector(settings: Settings) -> str:
    from xner_label.projection.projectors import make_projector, models_asked

    asked = models_asked(settings.projector)
    if asked:
        marked = asked - {"nmt"}
        model = (settings.marker_model if marked else "") or settings.translator_model
        by_checkpoint = settings.translator in ("given", *CHECKPOINT_TRANSLATORS) or asked != {"markers"}
        if by_checkpoint or settings.marker_model:
            _checkpoint(model)
        return model
    if "target_tags" in make_projector(settings.projector, weights=settings.projector_weights).needs:
        return settings.target_tagger or "which needs target_tags with each task, or `project --target-tagger`"
    return settings.projector_weights


def _device(settings: Settings) -> str:
    from xner_label.checkpoints.devices import choose_placement

    placement = choose_placement(settings.device, settings.dtype)
    return f"{placement.device} in {placement.dtype}"


def _checkpoint(name: str) -> str:
    """Where a checkpoint is. Raises ConfigurationError where it isn't."""
    from xner_label.checkpoints.loading import find_checkpoint

    return f"{name} in {find_checkpoint(name)}"
