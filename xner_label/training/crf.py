"""The CRF that learns in seconds: silver first, then gold with the silver as features.

Mixing silver sentences among the gold ones holds a model back as soon as there is some gold (docs/measurements.md,
"Training"). So training is staged (Liang et al. 2020, arXiv 2106.08977, end on gold alone too) and stacked
(Wolpert 1992):

1. the *teacher* learns from silver alone;
2. two students learn from gold alone, with the teacher's tags as features. One of them also sees what the pipeline
   projected; it answers for texts that have a projection.

A reviewed task is never silver, so the teacher hasn't seen the sentences whose tags the students get from it:
they learn how far to trust it on new text. A student has to earn its place: on little gold it is cross-validated
against the teacher or the projection. Where it loses, the projection stands as it is, and texts without one are
answered by a model of gold and silver mixed, which is best as long as there is hardly any gold.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import prod
from pathlib import Path

import msgspec
import numpy as np

from xner_label.entities import Entity, ProjectedEntity
from xner_label.errors import ConfigurationError, UsageError
from xner_label.evaluation.metrics import f1_score, resampled_sums
from xner_label.iob2 import decode, encode, tags_of
from xner_label.stages.tagging.crf import SERVED_VERSIONS, CrfTagger, scored_entities
from xner_label.stages.tagging.crf_features import FEATURES_VERSION, tag_observations
from xner_label.training.data import GoldSentence, Sentence, TrainingData, silver_tags
from xner_label.training.model import TaggedText

KIND = "crf"
_DESCRIPTION = "crf.json"
_FOLDS = 5
_RESAMPLES = 1_000
_SEED = 13
_CONFIDENCE_STEPS = 5

Hints = list[list[str]]


class CrfOptions(msgspec.Struct, frozen=True):
    """``c1`` and ``c2`` are the L1 and L2 penalties. ``min_gold``: sentences below which students aren't tried;
    ``validate_up_to``: sentences above which they needn't be cross-validated, because they win; ``min_better``:
    the share of bootstrap resamples in which a cross-validated student must be better.
    """

    c1: float = 0.1
    c2: float = 0.05
    min_gold: int = 20
    validate_up_to: int = 400
    min_better: float = 0.9


class _Description(msgspec.Struct, frozen=True):
    """What a saved model says of itself."""

    features_version: int
    stages: tuple[str, ...]


class CrfModel:
    """The trained stages, by name. Raises UsageError without any."""

    kind = KIND

    def __init__(self, stages: dict[str, CrfTagger]) -> None:
        if not stages:
            raise UsageError(
                "nothing to train on", hint="review some tasks, or run `xner-label predict` for silver"
            )
        self._stages = stages
        self._teacher = stages.get("teacher")

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of the stages there are."""
        return tuple(self._stages)

    def without(self, stage: str) -> CrfModel:
        """The model without a stage, should it have it. Raises UsageError where nothing else is left."""
        return CrfModel({name: tagger for name, tagger in self._stages.items() if name != stage})

    def predict(self, sentences: Sequence[Sentence]) -> list[TaggedText]:
        """One answer per sentence; an entity's score is the lowest marginal of its tags."""
        return [self._tag(sentence) for sentence in sentences]

    def _tag(self, sentence: Sentence) -> TaggedText:
        words = sentence.tokens.words()
        if sentence.silver is not None:
            student = self._stages.get("projected")
            if student is None:
                return _as_projected(sentence.silver)
            hints = joined(hints_of(words, self._teacher), projection_hints(sentence))
            return _tagged(student, sentence, words, hints)
        if "text" in self._stages:
            return _tagged(self._stages["text"], sentence, words, hints_of(words, self._teacher))
        tagger = self._stages.get("mixed", self._teacher)
        return TaggedText((), 0.0) if tagger is None else _tagged(tagger, sentence, words)

    def save(self, folder: Path) -> None:
        """Write the stages into a folder."""
        for name, tagger in self._stages.items():
            tagger.save(folder / f"{name}.crf")
        description = _Description(FEATURES_VERSION, self.stages)
        (folder / _DESCRIPTION).write_bytes(msgspec.json.encode(description))

    @classmethod
    def load(cls, folder: Path) -> CrfModel:
        """Read a saved model. Raises ConfigurationError when it isn't whole or fits another version."""
        try:
            description = msgspec.json.decode((folder / _DESCRIPTION).read_bytes(), type=_Description)
        except (OSError, msgspec.MsgspecError) as error:
            raise ConfigurationError(
                f"{folder} holds no CRF model: {error}", hint="train again with `xner-label train`"
            ) from None
        if description.features_version not in SERVED_VERSIONS:
            raise ConfigurationError(
                f"{folder} was trained on features of version {description.features_version}, "
                f"this is version {FEATURES_VERSION}",
                hint="train again with `xner-label train`",
            )
        return cls({name: CrfTagger.load(folder / f"{name}.crf") for name in description.stages})


