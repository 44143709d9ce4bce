"""Fine-tuning a token-classification checkpoint: silver first, gold last.

As with the CRF, gold has the last word (Liang et al. 2020, arXiv 2106.08977): the model passes over the silver,
then over the gold alone. Silver counts by token, as the merge rules (:mod:`rules`) say, and an unknown token not
at all.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from xner_label.checkpoints.devices import ANYWHERE, PlacementRequest
from xner_label.checkpoints.loading import find_checkpoint, load_tokenizer, quiet_reading
from xner_label.entities import Tokens
from xner_label.errors import MissingExtraError
from xner_label.progress import SILENCE, Progress
from xner_label.stages.tagging.crf import scored_entities
from xner_label.training.data import TrainingData
from xner_label.training.fine_tuning_job import (
    FineTuningOptions,
    Job,
    Round,
    load_for_training,
    require_adapters,
    run_job,
)
from xner_label.training.model import TaggedText
from xner_label.training.rules import MergeRules
from xner_label.training.sentences import Sentence
from xner_label.training.token_rows import (
    RowMaker,
    balanced_tag_weights,
    fused_context,
    weighted_gold,
    weighted_silver,
)

KIND = "transformers"
_DESCRIPTION = "labels.json"


class _Description(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a saved model says of itself. ``fused``: it reads the source and the projection behind the text."""

    labels: list[str]
    fused: bool = False


class TransformersModel:
    """A fine-tuned checkpoint, read from its folder when it is first asked."""

    kind = KIND

    def __init__(self, folder: Path, where: PlacementRequest = ANYWHERE) -> None:
        self._folder = folder
        self._where = where
        self._tagger: Any = None
        content = (folder / _DESCRIPTION).read_bytes()
        described = msgspec.json.decode(content, type=_Description | list[str])
        self._described = _Description(described) if isinstance(described, list) else described

    @property
    def needs_projection(self) -> bool:
        """Whether it answers better where a text comes with its source and projection."""
        return self._described.fused

    def predict(self, sentences: Sequence[Sentence]) -> list[TaggedText]:
        """One answer per sentence; probabilities are those of its words' tags. A model with fused input reads what
        there is beside the text, any other the text alone."""
        tagger = self._opened()
        tags = tagger.tags
        contexts = [fused_context(item) for item in sentences] if self._described.fused else None
        tagged = []
        for sentence, probabilities in zip(
            sentences,
            tagger.token_probabilities([item.tokens for item in sentences], contexts),
            strict=True,
        ):
            best = probabilities.argmax(axis=1)
            values = [min(float(value), 1.0) for value in probabilities[np.arange(len(best)), best]]
            entities = scored_entities(sentence.tokens, [tags[column] for column in best], values)
            tagged.append(TaggedText(tuple(entities), prod(values)))
        return tagged

    @property
    def tags(self) -> Sequence[str]:
        """The tags, in the order of the columns of :meth:`token_probabilities`."""
        tags: Sequence[str] = self._opened().tags
        return tags

    def token_probabilities(self, texts: Sequence[Tokens]) -> list[NDArray[np.float64]]:
        """P(tag | word) of each text by itself, shape (words, tags)."""
        probabilities: list[NDArray[np.float64]] = self._opened().token_probabilities(texts)
        return probabilities

    def _opened(self) -> Any:
        from xner_label.stages.tagging.transformers_tagger import TransformersTagger

        if self._tagger is None:
            self._tagger = TransformersTagger(
                str(self._folder), self._described.labels, placement=self._where.resolve()
            )
        return self._tagger

    def save(self, folder: Path) -> None:
        """Copy the checkpoint into a folder."""
        shutil.copytree(self._folder, folder, dirs_exist_ok=True)

    @classmethod
    def load(cls, folder: Path, where: PlacementRequest = ANYWHERE) -> TransformersModel:
        """A saved model, to run where it is asked to.

        Raises ConfigurationError when the checkpoint can't be read, or can't run there.
        """
        model = cls(Path(find_checkpoint(str(folder))), where)
        model.predict([])
        return model


def fine_tune(
    data: TrainingData,
    checkpoint: str,
    folder: Path,
    rules: MergeRules,
    options: FineTuningOptions | None = None,
    progress: Progress = SILENCE,
    where: PlacementRequest = ANYWHERE,
    scratch: Path | None = None,
) -> TransformersModel:
    """Fine-tune a checkpoint into a new ``folder``. The same data, options and machine give the same weights.

    ``scratch`` is a folder for what is needed to go on after a kill: with the same data and options in the same
    folder, training goes on after the last whole pass. Weights stay in float32; bfloat16 and float16, where
    ``where`` asks for them, are the formats of mixed precision. Raises MissingExtraError without torch,
    transformers and accelerate (and peft, for adapters), ConfigurationError when the checkpoint isn't there,
    can't be read for token classification, or can't run ``where`` it should.
    """
    placement = PlacementRequest(where.device, "float32" if where.dtype == "auto" else where.dtype).resolve()
    try:
        import accelerate  # noqa: F401
    except ImportError:
        raise MissingExtraError("models", "fine-tuning") from None
    options = options or FineTuningOptions()
    if options.lora_rank:
        require_adapters()
    tokenizer = load_tokenizer(checkpoint)
    if getattr(tokenizer, "add_prefix_space", None) is False:
        tokenizer = load_tokenizer(checkpoint, add_prefix_space=True)  # words are given one by one
    begun = find_checkpoint(checkpoint)
    tags = _tags_of(checkpoint, data.labels)
    maker = RowMaker(tokenizer, load_for_training(Path(begun), tags))
    silver = weighted_silver(data, rules, fused=options.fused)
    gold = weighted_gold(data.gold, fused=options.fused)
    weights = balanced_tag_weights([*silver, *gold]) if options.class_weights == "balanced" else {}
    rounds = [
        Round("silver", maker.rows(silver, weights), options.silver_epochs, judged=not gold),
        Round("gold", maker.rows(gold, weights), options.epochs, judged=True),
    ]
    job = Job(
        checkpoint=str(begun),
        tags=tags,
        pad_id=tokenizer.pad_token_id or 0,
        rounds=[each for each in rounds if each.rows and each.epochs],
        dev=maker.rows(weighted_gold(data.dev, fused=options.fused)),
        options=options,
        placement=placement,
    )
    scratch = scratch or folder.with_name(f"{folder.name}.rounds")
    scratch.mkdir(parents=True, exist_ok=True)
    with _no_progress_bar():
        shutil.copytree(run_job(job, scratch, progress), folder, dirs_exist_ok=True)
    shutil.rmtree(scratch, ignore_errors=True)
    tokenizer.save_pretrained(folder)
    description = _Description(list(data.labels), fused=True) if options.fused else data.labels
    (folder / _DESCRIPTION).write_bytes(msgspec.json.encode(description))
    return TransformersModel(folder, where)


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _tags_of(checkpoint: str, labels: Sequence[str]) -> list[str]:
    """The tags that a model is to have, in the checkpoint's order where it has learned exactly these."""
    import transformers

    tags = ["O", *(f"{prefix}-{label}" for label in labels for prefix in "BI")]
    with quiet_reading(checkpoint, "a checkpoint for token classification"):
        config = transformers.AutoConfig.from_pretrained(find_checkpoint(checkpoint), local_files_only=True)
    known = config.label2id or {}
    return sorted(known, key=known.__getitem__) if set(known) == set(tags) else tags
