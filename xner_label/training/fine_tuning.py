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

from xner_label.checkpoints.devices import ANYWHERE, Placement, PlacementRequest, is_out_of_memory
from xner_label.checkpoints.loading import find_checkpoint, load_tokenizer, quiet_reading
from xner_label.checkpoints.subwords import Subwords, position_limit, windows
from xner_label.errors import ConfigurationError, MissingExtraError
from xner_label.iob2 import tags_of
from xner_label.progress import SILENCE, Progress
from xner_label.stages.tagging.crf import scored_entities
from xner_label.training.data import TrainingData
from xner_label.training.model import TaggedText
from xner_label.training.rules import MergeRules, silver_tags, silver_weights
from xner_label.training.sentences import Sentence

KIND = "transformers"
_LABELS = "labels.json"
# torch leaves positions with this label out of the loss.
_IGNORED = -100


class FineTuningOptions(msgspec.Struct, frozen=True):
    """``epochs`` are passes over the gold, ``silver_epochs`` over the silver before it; ``learning_rate`` is the
    peak of a linear decay."""

    epochs: int = 10
    silver_epochs: int = 2
    learning_rate: float = 5e-5
    batch_size: int = 16
    seed: int = 13


class WeightedSentence(msgspec.Struct, frozen=True):
    """Words with a tag and a weight each; None is an unknown tag."""

    words: list[str]
    tags: list[str | None]
    weights: list[float]


class TransformersModel:
    """A fine-tuned checkpoint, read from its folder when it is first asked."""

    kind = KIND

    def __init__(self, folder: Path, where: PlacementRequest = ANYWHERE) -> None:
        self._folder = folder
        self._where = where
        self._tagger: Any = None

    def predict(self, sentences: Sequence[Sentence]) -> list[TaggedText]:
        """One answer per sentence, from its text alone; probabilities are those of its words' tags."""
        from xner_label.stages.tagging.transformers_tagger import TransformersTagger

        if self._tagger is None:
            labels = msgspec.json.decode((self._folder / _LABELS).read_bytes(), type=list[str])
            self._tagger = TransformersTagger(str(self._folder), labels, placement=self._where.resolve())
        tags = self._tagger.tags
        tagged = []
        for sentence, probabilities in zip(
            sentences, self._tagger.token_probabilities([item.tokens for item in sentences]), strict=True
        ):
            best = probabilities.argmax(axis=1)
            values = [min(float(value), 1.0) for value in probabilities[np.arange(len(best)), best]]
            entities = scored_entities(sentence.tokens, [tags[column] for column in best], values)
            tagged.append(TaggedText(tuple(entities), prod(values)))
        return tagged

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


def weighted_sentences(
    data: TrainingData, rules: MergeRules
) -> tuple[list[WeightedSentence], list[WeightedSentence]]:
    """The silver and the gold, word by word with weights."""
    silver = [
        WeightedSentence(item.tokens.words(), silver_tags(item, data.labels, rules), silver_weights(item, rules))
        for item in data.silver
    ]
    gold = [
        WeightedSentence(
            item.sentence.tokens.words(),
            list(tags_of(item.sentence.tokens, item.entities)),
            [1.0] * len(item.sentence.tokens),
        )
        for item in data.gold
    ]
    return silver, gold


def fine_tune(
    data: TrainingData,
    checkpoint: str,
    folder: Path,
    rules: MergeRules,
    options: FineTuningOptions | None = None,
    progress: Progress = SILENCE,
    where: PlacementRequest = ANYWHERE,
) -> TransformersModel:
    """Fine-tune a checkpoint into a new ``folder``. The same data, options and machine give the same weights.

    Weights stay in float32; bfloat16 and float16, where ``where`` asks for them, are the formats of mixed
    precision. Raises MissingExtraError without torch, transformers and accelerate, ConfigurationError when the
    checkpoint isn't there, can't be read for token classification, or can't run ``where`` it should.
    """
    placement = PlacementRequest(where.device, "float32" if where.dtype == "auto" else where.dtype).resolve()
    try:
        import accelerate  # noqa: F401
    except ImportError:
        raise MissingExtraError("models", "fine-tuning") from None
    import transformers

    options = options or FineTuningOptions()
    transformers.set_seed(options.seed)
    tokenizer = load_tokenizer(checkpoint)
    if getattr(tokenizer, "add_prefix_space", None) is False:
        tokenizer = load_tokenizer(checkpoint, add_prefix_space=True)  # words are given one by one
    model = _load_for_training(checkpoint, data.labels)
    encoder = _Encoder(tokenizer, model)
    silver, gold = weighted_sentences(data, rules)
    rounds = (("silver", silver, options.silver_epochs), ("gold", gold, options.epochs))
    for name, sentences, epochs in rounds:
        rows = [row for sentence in sentences for row in encoder.rows(sentence)]
        if rows:
            progress.begin(f"fine-tuning on {name}, {epochs} epochs", len(rows) * epochs)
            _fit(model, rows, tokenizer.pad_token_id or 0, epochs, folder, options, placement, progress)
    with _no_progress_bar():
        model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    (folder / _LABELS).write_bytes(msgspec.json.encode(data.labels))
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


