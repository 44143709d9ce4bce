"""The merge rules: what becomes of each kind of data when gold and silver are put together.

They are a table, ``[training.rules]`` in the settings file, and every run records it. What has one right answer
isn't in the settings, but stands in the table that ``xner-label dataset`` shows: gold wins over silver, an empty
answer says that there is no entity, skipped and disputed tasks teach nothing, and nothing that models are judged
by, or has nearly its text, is learned from.

Tokens outside entities count less than entities, because a projection misses some (Mayhew et al. 2019, arXiv
1909.09270). A CRF knows no weights: it learns a token, leaves it unknown, or learns a sentence several times.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec
from msgspec import UNSET

from xner_label.entities import ProjectedEntity
from xner_label.iob2 import encode
from xner_label.settings.table import Settings
from xner_label.training.sentences import Sentence


class MergeRules(msgspec.Struct, frozen=True):
    """What may be chosen.

    ``min_silver_confidence``: below it a projected entity is doubtful; ``doubtful``: its tokens are then
    ``unknown`` or ``outside`` any entity. ``silver``: what an entity weighs that isn't doubtful, its
    ``confidence`` or 1 (``equal``); ``none`` learns from no silver at all. ``settled``: the same for an entity
    that people settled by an answer about its name, ``confidence``, ``certain`` (1, and never doubtful) or
    ``unknown``. ``partly_reviewed``: what the rest of a task is in which people settled nothing but names,
    ``silver`` like any other or ``unknown`` where it lies outside entities. ``outside_weight``: what a silver
    token outside entities weighs. ``gold_weight``: how often gold counts where it is learned beside silver.
    """

    min_silver_confidence: float = 0.3
    silver: str = "confidence"
    doubtful: str = "unknown"
    settled: str = "confidence"
    partly_reviewed: str = "silver"
    outside_weight: float = 0.5
    gold_weight: int = 3

    @classmethod
    def of(cls, settings: Settings) -> MergeRules:
        """As the settings say."""
        return cls(
            min_silver_confidence=settings.min_silver_confidence,
            silver=settings.silver_rule,
            doubtful=settings.doubtful_rule,
            settled=settings.settled_rule,
            partly_reviewed=settings.partly_reviewed_rule,
            outside_weight=settings.outside_weight,
            gold_weight=settings.gold_weight,
        )

    def is_doubtful(self, entity: ProjectedEntity) -> bool:
        """Whether an entity is too unsure to be taken for one."""
        if is_settled(entity) and self.settled != "confidence":
            return self.settled == "unknown"
        return entity.confidence < self.min_silver_confidence

    def weight(self, entity: ProjectedEntity) -> float:
        """What the tokens of an entity that isn't doubtful weigh, 0 to 1."""
        certain = self.settled == "certain" if is_settled(entity) else self.silver == "equal"
        return 1.0 if certain else entity.confidence


class Rule(msgspec.Struct, frozen=True):
    """A line of the table: a kind of data, what becomes of it, and the setting that says so (None: always so)."""

    data: str
    becomes: str
    setting: str | None = None


def table(rules: MergeRules) -> list[Rule]:
    """The rules in words, those that nobody can change first."""
    entity_weights = {"confidence": "learned, weighing its confidence", "equal": "learned, weighing 1"}
    settled = {
        "confidence": "silver, weighing its confidence",
        "certain": "silver, weighing 1",
        "unknown": "unknown text",
    }
    doubtful = {"unknown": "unknown text", "outside": "outside any entity"}
    rest = {"silver": "silver like any other", "unknown": "unknown outside entities"}
    return [
        Rule("reviewed task", "gold, never silver"),
        Rule("empty answer", "gold: there is no entity"),
        Rule("conflict", "left out until somebody decides"),
        Rule("skipped task", "left out"),
        Rule("held-out gold, and texts like it", "left out"),
        Rule("gold beside silver", f"counts {rules.gold_weight} times", "training.rules.gold_weight"),
        Rule("silver entity", entity_weights.get(rules.silver, "left out with its task"), "training.rules.silver"),
        Rule(
            f"silver entity below {rules.min_silver_confidence:g}",
            doubtful[rules.doubtful],
            "training.rules.doubtful",
        ),
        Rule("entity settled by name", settled[rules.settled], "training.rules.settled"),
        Rule("rest of a task with such", rest[rules.partly_reviewed], "training.rules.partly_reviewed"),
        Rule(
            "silver token outside entities",
            f"weighs {rules.outside_weight:g} (a CRF knows no weights)",
            "training.rules.outside_weight",
        ),
    ]


def is_settled(entity: ProjectedEntity) -> bool:
    """Whether people settled the entity by an answer about its name."""
    return entity.provenance is not UNSET and entity.provenance.answer is not None


def silver_tags(sentence: Sentence, labels: Collection[str], rules: MergeRules) -> list[str | None]:
    """The IOB2 tags of a sentence's projection; None, unknown, for the tokens of doubtful or foreign entities."""
    trusted: list[tuple[int, int, str]] = []
    unknown: list[tuple[int, int]] = []
    silver: Sequence[ProjectedEntity] = sentence.silver or ()
    for entity in silver:
        first, last, _ = sentence.tokens.covering(entity.start, entity.end)
        if entity.label in labels and not rules.is_doubtful(entity):
            trusted.append((first, last, entity.label))
        elif entity.label not in labels or rules.doubtful == "unknown":
            unknown.append((first, last))
    if rules.partly_reviewed == "unknown" and any(map(is_settled, silver)):
        unknown.append((0, len(sentence.tokens)))
    tags: list[str | None] = list(encode(trusted, len(sentence.tokens)))
    for first, last in unknown:
        tags[first:last] = [None if tag == "O" else tag for tag in tags[first:last]]
    return tags


def silver_weights(sentence: Sentence, rules: MergeRules) -> list[float]:
    """What each token of a silver sentence weighs, 0 to 1; that of an unknown one means nothing."""
    weights = [rules.outside_weight] * len(sentence.tokens)
    for entity in sentence.silver or ():
        if not rules.is_doubtful(entity):
            first, last, _ = sentence.tokens.covering(entity.start, entity.end)
            weights[first:last] = [rules.weight(entity)] * (last - first)
    return weights
