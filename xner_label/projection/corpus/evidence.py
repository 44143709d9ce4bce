"""What a corpus tells about each of its candidates: the same name elsewhere, and a tagger trained on the silver.

Every count leaves the candidate's own sentence out. Notation as in :mod:`columns`; K labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from xner_label.projection.loglinear.candidate_windows import Candidates
from xner_label.projection.loglinear.columns import (
    GIVEN,
    KINDS,
    OVERLOOKED,
    Bools,
    Floats,
    Ints,
    Vocabulary,
    scripts,
)
from xner_label.projection.loglinear.features import CANDIDATE_FEATURES, MENTION_FEATURES
from xner_label.projection.loglinear.label_regression import label_observations, label_probabilities
from xner_label.projection.loglinear.mentions import is_tagged, matched_mentions
from xner_label.projection.loglinear.model import BATCH, Batch, Model
from xner_label.projection.problem import Instance

_MAX_NGRAM = 6

_OF_MENTION = (
    "odds",
    "source_initial",
    "one",
    "upper",
    "lower",
    "digits",
    "short_name",
    "next_lower",
    "best_same",
)
_OF_CANDIDATE = ("same", "ratio", "dice", "no_capital*", "first_capital*", "longer", "initial")
_FIXED = (
    *("bias", "score", "positive_score"),
    *(f"mention:{name}" for name in _OF_MENTION),
    *(f"candidate:{name}" for name in _OF_CANDIDATE),
)
EVIDENCE: tuple[str, ...] = (
    *_FIXED[:3],
    *("vote", "voted", "null_vote", "names", "tagged_share", "entity_rate", "occurs", "entity_count"),
    *("tag", "tag_odds"),
    *_FIXED[3:],
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
    found: candidates, positions counted over the corpus' target tokens; target_at: (S + 1,)
    text, score: (C,), code of the folded text and log-odds; fixed: (C, len(_FIXED)), evidence that stays the same
    from round to round
    """

    def __init__(self, instances: Sequence[Instance], models: Sequence[Model], fold: Sequence[int]) -> None:
        """``models[fold[k]]`` is asked about instance ``k``."""
        tagged = any(map(is_tagged, instances))
        self.incomplete = [tagged and all(m.score is not None for m in own.mentions) for own in instances]
        matched = [
            matched_mentions(own, overlooked=incomplete)
            for own, incomplete in zip(instances, self.incomplete, strict=True)
        ]
        self.instances = [instance for instance, _ in matched]
        self.known = models[0].known
        labels = {mention.label for instance in instances for mention in instance.mentions}
        self.labels = tuple(sorted(labels | set(self.known)))
        self.target_at: Ints = np.concatenate([[0], np.cumsum([len(own.target) for own in self.instances])])
        self._vocabulary = Vocabulary()
        self._codes: dict[str, int] = {}
        busy = [number for number, own in enumerate(self.instances) if own.mentions and len(own.target)]
        parts = []
        self.place: list[int | None] = []
        for which in sorted({fold[number] for number in busy}):
            some = [number for number in busy if fold[number] == which]
            self.place += [place for number in some for place in matched[number][1]]
            for at in range(0, len(some), BATCH):
                parts.append(self._part(some[at : at + BATCH], models[which]))
        self.sentence: Ints = _joined([part.sentence for part in parts])
        self.kind: Ints = _joined([part.kind for part in parts])
        self.caseless = self._caseless_sentences()
        self.weight_set: Ints = self.kind + KINDS * self.caseless[self.sentence]
        self.name: Ints = _joined([part.name for part in parts])
        self.open: Bools = self.kind != GIVEN
        self.base_label: Floats = np.concatenate(
            [np.zeros((0, len(self.labels))), *(part.base_label for part in parts)]
        )
        self.open &= np.concatenate([np.zeros(0, bool), *(part.changeable for part in parts)])
        counts = _joined([part.counts for part in parts])
        self.found = Candidates(
            np.repeat(np.arange(len(counts)), counts),
            _joined([part.first for part in parts]),
            _joined([part.last for part in parts]),
            np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]),
        )
        self.text: Ints = _joined([part.text for part in parts])
        self.score: Floats = np.concatenate([np.zeros(0), *(part.score for part in parts)])
        self.fixed: Floats = np.concatenate([np.zeros((0, len(_FIXED))), *(part.fixed for part in parts)])
        self.occurrences = self._count_texts()

    def __len__(self) -> int:
        return len(self.sentence)

    def _part(self, numbers: Sequence[int], model: Model) -> _Part:
        batch = Batch([self.instances[number] for number in numbers], self._vocabulary)
        columns, found, features = batch.columns, batch.found, batch.features
        score = batch.log_odds(model)
        overlooked = columns.kind == OVERLOOKED
        changeable = batch.relabelled(model.known) | overlooked
        own = np.array([self.labels.index(label) if label else 0 for label in columns.labels])[columns.label]
        base = np.zeros((len(own), len(self.labels)))
        base[np.arange(len(own)), own] = 1.0
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
        mention = found.mention
        columns_of_mention = [MENTION_FEATURES.index(name) for name in _OF_MENTION]
        columns_of_candidate = [CANDIDATE_FEATURES.index(name) for name in _OF_CANDIDATE]
        fixed = np.column_stack(
            [
                np.ones(len(mention)),
                score / 3,
                np.maximum(score, 0.0) / 3,
                features.mention[:, columns_of_mention][mention],
                features.candidate[:, columns_of_candidate],
            ]
        )
        shift = self.target_at[np.array(numbers)] - columns.target_at[:-1]
        shift = shift[columns.sentence[mention]]
        return _Part(
            np.array(numbers)[columns.sentence],
            columns.kind,
            self._code(_joined_words(source, columns.first, columns.last)),
            changeable,
            base,
            np.diff(found.at),
            found.first + shift,
            found.last + shift,
            self._code(_joined_words(target, found.first, found.last)),
            score,
            fixed,
        )

    def _code(self, texts: Sequence[str]) -> Ints:
        codes = self._codes
        return np.array([codes.setdefault(text, len(codes)) for text in texts], np.int64)

    def _caseless_sentences(self) -> Bools:
        words = [self._vocabulary.ids(instance.target.words()) for instance in self.instances]
        flat = np.fromiter(chain.from_iterable(words), np.int64)
        return scripts(self._vocabulary.table()[flat], self.target_at)[0]

    def _count_texts(self) -> Floats:
        """(C,) how often the candidate's text stands in other sentences, up to _MAX_NGRAM tokens."""
        wanted = set(self.text.tolist())
        lengths = self.found.last - self.found.first
        longest = min(_MAX_NGRAM, int(lengths.max(initial=0)))
        folded, codes = self._vocabulary.folded, self._codes
        total: Counter[int] = Counter()
        own: list[Counter[int]] = []
        for instance in self.instances:
            words = [folded[number] for number in self._vocabulary.ids(instance.target.words())]
            here: Counter[int] = Counter()
            for first in range(len(words)):
                for last in range(first + 1, min(len(words), first + longest) + 1):
                    code = codes.get(" ".join(words[first:last]), -1)
                    if code in wanted:
                        here[code] += 1
            total.update(here)
            own.append(here)
        sentence = self.sentence[self.found.mention]
        pairs = zip(self.text.tolist(), sentence.tolist(), strict=True)
        return np.array([total[text] - own[number][text] for text, number in pairs], np.float64)