def train_crf(data: TrainingData, min_silver_confidence: float, options: CrfOptions | None = None) -> CrfModel:
    """Train all stages for which there is data. Deterministic. Raises UsageError when there is none."""
    options = options or CrfOptions()
    stages: dict[str, CrfTagger] = {}
    silver_words = [sentence.tokens.words() for sentence in data.silver]
    silver = [silver_tags(sentence, data.labels, min_silver_confidence) for sentence in data.silver]
    if data.silver:
        stages["teacher"] = CrfTagger.train(silver_words, silver, c1=options.c1, c2=options.c2)
    teacher = stages.get("teacher")
    text = _StudentData(data.gold, [hints_of(item.sentence.tokens.words(), teacher) for item in data.gold])
    rival = None if teacher is None else [teacher.tag_words(words) for words in text.words]
    stages |= _student("text", text, rival, options)
    if data.gold and "text" not in stages:
        tags: list[Sequence[str | None]] = [*text.tags, *silver]
        stages["mixed"] = CrfTagger.train([*text.words, *silver_words], tags, c1=options.c1, c2=options.c2)
    seen = [index for index, item in enumerate(data.gold) if item.sentence.silver is not None]
    gold = [data.gold[index].sentence for index in seen]
    hints = [joined(text.hints[index], projection_hints(data.gold[index].sentence)) for index in seen]
    projected = _StudentData([data.gold[index] for index in seen], hints)
    stages |= _student("projected", projected, [projected_tags(sentence) for sentence in gold], options)
    return CrfModel(stages)


class _StudentData:
    """Gold sentences as a student sees them."""

    def __init__(self, gold: Sequence[GoldSentence], hints: Sequence[Hints]) -> None:
        self.words = [item.sentence.tokens.words() for item in gold]
        self.tags = [tags_of(item.sentence.tokens, item.entities) for item in gold]
        self.hints = hints

    def __len__(self) -> int:
        return len(self.words)

    def train(self, options: CrfOptions, without: Collection[int] = ()) -> CrfTagger:
        """Learn from the sentences but those whose index is in ``without``."""
        repeats = [int(index not in without) for index in range(len(self))]
        return CrfTagger.train(
            self.words, self.tags, extra=self.hints, repeats=repeats, c1=options.c1, c2=options.c2
        )

    def cross_validated_tags(self, options: CrfOptions) -> list[list[str]]:
        """The tags that a student gives each sentence when it hasn't learned from it."""
        tags: list[list[str]] = [[] for _ in range(len(self))]
        for first in range(_FOLDS):
            fold = range(first, len(self), _FOLDS)
            student = self.train(options, without=fold)
            for index in fold:
                tags[index] = student.tag_words(self.words[index], self.hints[index])
        return tags


def _student(
    name: str, data: _StudentData, rival: Sequence[Sequence[str]] | None, options: CrfOptions
) -> dict[str, CrfTagger]:
    """A student by its name, or nothing unless it is clearly better than ``rival``, the tags it would replace."""
    if not len(data) or (rival is not None and len(data) < options.min_gold):
        return {}
    if rival is not None and len(data) <= options.validate_up_to:
        better = _share_better(data.cross_validated_tags(options), rival, data.tags)
        if better < options.min_better:
            return {}
    return {name: data.train(options)}


def _share_better(
    student: Sequence[Sequence[str]], rival: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]
) -> float:
    """In which share of bootstrap resamples of the sentences ``student`` has a higher span F1 than ``rival``."""
    counts = np.array(
        [
            [*_span_counts(student_tags, truth), *_span_counts(rival_tags, truth)]
            for student_tags, rival_tags, truth in zip(student, rival, gold, strict=True)
        ],
        dtype=np.float64,
    )
    sums = resampled_sums(counts, _RESAMPLES, _SEED)
    return float(np.mean(f1_score(*sums[:, :3].T) > f1_score(*sums[:, 3:].T)))


def _span_counts(tags: Sequence[str], truth: Sequence[str]) -> tuple[int, int, int]:
    predicted, gold = set(decode(tags)), set(decode(truth))
    return len(predicted & gold), len(predicted), len(gold)


def hints_of(words: Sequence[str], teacher: CrfTagger | None) -> Hints:
    """What the teacher thinks of each word, as observations; empty without a teacher."""
    if teacher is None:
        return [[] for _ in words]
    return tag_observations("teacher", teacher.tag_words(words))


def projection_hints(sentence: Sentence) -> Hints:
    """What the pipeline projected onto each word, and how sure it was, as observations."""
    tags = projected_tags(sentence)
    hints = tag_observations("silver", tags)
    for entity in sentence.silver or ():
        first, last, _ = sentence.tokens.covering(entity.start, entity.end)
        step = min(int(entity.confidence * _CONFIDENCE_STEPS), _CONFIDENCE_STEPS - 1)
        for index in range(first, last):
            hints[index].append(f"silver={tags[index]}|{step}")
    return hints


def projected_tags(sentence: Sentence) -> list[str]:
    """The projection as IOB2 tags."""
    tokens = sentence.tokens
    spans = [(*tokens.covering(item.start, item.end)[:2], item.label) for item in sentence.silver or ()]
    return encode(spans, len(tokens))


def joined(first: Hints, second: Hints) -> Hints:
    """Both observations at each word."""
    return [left + right for left, right in zip(first, second, strict=True)]


def _tagged(tagger: CrfTagger, sentence: Sentence, words: Sequence[str], hints: Hints | None = None) -> TaggedText:
    tags, marginals, confidence = tagger.tag_with_confidence(words, hints)
    return TaggedText(tuple(scored_entities(sentence.tokens, tags, marginals)), confidence)


def _as_projected(silver: Sequence[ProjectedEntity]) -> TaggedText:
    """The projection itself, for want of a student that knows better."""
    entities = tuple(Entity(item.start, item.end, item.label, item.confidence) for item in silver)
    return TaggedText(entities, prod(item.confidence for item in silver))
