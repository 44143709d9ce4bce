"""What a corpus tells about each of its candidates: the same name elsewhere, and a tagger trained on the silver.

Every count leaves the candidate's own sentence out. Notation as in :mod:`columns`; K labels.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from xner_label.projection.corpus.counts import find
from xner_label.projection.corpus.text_hashes import HashedWords, Hashes, hash_texts
from xner_label.projection.loglinear.candidate_windows import Candidates
from xner_label.projection.loglinear.columns import (
    GIVEN,
    KINDS,
    OVERLOOKED,
    Bools,
    Floats,
    Ints,
    Numbers,
    Vocabulary,
    borders,
    expand,
    scripts,
)
from xner_label.projection.loglinear.features import CANDIDATE_FEATURES, MENTION_FEATURES
from xner_label.projection.loglinear.label_regression import label_observations, label_probabilities
from xner_label.projection.loglinear.mentions import is_tagged, matched_mentions
from xner_label.projection.loglinear.model import BATCH, Model, SentenceBatch
from xner_label.projection.problem import Instance

MAX_NGRAM = 6

# Features of the per-sentence model that are evidence, too.
_MENTION_FEATURES = (
    *("odds", "source_initial", "one", "upper", "lower", "digits", "short_name", "next_lower", "best_same"),
)
_CANDIDATE_FEATURES = ("same", "ratio", "dice", "no_capital*", "first_capital*", "longer", "initial")
_FEATURES = (
    *(f"mention:{name}" for name in _MENTION_FEATURES),
    *(f"candidate:{name}" for name in _CANDIDATE_FEATURES),
)
# What the weights file calls the evidence of a candidate, and of a label.
EVIDENCE: tuple[str, ...] = (
    *("bias", "score", "positive_score"),
    *("vote", "voted", "null_vote", "names", "tagged_share", "entity_rate", "occurs", "entity_count"),
    *("tag", "tag_odds"),
    *_FEATURES,
)
LABEL_EVIDENCE: tuple[str, ...] = ("base", "vote", "strong_vote", "source", "tag", "strong_tag")


class TagMarginals(NamedTuple):
    """A target tagger's P(B-label) and P(I-label) at each word, both (words, K)."""

    begin: Floats
    inside: Floats