class _Part(NamedTuple):
    """What one batch adds to the observations; see there."""

    sentence: Ints
    kind: Ints
    name: Ints
    changeable: Bools
    base_label: Floats
    counts: Ints
    first: Ints
    last: Ints
    text: Ints
    score: Floats
    fixed: Floats


class Opinion(NamedTuple):
    """What is believed at some point: P(t) of each candidate (C,), P(not projected) (M,), P(label) (M, K)."""

    projected: Floats
    absent: Floats
    label: Floats


def candidate_evidence(seen: Observations, belief: Opinion, tags: Floats | None) -> Floats:
    """The features of each candidate, shape (C, len(EVIDENCE)).

    ``tags`` (C, K): the target tagger's probability of that span with each label; None before there is one.
    """
    mention, sentence = seen.found.mention, seen.sentence
    ones = np.ones(len(sentence))
    of_candidate = sentence[mention]
    names = elsewhere(seen.name, sentence, ones)
    tagged = elsewhere(seen.name, sentence, (seen.kind != OVERLOOKED) * 1.0)
    absent = elsewhere(seen.name, sentence, belief.absent)
    pair = seen.name[mention] * (seen.text.max(initial=0) + 1) + seen.text
    vote = elsewhere(pair, of_candidate, belief.projected)
    entities = elsewhere(seen.text, of_candidate, belief.projected)
    tag: Floats = np.zeros(len(mention)) if tags is None else np.minimum(tags.sum(axis=1), 1.0)
    votes = np.column_stack(
        [
            vote / (names[mention] + 1),
            (names[mention] > 0) * 1.0,
            (absent / (names + 1))[mention],
            np.log1p(names)[mention],
            ((tagged + 0.5) / (names + 1))[mention],
            np.minimum(entities / (seen.occurrences + 1), 1.5),
            (seen.occurrences > 0) * 1.0,
            np.log1p(entities),
            tag,
            np.zeros(len(mention)) if tags is None else np.log((tag + 0.01) / (1.01 - tag)) / 3,
        ]
    )
    return np.column_stack([seen.fixed[:, :3], votes, seen.fixed[:, 3:]])


