"""The stages of a grid: named on the command line, signed without being loaded, made when there is work.

A stage is written ``KIND`` or ``KIND:MODEL`` (``given``, ``crf:tagger.crf``, ``transformers:NAME``); without a
model the settings' counts. A second run that finds every result kept never reads a checkpoint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from xner_label.benchmark.data import target_tokens
from xner_label.entities import Task
from xner_label.errors import ConfigurationError, RecordError, UsageError
from xner_label.evaluation.signature import data_hash
from xner_label.pipeline import assembly
from xner_label.pipeline.assembly import LabelledText
from xner_label.pipeline.memory_cache import MemoryCache
from xner_label.pipeline.stage import Added, AlignmentStage, FixedStage, Stage, TaggingStage, TranslationStage
from xner_label.settings.choices import ALIGNERS, TAGGERS, TRANSLATORS
from xner_label.settings.table import Settings
from xner_label.stages.interfaces import TargetTagger
from xner_label.stages.usage import Usage, usage_of

_KINDS = {"translator": TRANSLATORS, "tagger": TAGGERS, "aligner": ("given", "none", *ALIGNERS)}
_ADDS = {
    "translator": "source",
    "tagger": "source_entities",
    "aligner": "alignment",
    "target-tagger": "target_tags",
}


class StageChoice(msgspec.Struct, frozen=True):
    """One stage of the grid. ``kind`` is empty for a tagger of the target language, which its model says."""

    kind: str
    model: str = ""

    def __str__(self) -> str:
        return ":".join(filter(None, (self.kind, self.model)))


def parse_choice(role: str, text: str) -> StageChoice:
    """``KIND[:MODEL]`` of a translator, tagger or aligner. Raises UsageError for a kind that there isn't."""
    kind, _, model = text.partition(":")
    if any(part not in _KINDS[role] for part in (kind.split("+") if role == "aligner" else [kind])):
        raise UsageError(
            f"there is no {role} {kind!r}",
            hint=f"choose among {', '.join(_KINDS[role])}, with :MODEL where needed",
        )
    return StageChoice(kind, model)


class DeferredStage:
    """A stage that is made when it first has to work; until then only its signature is known."""

    def __init__(
        self, role: str, reads: tuple[str, ...], signature: str, make: Callable[[], Stage], *, learns: bool = False
    ) -> None:
        self.role = role
        self.reads = reads
        self.signature = signature
        self.learns = learns
        self._make = make
        self.costs = signature.startswith("llm:")  # money, that is
        self._made: Stage | None = None
        self._taken = Usage()

    def _stage(self) -> Stage:
        if self._made is None:
            self._made = self._make()
        return self._made

    def take_usage(self) -> Usage | None:
        """What asking an endpoint took since this was last called; None for a stage that asks none."""
        usage = usage_of(self._made)
        if usage is None:
            return None
        new = usage.since(self._taken)
        self._taken = usage
        return new

    def learn(self, tasks: Sequence[Task]) -> None:
        """Have the stage learn, if it does."""
        if self.learns:
            self._stage().learn(tasks)

    def lacks(self, task: Task) -> bool:
        """Whether the task doesn't have what the stage adds."""
        return getattr(task, _ADDS[self.role]) is None

    def run(self, tasks: Sequence[Task]) -> list[Added | RecordError]:
        """What the stage adds to each task."""
        return self._stage().run(tasks) if tasks else []


class TargetTaggingStage(FixedStage):
    """Adds ``target_tags``: a tagger's P(tag) of each token of the text."""

    role = "target-tagger"
    reads: tuple[str, ...] = ("text", "tokens")

    def __init__(self, tagger: TargetTagger) -> None:
        self._tagger = tagger

    @property
    def signature(self) -> str:
        """The tagger's."""
        return self._tagger.signature

    def lacks(self, task: Task) -> bool:
        """Whether the tokens haven't been judged."""
        return task.target_tags is None

    def run(self, tasks: Sequence[Task]) -> list[Added | RecordError]:
        """Judge the tokens of each text."""
        names = self._tagger.tags
        probabilities = self._tagger.token_probabilities([target_tokens(task) for task in tasks])
        return [
            {
                "target_tags": [
                    {name: min(1.0, max(0.0, value)) for name, value in zip(names, row, strict=True)}
                    for row in of_text.tolist()
                ]
            }
            for of_text in probabilities
        ]


