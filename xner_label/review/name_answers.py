"""What answers about names settle: each moves every occurrence of its group, and takes it back when it goes.

An answer isn't gold. It stands in an entity's provenance; a sentence that somebody reviewed keeps what they said.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from enum import StrEnum

import msgspec

from xner_label.entities import Prediction, ProjectedEntity, Provenance, Span
from xner_label.projection.corpus.settled import ANSWERED
from xner_label.review.name_groups import NameKey, name_form, place_of


class Kind(StrEnum):
    """What a person can say about a name."""

    LABEL = "label"
    SPAN = "span"
    NO_NAME = "no-name"
    DEPENDS = "depends"


class Verdict(msgspec.Struct, frozen=True):
    """``value`` is the label, or the other span's text; empty for the other kinds."""

    kind: Kind
    value: str = ""


class NameAnswer(msgspec.Struct, frozen=True):
    """A verdict in force. ``annotator`` and ``day`` (ISO 8601) are for the provenance."""

    key: NameKey
    verdict: Verdict
    annotator: str
    day: str

    @property
    def provenance(self) -> str:
        """Who settled it, and when, as an entity's provenance says it."""
        return f"{self.annotator}, {self.day}"


class NameAnswers:
    """The answers in force of a project, applied to predictions of sentences that nobody has reviewed.

    ``reviewed``: the texts of the others, by task id. ``verdicts`` and ``hashes`` hold the answers that settle
    anything, by question and by a text that names it; ``verdict_signature`` names them, ``signature`` also the
    reviewed sentences that they would speak of. Both are empty without any.
    """

    def __init__(self, answers: Iterable[NameAnswer], reviewed: Mapping[str, str] | None = None) -> None:
        self._answers = {answer.key: answer for answer in answers if answer.verdict.kind is not Kind.DEPENDS}
        self.verdicts = {key: answer.verdict for key, answer in self._answers.items()}
        self.hashes = {
            "\t".join(("name", key.source, key.target, key.label)): f"{verdict.kind}:{verdict.value}"
            for key, verdict in self.verdicts.items()
        }
        names = {key.target for key in self.verdicts}
        self.reviewed = {
            task_id for task_id, text in (reviewed or {}).items() if any(map(name_form(text).__contains__, names))
        }
        self.signature = self.verdict_signature = ""
        if self._answers:
            listed = sorted((key, verdict.kind, verdict.value) for key, verdict in self.verdicts.items())
            self.signature = self.verdict_signature = _digest(listed)
        if self.reviewed:
            self.signature += f"-{_digest(sorted(self.reviewed))}"

    @property
    def labels(self) -> set[str]:
        """The labels of the questions and of the answers."""
        given = {verdict.value for verdict in self.verdicts.values() if verdict.kind is Kind.LABEL}
        return given | {key.label for key in self.verdicts}

    def provenance(self, key: NameKey) -> str:
        """Who settled a question, and when."""
        return self._answers[key].provenance

    def __len__(self) -> int:
        return len(self._answers)

    def amend(self, prediction: Prediction) -> Prediction:
        """See :class:`xner_label.pipeline.pipeline.Amendment`."""
        return self.apply(prediction)[0]

    def apply(self, prediction: Prediction) -> tuple[Prediction, int]:
        """A task's prediction in the light of the answers, and how many of its entities they moved or confirmed.

        An entity whose group isn't answered, or that an answer moved when the project learned, stays as it is,
        unless a settled one now covers its place. Without an answer for any entity, and where somebody reviewed
        the sentence, the prediction itself comes back.
        """
        if not self._answers or str(prediction.id) in self.reviewed:
            return prediction, 0
        settled: list[ProjectedEntity] = []
        others: list[ProjectedEntity] = []
        touched = 0
        for entity in prediction.entities:
            answer = self._answers.get(key_of(entity))
            if answer is None or _is_settled(entity):
                others.append(entity)
                continue
            outcome = _outcome(entity, prediction.text, answer)
            if outcome is entity:
                others.append(entity)
                continue
            touched += 1
            if outcome is not None:
                settled.append(outcome)
        if not touched:
            return prediction, 0
        free = [entity for entity in others if not any(_meet(entity, other) for other in settled)]
        kept = sorted([*free, *_apart(settled)], key=lambda entity: (entity.start, entity.end))
        return msgspec.structs.replace(
            prediction, entities=tuple(kept), confidence=_task_confidence(prediction, kept)
        ), touched


NO_ANSWERS = NameAnswers(())


def key_of(entity: ProjectedEntity) -> NameKey:
    """The group of a projected entity."""
    name = "" if entity.source is None else entity.source.text
    return NameKey(name_form(name), name_form(entity.text), entity.label)


def verdict_in_force(by_annotator: Mapping[str, Verdict]) -> Verdict | None:
    """What a question's newest answers, one a person, amount to: None without any, or where people disagree."""
    verdicts = set(by_annotator.values())
    return verdicts.pop() if len(verdicts) == 1 else None


def _digest(content: object) -> str:
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()[:8]


def _is_settled(entity: ProjectedEntity) -> bool:
    return entity.provenance is not msgspec.UNSET and entity.provenance.answer is not None


def _outcome(entity: ProjectedEntity, text: str, answer: NameAnswer) -> ProjectedEntity | None:
    """The entity as the answer has it: None for no name, itself where another span isn't there."""
    verdict = answer.verdict
    if verdict.kind is Kind.NO_NAME:
        return None
    before = Provenance() if entity.provenance is msgspec.UNSET else entity.provenance
    change: dict[str, object] = {
        "confidence": max(entity.confidence, ANSWERED),
        "provenance": msgspec.structs.replace(before, answer=answer.provenance),
    }
    if verdict.kind is not Kind.LABEL or verdict.value != entity.label:
        # what people left standing elsewhere was counted for the entity as it was
        change["provenance"] = msgspec.structs.replace(
            before, answer=answer.provenance, settled=(), settled_count=0, against=(), against_count=0
        )
    if verdict.kind is Kind.LABEL:
        change["label"] = verdict.value
    else:
        place = place_of(text, Span(entity.start, entity.end), verdict.value)
        if place is None:
            return entity
        change |= {"start": place.start, "end": place.end, "text": text[place.start : place.end]}
    return msgspec.structs.replace(entity, **change)


def _meet(entity: ProjectedEntity, other: ProjectedEntity) -> bool:
    return entity.start < other.end and other.start < entity.end


def _apart(entities: list[ProjectedEntity]) -> list[ProjectedEntity]:
    """Those that don't meet, the surer and then the earlier ones first: two names may both claim a word now."""
    kept: list[ProjectedEntity] = []
    for entity in sorted(entities, key=lambda entity: (-entity.confidence, entity.start, entity.end)):
        if not any(_meet(entity, other) for other in kept):
            kept.append(entity)
    return kept


def _task_confidence(prediction: Prediction, entities: list[ProjectedEntity]) -> float:
    """P(the whole task is right): the old one, with the factor of each changed entity exchanged."""
    confidence = prediction.confidence
    for entity in prediction.entities:
        confidence /= max(entity.confidence, 1e-9)
    for entity in entities:
        confidence *= entity.confidence
    return min(max(confidence, 0.0), 1.0)