def _load_for_training(checkpoint: str, labels: Sequence[str]) -> Any:
    import transformers

    tags = ["O", *(f"{prefix}-{label}" for label in labels for prefix in "BI")]
    folder = find_checkpoint(checkpoint)
    with quiet_reading(checkpoint, "a checkpoint for token classification"):
        known = transformers.AutoConfig.from_pretrained(folder, local_files_only=True).label2id or {}
        if set(known) == set(tags):  # it has learned exactly these tags: keep its head
            tags = sorted(known, key=known.__getitem__)
        return transformers.AutoModelForTokenClassification.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            weights_only=True,
            num_labels=len(tags),
            id2label=dict(enumerate(tags)),
            label2id={tag: index for index, tag in enumerate(tags)},
            ignore_mismatched_sizes=True,
        )


class _Encoder:
    """Sentences to rows of subtokens, as many per sentence as its length takes."""

    def __init__(self, tokenizer: Any, model: Any) -> None:
        self._subwords = Subwords(tokenizer)
        self._before, self._after = self._subwords.frame()
        self._limit = position_limit(model.base_model, tokenizer) - len(self._before) - len(self._after)
        self._ids = model.config.label2id

    def rows(self, sentence: WeightedSentence) -> list[dict[str, list[Any]]]:
        """The first subtoken of a word carries its tag; the others are ignored, as at prediction."""
        (pieces,) = self._subwords.split([sentence.words])
        ids: list[int] = []
        labels: list[int] = []
        weights: list[float] = []
        for word, tag, weight in zip(pieces, sentence.tags, sentence.weights, strict=True):
            ids += word
            head = [_IGNORED if tag is None else self._ids[tag]] if word else []
            labels += head + [_IGNORED] * (len(word) - 1)
            weights += [weight] * len(word)
        return [
            self._framed(ids, labels, weights, window.start, window.end)
            for window in windows(len(ids), self._limit)
            if any(label != _IGNORED for label in labels[window.start : window.end])
        ]

    def _framed(
        self, ids: list[int], labels: list[int], weights: list[float], start: int, end: int
    ) -> dict[str, list[Any]]:
        before, after = len(self._before), len(self._after)
        return {
            "input_ids": [*self._before, *ids[start:end], *self._after],
            "labels": [_IGNORED] * before + labels[start:end] + [_IGNORED] * after,
            "weights": [0.0] * before + weights[start:end] + [0.0] * after,
        }


def _fit(
    model: Any,
    rows: list[dict[str, list[Any]]],
    pad_id: int,
    epochs: int,
    folder: Path,
    options: FineTuningOptions,
    placement: Placement,
    progress: Progress,
) -> None:
    import torch
    import transformers

    class WeightedTrainer(transformers.Trainer):  # type: ignore[misc]
        """Cross-entropy by token weight; weights can't reach a ``compute_loss_func``."""

        def compute_loss(
            self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, **unused: Any
        ) -> Any:
            weights = inputs.pop("weights").flatten()
            labels = inputs.pop("labels").flatten()
            outputs = model(**inputs)
            losses = torch.nn.functional.cross_entropy(
                outputs.logits.flatten(0, 1).float(), labels, ignore_index=_IGNORED, reduction="none"
            )
            progress.advance(len(inputs["input_ids"]))
            loss = (losses * weights).sum() / (weights * (labels != _IGNORED)).sum().clamp(min=1e-6)
            return (loss, outputs) if return_outputs else loss

    def collate(batch: list[dict[str, list[Any]]]) -> dict[str, Any]:
        longest = max(len(row["input_ids"]) for row in batch)

        def padded(field: str, filler: float) -> Any:
            return torch.tensor([row[field] + [filler] * (longest - len(row[field])) for row in batch])

        lengths = torch.tensor([[len(row["input_ids"])] for row in batch])
        return {
            "input_ids": padded("input_ids", pad_id),
            "attention_mask": (torch.arange(longest)[None] < lengths).long(),
            "labels": padded("labels", _IGNORED),
            "weights": padded("weights", 0.0),
        }

    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=epochs,
        learning_rate=options.learning_rate,
        per_device_train_batch_size=options.batch_size,
        seed=options.seed,
        data_seed=options.seed,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
        remove_unused_columns=False,
        use_cpu=placement.device == "cpu",
        bf16=placement.dtype == "bfloat16",
        fp16=placement.dtype == "float16",
    )
    kind, _, index = placement.device.partition(":")
    if kind == "cuda" and index:  # a device that was named is the only one: no copies of the model on others
        torch.cuda.set_device(int(index))
        arguments._n_gpu = 1
    trainer = WeightedTrainer(model=model, args=arguments, train_dataset=rows, data_collator=collate)
    trainer.remove_callback(transformers.PrinterCallback)  # standard output isn't its to write to
    try:
        trainer.train()
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise ConfigurationError(
            "fine-tuning ran out of memory", hint="choose a smaller batch (--batch-size) or a smaller checkpoint"
        ) from error
