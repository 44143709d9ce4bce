"""A project's corpus with all that it has learned: made once, stored, and asked about every task
(:mod:`learned_projector`).

The tasks it was made of are answered with what was found of them then. Others are projected in the light of its
counts, its taggers and its adapted weights, in milliseconds; what they add to the counts is stored beside it.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from xner_label.entities import Entity, Provenance
from xner_label.errors import ConfigurationError
from xner_label.iob2 import TokenSpan
from xner_label.predicting.provenance import Witnesses, provenances, said_elsewhere
from xner_label.predicting.stored_spans import (
    Asked,
    StoredSpan,
    places_of,
    spans_of,
    stored,
    stored_places,
)
from xner_label.projection.corpus.counts import from_document, to_document
from xner_label.projection.corpus.evidence import Observations, sums_elsewhere
from xner_label.projection.corpus.out_of_fold_tagger import Tagged, tag_by_fold
from xner_label.projection.corpus.rounds import (
    ChosenSpans,
    first_opinion,
)
from xner_label.projection.corpus.settled import clamped, settle
from xner_label.projection.corpus.tally import Tally
from xner_label.projection.fitting.adaptation import Adapted
from xner_label.projection.fitting.corrections import early_tags, silver_of, spread
from xner_label.projection.loglinear.mentions import is_tagged
from xner_label.projection.loglinear.model import Model
from xner_label.projection.loglinear.weights_file import Weights
from xner_label.projection.problem import Instance
from xner_label.review.name_answers import NO_ANSWERS, NameAnswers
from xner_label.review.name_groups import NameKey
from xner_label.review.name_occurrences import (
    Occurrences,
    SpanPlace,
    answers_on,
    occurrences_of,
    without_reviewed,
)
from xner_label.stages.tagging.crf import CrfTagger

# A state made of fewer of a project's tasks than this share is made anew.
ENOUGH = 0.8
# Taggers and weights are learned anew when there are so many times the tasks that their sample was drawn from.
_TWICE = 2


class Refreshed(msgspec.Struct, frozen=True):
    """How a table was made anew, taggers and weights as before. ``before``: the signature of the state till then;
    ``names``, ``texts``: those whose entries are others since, as :class:`Lookups` takes them; ``added``:
    :func:`short_hash` of the tasks that weren't counted then. All are sorted, 8 bytes each."""

    before: str
    names: bytes
    texts: bytes
    added: bytes


class CorpusState(msgspec.Struct, kw_only=True):
    """What is stored. ``spans``: what was found of each task, by a hash of all that it depends on; ``known``: what
    it knows of people, a hash for each answer; ``asked``: the spans of the answered questions about names, as rows
    of matched mention and tokens, by task and question; ``corpus``: a hash of the weights and of all tasks, and
    ``early``: the taggers of :func:`corrections.early_tags` of these; ``tasks``: how many
    there were where not all were learned from; ``counted``: :func:`short_hash` of each of those that only
    the tally knows, sorted, 8 bytes each; ``tagged``: whether a tagger found source entities. Of a state whose
    table can be made anew: ``sample`` is what those say that it learned from, ``repeated`` which of them it saw
    more than once, ``sampled_of`` how many tasks there were."""

    signature: str
    weights: str
    gold: str
    adapted: Adapted
    taggers: list[bytes]
    tally: Tally
    witnesses: Witnesses
    spans: dict[str, list[StoredSpan]]
    names: str = ""
    known: dict[str, str] = {}
    asked: dict[str, list[Asked]] = {}
    corpus: str = ""
    early: list[bytes] = []
    tasks: int = 0
    counted: bytes = b""
    tagged: bool | None = None
    sample: Tally | None = None
    repeated: dict[str, int] = {}
    sampled_of: int = 0
    refreshed: Refreshed | None = None

    def dump(self) -> bytes:
        """As :meth:`load` reads it."""
        return zlib.compress(msgspec.msgpack.encode(self, enc_hook=to_document), 1)

    @classmethod
    def load(cls, content: bytes) -> CorpusState:
        """Raises ConfigurationError for what another version wrote."""
        try:
            return msgspec.msgpack.decode(zlib.decompress(content), type=cls, dec_hook=from_document)
        except (zlib.error, msgspec.MsgspecError) as error:
            raise ConfigurationError(
                "what the project has learned was stored by another version", hint="run `xner-label predict` again"
            ) from error

    def knows(self, gold: Mapping[str, Sequence[Entity]], names: NameAnswers) -> bool:
        """Whether it was made of these answers."""
        return (self.gold, self.names) == (gold_digest(gold), names.signature)

    def covers(self, instances: Sequence[Instance]) -> bool:
        """Whether it learned from enough of these: of a sample as large as its own, which holds fewer of the tasks
        that it knows the more have come since."""
        known = sum(key_of(instance) in self.spans for instance in instances)
        share = min(1.0, self.sampled_of / self.tasks) if self.sampled_of else 1.0
        return known >= ENOUGH * share * len(instances)

    def counts(self, tasks: int) -> bool:
        """Whether it was made when there were enough of so many tasks."""
        return not self.counted or self.tasks >= ENOUGH * tasks

    def teaches(self, instances: Sequence[Instance], tasks: int) -> bool:
        """Whether its taggers and weights serve so many tasks, of which the instances are a sample: more came, at
        most as many again as there were, and those there were are the same."""
        if self.sample is None or not self.sampled_of <= tasks <= _TWICE * self.sampled_of:
            return False
        known = sum(key_of(instance) in self.spans for instance in instances)
        return known >= ENOUGH * self.sampled_of / tasks * len(instances)


