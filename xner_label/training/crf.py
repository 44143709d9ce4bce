"""The CRF that learns in seconds: silver first, then gold with the silver as features.

Mixing silver sentences among the gold ones holds a model back as soon as there is some gold (docs/measurements.md,
"Training"). So training is staged (Liang et al. 2020, arXiv 2106.08977, end on gold alone too) and stacked
(Wolpert 1992):

1. the *teacher* learns from silver alone;
2. two students learn from gold alone with the teacher's tags as features. One of them also sees the tags that the
   pipeline projected; it answers for texts that have a projection.

A reviewed task is never silver, so the teacher hasn't seen the sentences whose tags the students get from it: they
learn how far to trust it on new text.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from xner_label.errors import ConfigurationError, UsageError
from xner_label.iob2 import encode, tags_of
from xner_label.projection.crf import FEATURES_VERSION, CrfTagger, scored_entities
from xner_label.training.data import GoldSentence, Sentence, TrainingData, silver_tags
from xner_label.training.model import Answer

KIND = "crf"
_DESCRIPTION = "crf.json"
_STAGES = ("teacher", "text", "projected")

Hints = list[list[str]]


class CrfOptions(msgspec.Struct, frozen=True):
    """L1 and L2 penalties of the two stages; the teacher's are stronger because its labels are noisy.

    ``min_gold``: sentences below which the students would be worse than the teacher, so that it stays alone.
    """

    teacher_c1: float = 0.1
    teacher_c2: float = 1.0
    c1: float = 0.1
    c2: float = 0.05
    min_gold: int = 20


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

    def predict(self, sentences: Sequence[Sentence]) -> list[Answer]:
        """One answer per sentence; an entity's score is the lowest marginal of its tags."""
        return [self._answer(sentence) for sentence in sentences]

    def _answer(self, sentence: Sentence) -> Answer:
        words = sentence.tokens.words()
        student = self._stages.get("text")
        hints: Hints | None = None
        if student is not None:
            hints = hints_of(sentence, words, self._teacher)
            if sentence.silver is not None and "projected" in self._stages:
                student = self._stages["projected"]
                hints = joined(hints, projection_hints(sentence))
        tagger = student or self._teacher
        assert tagger is not None
        tags, marginals, confidence = tagger.tag_with_confidence(words, hints)
        return Answer(tuple(scored_entities(sentence.tokens, tags, marginals)), confidence)

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
        if description.features_version != FEATURES_VERSION:
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
    if data.silver:
        tags = [silver_tags(sentence, data.labels, min_silver_confidence) for sentence in data.silver]
        words = [sentence.tokens.words() for sentence in data.silver]
        stages["teacher"] = CrfTagger.train(words, tags, c1=options.teacher_c1, c2=options.teacher_c2)
    teacher = stages.get("teacher")
    if data.gold and (teacher is None or len(data.gold) >= options.min_gold):
        hints = [hints_of(item.sentence, item.sentence.tokens.words(), teacher) for item in data.gold]
        stages["text"] = _student(data.gold, hints, options)
        projected = [
            (item, joined(hint, projection_hints(item.sentence)))
            for item, hint in zip(data.gold, hints, strict=True)
            if item.sentence.silver is not None
        ]
        if len(projected) >= options.min_gold:
            stages["projected"] = _student(
                [item for item, _ in projected], [hint for _, hint in projected], options
            )
    return CrfModel(stages)


def _student(gold: Sequence[GoldSentence], hints: Sequence[Hints], options: CrfOptions) -> CrfTagger:
    words = [item.sentence.tokens.words() for item in gold]
    tags = [tags_of(item.sentence.tokens, item.entities) for item in gold]
    return CrfTagger.train(words, tags, extra=hints, c1=options.c1, c2=options.c2)


def hints_of(sentence: Sentence, words: Sequence[str], teacher: CrfTagger | None) -> Hints:
    """What the teacher thinks of each word, as observations; empty without a teacher."""
    if teacher is None:
        return [[] for _ in words]
    return _observations("teacher", teacher.tag_words(words))


def projection_hints(sentence: Sentence) -> Hints:
    """What the pipeline projected onto each word, as observations."""
    tokens = sentence.tokens
    spans = [(*tokens.covering(item.start, item.end)[:2], item.label) for item in sentence.silver or ()]
    return _observations("silver", encode(spans, len(tokens)))


def joined(first: Hints, second: Hints) -> Hints:
    """Both observations at each word."""
    return [one + other for one, other in zip(first, second, strict=True)]


def _observations(name: str, tags: Sequence[str]) -> Hints:
    padded = ["^", *tags, "$"]
    return [
        [f"{name}={padded[index]}", f"{name}-1={padded[index - 1]}", f"{name}+1={padded[index + 1]}"]
        for index in range(1, len(padded) - 1)
    ]
