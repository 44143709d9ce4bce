"""What a corpus tells about each of its candidates: the same name elsewhere, and a tagger trained on the silver.

Every count leaves the candidate's own sentence out. Notation as in :mod:`columns`; K labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from xner_label.projection.loglinear.candidate_windows import Candidates
from xner_label.projection.loglinear.columns import GIVEN, OVERLOOKED, Bools, Floats, Ints, Vocabulary, borders
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
    tagger, which may have missed something, and not a person found the source entities
    sentence, kind, name, open: (M,), number of the instance, GIVEN, TAGGED or OVERLOOKED, code of the folded name,
    whether the label may be changed; place: of M, the mention's place in its instance as given, None for one that
    the tagger overlooked; base_label: (M, K) P(label) by the per-sentence model
    source_first, source_last: (M,), the mention's range of the corpus' source tokens; source_at: (S + 1,)
    found: candidates, positions counted over the corpus' target tokens; target_at: (S + 1,)
    word, source_word: codes of all folded target and source tokens
    text, score: (C,), code of the folded text and log-odds; fixed: (C, len(_FIXED)), evidence that stays the same
    from round to round
    """

    def __init__(
        self,
        instances: Sequence[Instance],
        models: Sequence[Model],
        fold: Sequence[int],
        *,
        more_labels: Collection[str] = (),
    ) -> None:
        """``models[fold[k]]`` is asked about instance ``k``; ``more_labels`` are those that people gave."""
        tagged = any(map(is_tagged, instances))
        self.incomplete = [tagged and all(m.score is not None for m in own.mentions) for own in instances]
        matched = [
            matched_mentions(own, overlooked=incomplete)
            for own, incomplete in zip(instances, self.incomplete, strict=True)
        ]
        self.instances = [instance for instance, _ in matched]
        self.known = models[0].known
        labels = {mention.label for instance in instances for mention in instance.mentions}
        self.labels = tuple(sorted(labels | set(self.known) | set(more_labels)))
        self.target_at: Ints = borders(len(own.target) for own in self.instances)
        self.source_at: Ints = borders(len(own.source) for own in self.instances)
        self._vocabulary = Vocabulary()
        self._codes: dict[str, int] = {}
        self.word: Ints = self._words([own.target.words() for own in self.instances])
        self.source_word: Ints = self._words([own.source.words() for own in self.instances])
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
        self.name: Ints = _joined([part.name for part in parts])
        self.source_first: Ints = _joined([part.source_first for part in parts])
        self.source_last: Ints = _joined([part.source_last for part in parts])
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
        self._standing, self._standing_here = self._count_texts()

    def __len__(self) -> int:
        return len(self.sentence)

    @property
    def texts(self) -> list[str]:
        """The folded text of each code."""
        return list(self._codes)

    def code_of(self, text: str) -> int:
        """The code of a folded text, -1 for one that the corpus doesn't have."""
        return self._codes.get(text, -1)

    def occurrences(self, weight: Floats) -> Floats:
        """(C,) how often the candidate's text stands in other sentences, which count by ``weight`` (S,)."""
        code, sentence, times = self._standing
        total = np.bincount(code, times * weight[sentence], len(self._codes))
        here = self._standing_here * weight[self.sentence[self.found.mention]]
        result: Floats = np.maximum(total[self.text] - here, 0.0)
        return result

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
        source_shift = self.source_at[np.array(numbers)] - columns.source_at[:-1]
        shift = self.target_at[np.array(numbers)] - columns.target_at[:-1]
        shift = shift[columns.sentence[mention]]
        return _Part(
            np.array(numbers)[columns.sentence],
            columns.kind,
            self._code(_joined_words(source, columns.first, columns.last)),
            columns.first + source_shift[columns.sentence],
            columns.last + source_shift[columns.sentence],
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

    def _words(self, words: Sequence[Sequence[str]]) -> Ints:
        folded = self._vocabulary.folded
        numbers = self._vocabulary.ids(list(chain.from_iterable(words)))
        return self._code([folded[number] for number in numbers])

    def _count_texts(self) -> tuple[tuple[Ints, Ints, Ints], Ints]:
        """How often candidates' texts, up to _MAX_NGRAM tokens, stand where: (code, sentence, times), each (n,);
        and (C,) how often that of each candidate stands in its own sentence."""
        wanted = set(self.text.tolist())
        lengths = self.found.last - self.found.first
        longest = min(_MAX_NGRAM, int(lengths.max(initial=0)))
        codes, texts = self._codes, self.texts
        rows: list[tuple[int, int, int]] = []
        own: list[Counter[int]] = []
        for number in range(len(self.instances)):
            words = [texts[code] for code in self.word[self.target_at[number] : self.target_at[number + 1]]]
            here: Counter[int] = Counter()
            for first in range(len(words)):
                for last in range(first + 1, min(len(words), first + longest) + 1):
                    code = codes.get(" ".join(words[first:last]), -1)
                    if code in wanted:
                        here[code] += 1
            rows += [(code, number, times) for code, times in here.items()]
            own.append(here)
        sentence = self.sentence[self.found.mention]
        pairs = zip(self.text.tolist(), sentence.tolist(), strict=True)
        table = np.array(rows, np.int64).reshape(-1, 3)
        return (table[:, 0], table[:, 1], table[:, 2]), np.array(
            [own[number][text] for text, number in pairs], np.int64
        )


class _Part(NamedTuple):
    """What one batch adds to the observations; see there."""

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
    fixed: Floats


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

    def plus(self, other: Sums) -> Sums:
        """Both together."""
        return Sums(*(own + more for own, more in zip(self, other, strict=True)))


class LooseSpans(NamedTuple):
    """Entities of a corpus that no mention is behind, all (n,): sentence, token range in it, code of the folded
    text (-1 for one that no candidate has), place of the label."""

    sentence: Ints
    first: Ints
    last: Ints
    text: Ints
    label: Ints


def sums_elsewhere(
    seen: Observations, belief: Opinion, weight: Floats | None = None, loose: LooseSpans | None = None
) -> Sums:
    """What the other sentences of the corpus say. ``weight`` (S,): what each counts, 1 when absent."""
    mention, sentence = seen.found.mention, seen.sentence
    by_sentence = np.ones(len(seen.instances)) if weight is None else weight
    of_mention = by_sentence[sentence]
    text, where, value = seen.text, sentence[mention], belief.projected * of_mention[mention]
    pair = seen.name[mention] * (seen.text.max(initial=0) + 1) + seen.text
    votes = elsewhere(pair, where, value)
    if loose is not None:
        known = loose.text >= 0
        text = np.concatenate([text, loose.text[known]])
        where = np.concatenate([where, loose.sentence[known]])
        value = np.concatenate([value, by_sentence[loose.sentence[known]]])
    count = len(seen.labels)
    present = of_mention * (1.0 - belief.absent)
    labels = [elsewhere(seen.name, sentence, present * belief.label[:, place]) for place in range(count)]
    return Sums(
        elsewhere(seen.name, sentence, of_mention),
        elsewhere(seen.name, sentence, of_mention * (seen.kind != OVERLOOKED)),
        elsewhere(seen.name, sentence, of_mention * belief.absent),
        np.column_stack(labels).reshape(-1, count),
        votes,
        elsewhere(text, where, value)[: len(mention)],
        seen.occurrences(by_sentence),
    )


def candidate_evidence(seen: Observations, sums: Sums, tags: Floats | None) -> Floats:
    """The features of each candidate, shape (C, len(EVIDENCE)).

    ``tags`` (C, K): the target tagger's probability of that span with each label; None before there is one.
    """
    mention = seen.found.mention
    names = sums.names
    tag: Floats = np.zeros(len(mention)) if tags is None else np.minimum(tags.sum(axis=1), 1.0)
    votes = np.column_stack(
        [
            sums.votes / (names[mention] + 1),
            (names[mention] > 0) * 1.0,
            (sums.absent / (names + 1))[mention],
            np.log1p(names)[mention],
            ((sums.tagged + 0.5) / (names + 1))[mention],
            np.minimum(sums.entities / (sums.occurrences + 1), 1.5),
            (sums.occurrences > 0) * 1.0,
            np.log1p(sums.entities),
            tag,
            np.zeros(len(mention)) if tags is None else np.log((tag + 0.01) / (1.01 - tag)) / 3,
        ]
    )
    return np.column_stack([seen.fixed[:, :3], votes, seen.fixed[:, 3:]])


def label_evidence(seen: Observations, belief: Opinion, sums: Sums, tags: Floats | None) -> Floats:
    """What speaks for each label of each mention, shape (M, K, len(LABEL_EVIDENCE)).

    ``belief`` is that of the per-sentence model, which knows nothing of the mention's own outcome.
    """
    count = len(seen.labels)
    votes = sums.labels
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