def label_evidence(seen: Observations, belief: Opinion, tags: Floats | None) -> Floats:
    """What speaks for each label of each mention, shape (M, K, len(LABEL_EVIDENCE))."""
    count = len(seen.labels)
    weight = 1.0 - belief.absent
    votes: Floats = np.column_stack(
        [elsewhere(seen.name, seen.sentence, weight * belief.label[:, place]) for place in range(count)]
    ).reshape(-1, count)
    total = votes.sum(axis=1, keepdims=True)
    share = np.log((votes + 0.5 * seen.base_label + 1e-4) / (total + 0.5))
    if tags is None:
        tagged: Floats = np.zeros_like(votes)
    else:
        mention = seen.found.mention
        tagged = np.column_stack(
            [np.bincount(mention, belief.projected * tags[:, place], len(seen)) for place in range(count)]
        )
    tag_total = tagged.sum(axis=1, keepdims=True)
    tag_share = np.log((tagged + 0.02 / count) / (tag_total + 0.02)) if tags is not None else tagged
    return np.stack(
        [
            np.log(seen.base_label + 1e-4),
            share,
            share * np.minimum(np.log1p(total), 3.0) / 2,
            (seen.base_label == seen.base_label.max(axis=1, keepdims=True)) * 1.0,
            tag_share,
            tag_share * np.minimum(tag_total, 1.0),
        ],
        axis=2,
    )


def span_tags(seen: Observations, tags: Sequence[TagMarginals | None]) -> Floats:
    """(C, K) the lowest marginal that the span, with each label and ended by no I, rests on."""
    found = seen.found
    result = np.zeros((len(found.first), len(seen.labels)))
    sentence = seen.sentence[found.mention]
    start = seen.target_at[sentence]
    rows = zip(sentence.tolist(), (found.first - start).tolist(), (found.last - start).tolist(), strict=True)
    for number, (own, first, last) in enumerate(rows):
        marginal = tags[own]
        if marginal is not None:
            result[number] = span_probability(marginal, first, last)
    return result


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
    own = np.unique(group * (int(sentence.max()) + 1) + sentence, return_inverse=True)[1]
    total, here = np.bincount(group, values), np.bincount(own, values)
    result: Floats = np.maximum(total[group] - here[own], 0.0)
    return result


def _joined(parts: Sequence[Ints]) -> Ints:
    return np.concatenate([np.zeros(0, np.int64), *parts])


def _joined_words(words: Sequence[str], first: Ints, last: Ints) -> list[str]:
    return [" ".join(words[i:j]) for i, j in zip(first.tolist(), last.tolist(), strict=True)]