def key_of(instance: Instance) -> str:
    """A hash of everything that the projection of an instance depends on."""
    content = (
        instance.target.text,
        instance.target.words(),
        instance.source.text,
        [(mention.first, mention.last, mention.label, mention.score) for mention in instance.mentions],
        instance.links,
    )
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()[:20]


def short_hash(key: str) -> int:
    """64 bits of a task's key."""
    return int(key[:16], 16)


def gold_digest(gold: Mapping[str, Sequence[Entity]]) -> str:
    """A hash of what people settled, by task id; empty for nothing."""
    return _hash(sorted(_answers(gold).items())) if gold else ""


def learn_corpus(
    weights: Weights,
    ids: Sequence[str],
    instances: Sequence[Instance],
    settled_entities: Mapping[str, Sequence[Entity]],
    names: NameAnswers = NO_ANSWERS,
    earlier: CorpusState | None = None,
) -> CorpusState:
    """Project a corpus in the light of what people settled in some of its tasks, by task id, and of ``names``.

    The same weights, tasks and answers give the same state, whatever was learned before. An ``earlier`` state of
    the same tasks saves the rounds that know no answers, and it knows which spans a question about a name had when
    it was asked: its answers may have moved them since. A question that it doesn't know was asked about its spans.
    """
    settled_entities = {task_id: settled_entities[task_id] for task_id in ids if task_id in settled_entities}
    gold: dict[int, list[TokenSpan]] = {}
    for number, (task_id, instance) in enumerate(zip(ids, instances, strict=True)):
        if task_id in settled_entities:
            gold[number] = _token_spans(instance, settled_entities[task_id])
    labels = {label for spans in gold.values() for _, _, label in spans} | names.labels
    observations = Observations(instances, [Model(weights)], [0] * len(instances), more_labels=labels)
    keys = [key_of(instance) for instance in instances]
    corpus = _hash([weights.digest, *sorted(keys)])
    if earlier is not None and earlier.weights != weights.digest:
        earlier = None
    if earlier is not None and earlier.corpus == corpus:
        taggers = earlier.early
        early = _tagged(observations, taggers)
    else:
        early = _early_tags(weights, instances, observations)
        taggers = [] if early is None else [tagger.to_bytes() for tagger in early.taggers]

    def silver() -> ChosenSpans:
        return silver_of(observations, weights.rounds, early, settle(observations, gold))

    asked = _asked(observations, keys, names, earlier, silver) if names.verdicts else {}
    reviewed = {number for number, task_id in enumerate(ids) if task_id in names.reviewed}
    occurrences = without_reviewed(asked, gold.keys() | reviewed)
    moved = answers_on(observations, occurrences, names.verdicts)
    result = spread(observations, weights.rounds, early, gold, moved)
    settled = settle(observations, gold, moved)
    belief = clamped(observations, first_opinion(observations), settled)
    witnesses = Witnesses.of(observations, settled, gold, ids)
    digest = gold_digest(settled_entities)
    places = stored_places(observations, keys, asked)
    content = [corpus]
    if digest or names.signature:
        content += [digest, names.signature, _hash(sorted(places.items()))]
    sums = sums_elsewhere(
        observations, belief, settled.weight, settled.loose, settled.mention_weight(observations)
    )
    elsewhere = said_elsewhere(observations, result.chosen, result.adapted.spoken, settled, gold)
    reasons = provenances(observations, result.chosen, sums, result.tagged, witnesses, ids, elsewhere)
    reasons = _with_answers(observations, result.chosen, reasons, occurrences, names)
    return CorpusState(
        signature=_hash(content)[:10],
        weights=weights.digest,
        gold=digest,
        adapted=result.adapted,
        taggers=[] if result.tagged is None else [tagger.to_bytes() for tagger in result.tagged.taggers],
        tally=Tally.of(observations, belief, settled),
        witnesses=witnesses,
        spans=stored(observations, keys, result.chosen, reasons),
        names=names.signature,
        known=_answers(settled_entities) | names.hashes,
        asked=places,
        corpus=corpus,
        early=taggers,
        tagged=any(map(is_tagged, instances)),
    )