def translation_stage(choice: StageChoice, settings: Settings) -> DeferredStage | None:
    """The translator; None where the tasks bring their source. Raises ConfigurationError for a model not here."""
    if choice.kind == "given":
        return None
    chosen = replace(settings, translator=choice.kind, translator_model=choice.model or settings.translator_model)

    def make() -> Stage:
        translator = assembly.make_translator(chosen, cache=MemoryCache())
        assert translator is not None
        return TranslationStage(translator)

    if choice.kind == "llm":
        return DeferredStage("translator", TranslationStage.reads, make().signature, make)  # nothing to read
    languages = f"{chosen.target_language}>{chosen.source_language}"
    signature = (
        f"{choice.kind}:{model_signature(chosen, chosen.translator_model)}:{languages}:b{chosen.translator_beams}"
    )
    return DeferredStage("translator", TranslationStage.reads, f"{signature}:{_placed(chosen)}", make)


def tagging_stage(
    choice: StageChoice, settings: Settings, labels: Sequence[str], labelled: Sequence[LabelledText]
) -> DeferredStage | None:
    """The source tagger; None where source entities come with the tasks.

    ``crf`` without a model learns from ``labelled``. Raises UsageError where there is nothing to learn from,
    ConfigurationError for a model that isn't here.
    """
    if choice.kind == "given":
        return None
    chosen = replace(
        settings, tagger=choice.kind, tagger_model=choice.model or settings.tagger_model, labels=tuple(labels)
    )

    def make() -> Stage:
        tagger = assembly.make_tagger(chosen, cache=MemoryCache(), labelled=labelled)
        assert tagger is not None
        return TaggingStage(tagger)

    if choice.kind == "llm":
        return DeferredStage("tagger", TaggingStage.reads, make().signature, make)  # nothing to read
    if choice.kind == "crf" and not chosen.tagger_model:
        if not labelled:
            raise UsageError("the CRF tagger has nothing to learn from", hint="give --labelled FILE, or crf:FILE")
        from xner_label.stages.tagging.crf_features import FEATURES_VERSION

        model = f"{FEATURES_VERSION}:{data_hash(labelled)}"
    elif choice.kind == "spacy":
        from xner_label.stages.tagging.spacy_tagger import spacy_signature

        model = spacy_signature(chosen.tagger_model)
    else:
        model = model_signature(chosen, chosen.tagger_model)
    options = ",".join((*labels, *chosen.tagger_map, *chosen.tagger_prompts))
    signature = f"{choice.kind}:{model}:{options}:{_placed(chosen)}"
    return DeferredStage("tagger", TaggingStage.reads, signature, make)


def alignment_stage(choice: StageChoice, settings: Settings, corpus: str) -> DeferredStage | None:
    """The aligner; None where links come with the tasks, or there are to be none.

    ``corpus`` names the pairs to align: what learns is another aligner on other pairs. Raises ConfigurationError
    for a model, MissingExtraError for a package that isn't here.
    """
    if choice.kind in ("given", "none"):
        return None
    chosen = replace(settings, aligner=choice.kind, aligner_model=choice.model or settings.aligner_model)

    def make() -> Stage:
        aligner = assembly.make_aligner(chosen, cache=MemoryCache())
        assert aligner is not None
        return AlignmentStage(aligner)

    learns = "eflomal" in choice.kind
    signature = choice.kind
    if choice.kind == "eflomal":
        signature = make().signature  # its options; that costs nothing, and says at once where it isn't installed
    else:
        options = (chosen.aligner_method, chosen.aligner_token_type, str(chosen.aligner_layer), _placed(chosen))
        signature += ":".join((model_signature(chosen, chosen.aligner_model), *options))
    if learns:
        signature += f":of:{corpus}"
    return DeferredStage("aligner", AlignmentStage.reads, signature, make, learns=learns)


def target_tagging_stage(choice: StageChoice, settings: Settings, labels: Sequence[str]) -> DeferredStage:
    """A tagger of the target language. Raises ConfigurationError for a model that isn't here."""
    chosen = replace(settings, labels=tuple(labels))
    signature = f"{model_signature(chosen, choice.model)}:{','.join(labels)}:{_placed(chosen)}"
    return DeferredStage(
        "target-tagger",
        TargetTaggingStage.reads,
        signature,
        lambda: TargetTaggingStage(assembly.make_target_tagger(choice.model, chosen)),
    )


def model_signature(settings: Settings, model: str) -> str:
    """What names a model: a hash of its file, or a checkpoint's signature."""
    if not model:
        raise ConfigurationError("no model is named", hint="write KIND:MODEL, or name one in the settings")
    file = Path(model)
    if file.is_file():
        with open(file, "rb") as stream:
            return f"{file.name}@{hashlib.file_digest(stream, 'sha256').hexdigest()[:12]}"
    from xner_label.checkpoints.signatures import checkpoint_signature

    return checkpoint_signature(model, Path(settings.model_cache).expanduser())


def _placed(settings: Settings) -> str:
    return f"{settings.device}/{settings.dtype}"