class Observations:
    """All mentions and candidates of a corpus, with the per-sentence model's opinion of them.

    instances: those given with the mentions that take part; labels: K names, sorted; incomplete: of S, whether a
    tagger, which may have missed something, and not a person found the source entities; caseless: (S,)
    sentence, kind, name, open: (M,), number of the instance, GIVEN, TAGGED or OVERLOOKED, code of the folded name,
    whether the label may be changed; place: of M, the mention's place in its instance as given, None for one that
    the tagger overlooked; base_label: (M, K) P(label) by the per-sentence model; weight_set: (M,) as in
    :class:`Columns`
    candidates: positions counted over the corpus' target tokens; target_at: (S + 1,)
    text, score: (C,), code of the folded text and log-odds; features: (C, len(_FEATURES)), those of the
    per-sentence model that are evidence, too
    source_first, source_last: (M,), the mention's range of the corpus' source tokens; source_at: (S + 1,)
    word, source_word: codes of all folded target and source tokens
    """

    def __init__(
        self,
        instances: Sequence[Instance],
        models: Sequence[Model],
        fold: Sequence[int],
        *,
        more_labels: Collection[str] = (),
        tagged: bool | None = None,
    ) -> None:
        """``models[fold[k]]`` is asked about instance ``k``; ``more_labels`` are those that people gave.

        ``tagged``: whether a tagger found the source entities of the corpus that the instances are of, so that it
        may have found none in some; None: whether it did of these.
        """
        if tagged is None:
            tagged = any(map(is_tagged, instances))
        self.incomplete = [
            tagged and all(mention.score is not None for mention in instance.mentions) for instance in instances
        ]
        matched = [
            matched_mentions(instance, overlooked=incomplete)
            for instance, incomplete in zip(instances, self.incomplete, strict=True)
        ]
        self.instances = [instance for instance, _ in matched]
        self.known = models[0].known
        labels = {mention.label for instance in instances for mention in instance.mentions}
        self.labels = tuple(sorted(labels | set(self.known) | set(more_labels)))
        self.target_at: Ints = borders(len(instance.target) for instance in self.instances)
        self.source_at: Ints = borders(len(instance.source) for instance in self.instances)
        self._vocabulary = Vocabulary()
        self._codes: dict[str, int] = {}
        self._type: Ints = self._vocabulary.types(instance.target.words() for instance in self.instances)
        self._source_type: Ints = self._vocabulary.types(instance.source.words() for instance in self.instances)
        code_of_type = self._code(self._vocabulary.folded)
        self.word: Ints = code_of_type[self._type]
        self.source_word: Ints = code_of_type[self._source_type]
        solvable = [
            number for number, instance in enumerate(self.instances) if instance.mentions and len(instance.target)
        ]
        batches: list[_BatchObservations] = []
        self.place: list[int | None] = []
        for fold_number in sorted({fold[number] for number in solvable}):
            in_fold = [number for number in solvable if fold[number] == fold_number]
            self.place += [place for number in in_fold for place in matched[number][1]]
            for at in range(0, len(in_fold), BATCH):
                batches.append(self._observe(in_fold[at : at + BATCH], models[fold_number]))
        self.sentence: Ints = _joined([batch.sentence for batch in batches])
        self.kind: Ints = _joined([batch.kind for batch in batches])
        self.caseless = self._caseless_sentences()
        self.weight_set: Ints = self.kind + KINDS * self.caseless[self.sentence]
        self.name: Ints = _joined([batch.name for batch in batches])
        self.source_first: Ints = _joined([batch.source_first for batch in batches])
        self.source_last: Ints = _joined([batch.source_last for batch in batches])
        self.open: Bools = self.kind != GIVEN
        self.base_label: Floats = np.concatenate(
            [np.zeros((0, len(self.labels))), *(batch.base_label for batch in batches)]
        )
        self.open &= np.concatenate([np.zeros(0, bool), *(batch.changeable for batch in batches)])
        counts = _joined([batch.counts for batch in batches])
        self.candidates = Candidates(
            np.repeat(np.arange(len(counts)), counts),
            _joined([batch.first for batch in batches]),
            _joined([batch.last for batch in batches]),
            np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]),
        )
        self.text: Ints = _joined([batch.text for batch in batches])
        self.score: Floats = np.concatenate([np.zeros(0), *(batch.score for batch in batches)])
        self.features: Floats = np.concatenate(
            [np.zeros((0, len(_FEATURES))), *(batch.features for batch in batches)]
        )
        self._occurrences, self._occurrences_in_sentence = self._count_texts()

    def __len__(self) -> int:
        return len(self.sentence)

    @property
    def texts(self) -> list[str]:
        """The folded text of each code."""
        return list(self._codes)

    @cached_property
    def name_hashes(self) -> Hashes:
        """(M,) hashes of the folded names."""
        codes, group = np.unique(self.name, return_inverse=True)
        texts = self.texts
        return hash_texts([texts[code] for code in codes.tolist()])[group]

    @cached_property
    def text_hashes(self) -> Hashes:
        """(C,) hashes of the folded texts."""
        return self._hashed_words.runs(self.candidates.first, self.candidates.last)

    @cached_property
    def _hashed_words(self) -> HashedWords:
        """Of all target tokens."""
        codes, group = np.unique(self.word, return_inverse=True)
        texts = self.texts
        return HashedWords([texts[code] for code in codes.tolist()], group)

    def code_of(self, text: str) -> int:
        """The code of a folded text, -1 for one that the corpus doesn't have."""
        return self._codes.get(text, -1)

    def occurrences(self, weight: Floats) -> Floats:
        """(C,) how often the candidate's text stands in other sentences, which count by ``weight`` (S,)."""
        code, sentence, times = self._occurrences
        total = np.bincount(code, times * weight[sentence], len(self._codes))
        in_sentence = self._occurrences_in_sentence * weight[self.sentence[self.candidates.mention]]
        result: Floats = np.maximum(total[self.text] - in_sentence, 0.0)
        return result

    @property
    def occurrences_at_home(self) -> Ints:
        """(C,) how often the candidate's text stands in its own sentence."""
        return self._occurrences_in_sentence

    def _observe(self, numbers: Sequence[int], model: Model) -> _BatchObservations:
        types = (
            self._type[_of_sentences(self.target_at, numbers)],
            self._source_type[_of_sentences(self.source_at, numbers)],
        )
        batch = SentenceBatch([self.instances[number] for number in numbers], self._vocabulary, types)
        columns, candidates, features = batch.columns, batch.candidates, batch.features
        overlooked = columns.kind == OVERLOOKED
        changeable = batch.relabelled(model.known) | overlooked
        label = np.array([self.labels.index(name) if name else 0 for name in columns.labels])[columns.label]
        base = np.zeros((len(label), len(self.labels)))
        base[np.arange(len(label)), label] = 1.0
        if model.known:
            observed = label_observations(columns, model.known)[changeable]
            places = [self.labels.index(label) for label in model.known]
            base[np.ix_(changeable, np.arange(len(self.labels)))] = 0.0
            base[np.ix_(changeable, places)] = label_probabilities(observed, model.label)
        else:
            base[overlooked] = 1.0 / len(self.labels)
        folded = self._vocabulary.folded
        target = [folded[number] for number in columns.target.tolist()]
        source = [folded[number] for number in columns.source.tolist()]
        mention = candidates.mention
        of_mention = features.mention[:, [MENTION_FEATURES.index(name) for name in _MENTION_FEATURES]]
        of_candidate = features.candidate[:, [CANDIDATE_FEATURES.index(name) for name in _CANDIDATE_FEATURES]]
        source_shift = (self.source_at[np.array(numbers)] - columns.source_at[:-1])[columns.sentence]
        shift = self.target_at[np.array(numbers)] - columns.target_at[:-1]
        shift = shift[columns.sentence[mention]]
        return _BatchObservations(
            sentence=np.array(numbers)[columns.sentence],
            kind=columns.kind,
            name=self._code(_joined_words(source, columns.first, columns.last)),
            source_first=columns.first + source_shift,
            source_last=columns.last + source_shift,
            changeable=changeable,
            base_label=base,
            counts=np.diff(candidates.at),
            first=candidates.first + shift,
            last=candidates.last + shift,
            text=self._code(_joined_words(target, candidates.first, candidates.last)),
            score=batch.log_odds(model),
            features=np.column_stack([of_mention[mention], of_candidate]),
        )

    def _code(self, texts: Sequence[str]) -> Ints:
        codes = self._codes
        return np.array([codes.setdefault(text, len(codes)) for text in texts], np.int64)

    def _caseless_sentences(self) -> Bools:
        return scripts(self._vocabulary.table()[self._type], self.target_at)[0]

    def _count_texts(self) -> tuple[tuple[Ints, Ints, Ints], Ints]:
        """Which candidates' texts, up to MAX_NGRAM tokens, stand where: (code, sentence, times), each (n,); and
        how often each candidate's text stands in its own sentence (C,)."""
        wanted, row = np.unique(self.text_hashes, return_index=True)
        code_of = self.text[row]
        count = len(self.instances)
        sentence = np.repeat(np.arange(count), np.diff(self.target_at))
        end = self.target_at[1:][sentence]
        token = np.arange(len(sentence))
        longest = min(MAX_NGRAM, int((self.candidates.last - self.candidates.first).max(initial=0)))
        standing = [np.zeros(0, np.int64)]
        for length in range(1, longest + 1):
            first = token[token + length <= end]
            place, known = find(wanted, self._hashed_words.runs(first, first + length))
            standing.append(code_of[place[known]] * count + sentence[first[known]])
        places, times = np.unique(np.concatenate(standing), return_counts=True)
        place, known = find(places, self.text * count + self.sentence[self.candidates.mention])
        own_sentence = np.zeros(len(place), np.int64)
        own_sentence[known] = times[place[known]]
        return (places // max(count, 1), places % max(count, 1), times), own_sentence


@dataclass(frozen=True, kw_only=True)
class _BatchObservations:
    """What one batch adds to the observations, see there; ``counts``: (M,) candidates of each mention."""

    sentence: Ints
    kind: Ints
    name: Ints
    source_first: Ints
    source_last: Ints
    changeable: Bools
    base_label: Floats
    counts: Ints
    first: Ints
    last: Ints
    text: Ints
    score: Floats
    features: Floats


class Opinion(NamedTuple):
    """What is believed at some point: P(t) of each candidate (C,), P(not projected) (M,), P(label) (M, K)."""

    projected: Floats
    absent: Floats
    label: Floats


class Sums(NamedTuple):
    """What other sentences say; sentences may count more than once.

    names, tagged, absent: (M,), mentions of the same name, those that a tagger found, those not projected
    labels: (M, K), projected mentions of the same name by label
    votes: (C,), mentions of the same name on the same text; entities: entities of that text; occurrences: how
    often the text stands there
    """

    names: Floats
    tagged: Floats
    absent: Floats
    labels: Floats
    votes: Floats
    entities: Floats
    occurrences: Floats


class LooseSpans(NamedTuple):
    """Entities of a corpus that no mention is behind, all (n,): sentence, token range in it, code of the folded
    text (-1 for one that no candidate has), place of the label."""

    sentence: Ints
    first: Ints
    last: Ints
    text: Ints
    label: Ints


def sums_elsewhere(
    observations: Observations,
    belief: Opinion,
    weight: Floats | None = None,
    loose: LooseSpans | None = None,
    mention_weight: Floats | None = None,
) -> Sums:
    """What the other sentences of the corpus say. ``weight`` (S,): what each counts, 1 when None;
    ``mention_weight`` (M,): what each mention counts, that of its sentence when None."""
    mention, sentence, name = observations.candidates.mention, observations.sentence, observations.name
    by_sentence = np.ones(len(observations.instances)) if weight is None else weight
    by_mention = by_sentence[sentence] if mention_weight is None else mention_weight
    text, where, value = observations.text, sentence[mention], belief.projected * by_mention[mention]
    pair = name[mention] * (observations.text.max(initial=0) + 1) + observations.text
    votes = elsewhere(pair, where, value)
    if loose is not None:
        known = loose.text >= 0
        text = np.concatenate([text, loose.text[known]])
        where = np.concatenate([where, loose.sentence[known]])
        value = np.concatenate([value, by_sentence[loose.sentence[known]]])
    count = len(observations.labels)
    projected = by_mention * (1.0 - belief.absent)
    labels = [elsewhere(name, sentence, projected * belief.label[:, place]) for place in range(count)]
    return Sums(
        names=elsewhere(name, sentence, by_mention),
        tagged=elsewhere(name, sentence, by_mention * (observations.kind != OVERLOOKED)),
        absent=elsewhere(name, sentence, by_mention * belief.absent),
        labels=np.column_stack(labels).reshape(-1, count),
        votes=votes,
        entities=elsewhere(text, where, value)[: len(mention)],
        occurrences=observations.occurrences(by_sentence),
    )


def sums_at_home(observations: Observations, belief: Opinion) -> Sums:
    """What each sentence says of its own names and texts: what :func:`sums_elsewhere` leaves out."""
    mention, sentence, name = observations.candidates.mention, observations.sentence, observations.name
    pair = name[mention] * (observations.text.max(initial=0) + 1) + observations.text
    where, count = sentence[mention], len(observations.labels)
    projected = 1.0 - belief.absent
    labels = [_at_home(name, sentence, projected * belief.label[:, place]) for place in range(count)]
    return Sums(
        names=_at_home(name, sentence, np.ones(len(name))),
        tagged=_at_home(name, sentence, (observations.kind != OVERLOOKED) * 1.0),
        absent=_at_home(name, sentence, belief.absent),
        labels=np.column_stack(labels).reshape(-1, count),
        votes=_at_home(pair, where, belief.projected),
        entities=_at_home(observations.text, where, belief.projected),
        occurrences=observations.occurrences_at_home.astype(np.float64),
    )


def candidate_evidence(observations: Observations, sums: Sums, tags: Floats | None) -> Floats:
    """The features of each candidate, shape (C, len(EVIDENCE)).

    ``tags`` (C, K): the target tagger's probability of that span with each label; None before there is one.
    """
    mention, names = observations.candidates.mention, sums.names
    tag: Floats = np.zeros(len(mention)) if tags is None else np.minimum(tags.sum(axis=1), 1.0)
    evidence: dict[str, Numbers] = {
        "bias": np.ones(len(mention)),
        "score": observations.score / 3,
        "positive_score": np.maximum(observations.score, 0.0) / 3,
        "vote": sums.votes / (names[mention] + 1),
        "voted": (names[mention] > 0) * 1.0,
        "null_vote": (sums.absent / (names + 1))[mention],
        "names": np.log1p(names)[mention],
        "tagged_share": ((sums.tagged + 0.5) / (names + 1))[mention],
        "entity_rate": np.minimum(sums.entities / (sums.occurrences + 1), 1.5),
        "occurs": (sums.occurrences > 0) * 1.0,
        "entity_count": np.log1p(sums.entities),
        "tag": tag,
        "tag_odds": np.zeros(len(mention)) if tags is None else np.log((tag + 0.01) / (1.01 - tag)) / 3,
    }
    evidence |= dict(zip(_FEATURES, observations.features.T, strict=True))
    return np.column_stack([evidence[name] for name in EVIDENCE])


def label_evidence(observations: Observations, belief: Opinion, sums: Sums, tags: Floats | None) -> Floats:
    """What speaks for each label of each mention, shape (M, K, len(LABEL_EVIDENCE)).

    ``belief`` is that of the per-sentence model: it knows nothing of what a person may have said of the mention.
    """
    count, votes = len(observations.labels), sums.labels
    total = votes.sum(axis=1, keepdims=True)
    share = np.log((votes + 0.5 * observations.base_label + 1e-4) / (total + 0.5))
    if tags is None:
        tagged: Floats = np.zeros_like(votes)
    else:
        mention = observations.candidates.mention
        tagged = np.column_stack(
            [np.bincount(mention, belief.projected * tags[:, place], len(observations)) for place in range(count)]
        )
    tag_total = tagged.sum(axis=1, keepdims=True)
    tag_share = np.log((tagged + 0.02 / count) / (tag_total + 0.02)) if tags is not None else tagged
    evidence = {
        "base": np.log(observations.base_label + 1e-4),
        "vote": share,
        "strong_vote": share * np.minimum(np.log1p(total), 3.0) / 2,
        "source": (observations.base_label == observations.base_label.max(axis=1, keepdims=True)) * 1.0,
        "tag": tag_share,
        "strong_tag": tag_share * np.minimum(tag_total, 1.0),
    }
    return np.stack([evidence[name] for name in LABEL_EVIDENCE], axis=2)


def span_tags(observations: Observations, tags: Sequence[TagMarginals | None]) -> Floats:
    """(C, K) the lowest marginal that the span, with each label and ended by no I, rests on."""
    candidates = observations.candidates
    if not len(candidates.first):
        return np.zeros((0, len(observations.labels)))
    begin = np.concatenate([marginal.begin for marginal in tags if marginal is not None])
    inside = np.concatenate([marginal.inside for marginal in tags if marginal is not None])
    first, last = candidates.first, candidates.last
    lowest: Floats = begin[first]
    for offset in range(1, int((last - first).max())):
        longer = np.flatnonzero(last - first > offset)
        lowest[longer] = np.minimum(lowest[longer], inside[first[longer] + offset])
    end = observations.target_at[observations.sentence[candidates.mention] + 1]
    followed = np.flatnonzero(last < end)
    lowest[followed] = np.minimum(lowest[followed], 1.0 - inside[last[followed]])
    return lowest


def span_probability(marginal: TagMarginals, first: int, last: int) -> Floats:
    """(K,) the lowest marginal that the span ``[first, last)`` rests on, for each label."""
    lowest: Floats = marginal.begin[first]
    if last - first > 1:
        lowest = np.minimum(lowest, marginal.inside[first + 1 : last].min(axis=0))
    if last < len(marginal.inside):
        lowest = np.minimum(lowest, 1.0 - marginal.inside[last])
    return lowest


def elsewhere(code: Ints, sentence: Ints, values: Floats) -> Floats:
    """The sum of ``values`` over elements of the same code in other sentences, shape (n,)."""
    if not len(code):
        return np.zeros(0)
    group = np.unique(code, return_inverse=True)[1]
    group_in_sentence = np.unique(group * (int(sentence.max()) + 1) + sentence, return_inverse=True)[1]
    total, in_sentence = np.bincount(group, values), np.bincount(group_in_sentence, values)
    result: Floats = np.maximum(total[group] - in_sentence[group_in_sentence], 0.0)
    return result


def _at_home(code: Ints, sentence: Ints, values: Floats) -> Floats:
    """The sum of ``values`` over elements of the same code in the same sentence, shape (n,)."""
    if not len(code):
        return np.zeros(0)
    group = np.unique(code, return_inverse=True)[1]
    both = np.unique(group * (int(sentence.max()) + 1) + sentence, return_inverse=True)[1]
    totals: Floats = np.bincount(both, values).astype(np.float64)
    return totals[both]


def _of_sentences(at: Ints, numbers: Sequence[int]) -> Ints:
    """The places of all words of these sentences, whose borders are ``at`` (S + 1,)."""
    chosen = np.array(numbers, np.int64)
    return expand(at[chosen], at[chosen + 1] - at[chosen])[1]


def _joined(arrays: Sequence[Ints]) -> Ints:
    return np.concatenate([np.zeros(0, np.int64), *arrays])


def _joined_words(words: Sequence[str], first: Ints, last: Ints) -> list[str]:
    return [" ".join(words[i:j]) for i, j in zip(first.tolist(), last.tolist(), strict=True)]