def _token_spans(instance: Instance, entities: Sequence[Entity]) -> list[TokenSpan]:
    """What people settled, in tokens; an entity whose border lies inside one widens to the token."""
    spans: list[TokenSpan] = []
    for entity in sorted(entities, key=lambda entity: (entity.start, entity.end)):
        first, last, _ = instance.target.covering(entity.start, entity.end)
        if first < last and all(last <= start or end <= first for start, end, _ in spans):
            spans.append((first, last, entity.label))
    return spans


def _early_tags(weights: Weights, instances: Sequence[Instance], observations: Observations) -> Tagged | None:
    """The tags of the rounds that know no answers. Labels that people alone gave take no part in them."""
    model = Model(weights)
    labels = {mention.label for instance in instances for mention in instance.mentions}
    if labels | set(model.known) >= set(observations.labels):
        return early_tags(observations, weights.rounds)
    tagged = early_tags(Observations(instances, [model], [0] * len(instances)), weights.rounds)
    return None if tagged is None else _tagged(observations, [tagger.to_bytes() for tagger in tagged.taggers])


def _tagged(observations: Observations, taggers: Sequence[bytes]) -> Tagged | None:
    """What stored taggers say of a corpus; None without any."""
    if not taggers:
        return None
    words = [instance.target.words() for instance in observations.instances]
    return tag_by_fold(words, observations.labels, tuple(map(CrfTagger, taggers)))


def _asked(
    observations: Observations,
    keys: Sequence[str],
    names: NameAnswers,
    earlier: CorpusState | None,
    silver: Callable[[], ChosenSpans],
) -> dict[NameKey, list[SpanPlace]]:
    """The spans of the answered questions: those that they had when they were asked, and of tasks that have come
    since those of ``silver``."""
    spans, places = ({}, {}) if earlier is None else (earlier.spans, earlier.asked)
    known = places_of(observations, keys, places)
    asked = occurrences_of(observations, spans_of(observations, keys, spans), names.verdicts, known)
    new = np.array([key not in spans for key in keys], bool)
    if new.any():
        chosen = silver()
        later = occurrences_of(observations, chosen.select(new[chosen.sentence]), names.verdicts)
        asked = {key: list(dict.fromkeys([*places, *later[key]])) for key, places in asked.items()}
    return asked


def _with_answers(
    observations: Observations,
    chosen: ChosenSpans,
    reasons: Sequence[Provenance],
    occurrences: Occurrences,
    names: NameAnswers,
) -> list[Provenance]:
    """The provenances, with who settled the spans that answers about names moved or confirmed."""
    settled: dict[tuple[int, int, int], str] = {}
    for key, places in occurrences.items():
        moved = answers_on(observations, {key: places}, names.verdicts)
        if moved is not None:
            for sentence, first, last in zip(moved.sentence, moved.first, moved.last, strict=True):
                settled[int(sentence), int(first), int(last)] = names.provenance(key)
    spans = zip(chosen.sentence.tolist(), chosen.first.tolist(), chosen.last.tolist(), strict=True)
    return [
        msgspec.structs.replace(reason, answer=settled[span]) if span in settled else reason
        for span, reason in zip(spans, reasons, strict=True)
    ]


def _answers(gold: Mapping[str, Sequence[Entity]]) -> dict[str, str]:
    """A hash of what people settled in each task."""
    return {task_id: _hash(msgspec.to_builtins(list(entities))) for task_id, entities in gold.items()}


def _hash(content: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()[:20]
