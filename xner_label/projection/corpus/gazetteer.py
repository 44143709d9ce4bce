"""A gazetteer of what people settled: the texts that they marked, wherever else these stand.

A candidate needs a link or a similar string; a text that people marked needs neither. A match is a place where
such a text stands in another sentence and hasn't been projected with its label, unless people left the text
unmarked more often than not. A single word without a capital that they marked once needs a source name, too (see
below). The log-odds that it is an entity with the label l that people gave the text most often, which they did n
times of the o that it stands in reviewed sentences, n_w times written as it is here,

    logit p = c_0 + c_1 log((n + 1/2) / (o - n + 1/2)) + c_2 logit P(span, l by the target tagger) / 2.5
              + c_3 min(words - 1, 3) + c_4 (n_w / n - 1/2)
              + c_5 [it overlaps spans] + c_6 [it lies inside one] + c_7 [it crosses one] + c_8 z

where z are the log-odds, limited to +-4, of the surest span that it overlaps. It takes the place of these where it
is likelier than not or likelier than they are. c is fitted in :mod:`fitting.gazetteer`.

Where a person gave the source entities they are complete: there a match must be of a source name that stands in a
reviewed sentence in which people marked the text, and takes the place of that mention's span.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from xner_label.projection.corpus.evidence import Observations, span_probability
from xner_label.projection.corpus.out_of_fold_tagger import Tagged
from xner_label.projection.corpus.rounds import ChosenSpans
from xner_label.projection.corpus.settled import Gold, NameAnswers, Settled
from xner_label.projection.loglinear.columns import Bools, Floats, Ints
from xner_label.projection.loglinear.model import logit

# Of c, see above.
NUMBERS = 9
_SUREST = 4.0
_MORE_WORDS = 3
_LIKELY = 0.5
# Matches that are less likely say nothing: the lowest cut.
_LEAST = 0.2


class Entry(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """What the reviewed sentences say of a folded text: how often it stands there, how often with each label, how
    the entities are written, and the folded source names that may be behind them."""

    occurrences: int = 0
    labels: dict[str, int] = {}
    written: dict[str, int] = {}
    names: dict[str, int] = {}

    @property
    def usual_label(self) -> str | None:
        """The label that it has most often, of equals the first by name; None where it is mostly left unmarked."""
        if 2 * sum(self.labels.values()) < max(self.occurrences, 1):
            return None
        return min(self.labels, key=lambda label: (-self.labels[label], label))

    def plus(self, other: Entry) -> Entry:
        """What both say."""
        counts = (dict(Counter(part) + Counter(more)) for part, more in self._pairs(other))
        return Entry(self.occurrences + other.occurrences, *counts)

    def minus(self, other: Entry) -> Entry:
        """What is left of it without what the other one says."""
        counts = (dict(Counter(whole) - Counter(part)) for whole, part in self._pairs(other))
        return Entry(self.occurrences - other.occurrences, *counts)

    def _pairs(self, other: Entry) -> tuple[tuple[dict[str, int], dict[str, int]], ...]:
        return (self.labels, other.labels), (self.written, other.written), (self.names, other.names)


class Gazetteer(msgspec.Struct, frozen=True):
    """Entries by folded text; ``numbers`` is c of the module's equation."""

    entries: dict[str, Entry]
    numbers: tuple[float, ...]


class Matches(NamedTuple):
    """Places of settled texts, all (n,): sentence, token range in it, place of the label, matched mention (-1 for
    none), what c weighs (n, NUMBERS), and the rows of the spans that a match would replace."""

    sentence: Ints
    first: Ints
    last: Ints
    label: Ints
    mention: Ints
    signals: Floats
    replaced: list[list[int]]

    def select(self, rows: Bools) -> Matches:
        """The matches of a mask (n,)."""
        columns: list[Any] = [column[rows] for column in self[:-1]]
        columns.append([self.replaced[row] for row in np.flatnonzero(rows).tolist()])
        return Matches(*columns)


def entries_of(
    observations: Observations, settled: Settled, gold: Gold, answers: NameAnswers | None = None
) -> dict[str, Entry]:
    """What the reviewed sentences say of every text that people marked in them, and answers about names."""
    texts = observations.texts
    entries = {} if answers is None else _answered(observations, texts, answers)
    for number in gold:
        for text, entry in _marked(observations, texts, settled, gold, number).items():
            entries[text] = entries.get(text, Entry()).plus(entry)
    known = _by_first_word(entries)
    occurrences = Counter(
        text for number in gold for _, _, text in _places(_folded(observations, texts, number), known)
    )
    return {text: entry.plus(Entry(occurrences[text])) for text, entry in entries.items()}


def matches(
    observations: Observations,
    entries: Mapping[str, Entry],
    chosen: ChosenSpans,
    tagged: Tagged | None,
    settled: Settled | None = None,
    gold: Gold | None = None,
) -> Matches:
    """The matches in a corpus and what speaks for each; in a sentence of ``gold`` those of the other sentences."""
    texts = observations.texts
    known = _by_first_word(entries)
    labels = {label: place for place, label in enumerate(observations.labels)}
    borders = np.searchsorted(chosen.sentence, np.arange(len(observations.instances) + 1)).tolist()
    rows: list[tuple[int, int, int, int, int]] = []
    signals: list[tuple[float, ...]] = []
    replaced: list[list[int]] = []
    for number, instance in enumerate(observations.instances):
        places = list(_places(_folded(observations, texts, number), known))
        if not places:
            continue
        of_others = entries
        if gold is not None and settled is not None and number in gold:
            of_others = _without(entries, _marked(observations, texts, settled, gold, number), places)
        spans = range(borders[number], borders[number + 1])
        written = instance.target.words()
        marginals = None if tagged is None else tagged.marginals[number]
        for first, last, text in places:
            entry = of_others[text]
            label = entry.usual_label
            if label is None:
                continue
            place = labels[label]
            overlapping = [row for row in spans if chosen.first[row] < last and first < chosen.last[row]]
            if any(_is(chosen, row, first, last, place) for row in overlapping):
                continue
            mention = _mention_of_name(observations, texts, entry, number, place)
            if mention < 0 and not observations.incomplete[number]:
                continue
            count = entry.labels[label]
            if mention < 0 and count == 1 and last - first == 1 and not written[first][:1].isupper():
                continue  # a slip in a common word would be everywhere
            tagger = 0.5 if marginals is None else span_probability(marginals, first, last)[place]
            text_signals = _of_text(entry, count, written[first:last], float(tagger))
            signals.append((*text_signals, *_beside(chosen, overlapping, first, last)))
            elsewhere = [row for row in spans if mention >= 0 and chosen.mention[row] == mention]
            replaced.append(sorted({*overlapping, *elsewhere}))
            if mention < 0:
                mention = _mention_corrected(observations, chosen, overlapping, first, last, place)
            rows.append((number, first, last, place, mention))
    table = np.array(rows, np.int64).reshape(-1, 5)
    return Matches(
        sentence=table[:, 0],
        first=table[:, 1],
        last=table[:, 2],
        label=table[:, 3],
        mention=table[:, 4],
        signals=np.array(signals, np.float64).reshape(-1, NUMBERS),
        replaced=replaced,
    )


def with_matches(chosen: ChosenSpans, matched: Matches, probability: Floats) -> ChosenSpans:
    """The spans with the matches, whose confidence is their ``probability`` (n,), in place of those that they are
    likelier than; of matches that overlap the likeliest."""
    taken: dict[int, list[tuple[int, int]]] = {}
    added: list[int] = []
    keep = np.ones(len(chosen.sentence), bool)
    for row in np.argsort(-probability, kind="stable").tolist():
        number, first, last = int(matched.sentence[row]), int(matched.first[row]), int(matched.last[row])
        replaced = matched.replaced[row]
        least = min(_LIKELY, float(chosen.confidence[replaced].max())) if replaced else 0.0
        if probability[row] <= max(least, _LEAST):
            continue
        if all(last <= start or end <= first for start, end in taken.get(number, ())):
            taken.setdefault(number, []).append((first, last))
            added.append(row)
            keep[replaced] = False
    sure = probability[added]
    new = ChosenSpans(
        sentence=matched.sentence[added],
        mention=_each_once(matched.mention[added], chosen.mention[keep]),
        first=matched.first[added],
        last=matched.last[added],
        label=matched.label[added],
        score=logit(sure),
        p_span=sure,
        p_label=np.ones(len(added)),
        confidence=sure,
        exact=np.ones(len(added), bool),
    )
    columns: list[Any] = [np.concatenate(pair) for pair in zip(chosen.select(keep), new, strict=True)]
    merged = ChosenSpans(*columns)
    return merged.select(np.lexsort((merged.first, merged.sentence)))


def match_probability(signals: Floats, numbers: Floats) -> Floats:
    """(n,) p of the module's equation; ``numbers`` are c, the same for all or a row for each match."""
    result: Floats = 1.0 / (1.0 + np.exp(-(signals * numbers).sum(axis=1)))
    return result


def with_gazetteer(
    observations: Observations, chosen: ChosenSpans, tagged: Tagged | None, gazetteer: Gazetteer
) -> ChosenSpans:
    """The spans of sentences that nobody has reviewed with the matches of a stored gazetteer."""
    matched = matches(observations, gazetteer.entries, chosen, tagged)
    return with_matches(chosen, matched, match_probability(matched.signals, np.array(gazetteer.numbers)))


def _marked(
    observations: Observations, texts: Sequence[str], settled: Settled, gold: Gold, number: int
) -> dict[str, Entry]:
    """The entries of one reviewed sentence, whose occurrences aren't counted yet. The names behind an entity that
    was given to no mention are those of all mentions that were given none and may have its label."""
    words = _folded(observations, texts, number)
    written = observations.instances[number].target.words()
    start = int(observations.target_at[number])
    candidates = observations.candidates
    mentions = _mentions_of(observations, number)
    behind = {
        (int(candidates.first[row]) - start, int(candidates.last[row]) - start): mention
        for mention, row in zip(mentions, settled.candidate[mentions].tolist(), strict=True)
        if row >= 0
    }
    entries: dict[str, Entry] = {}
    for first, last, label in gold[number]:
        place = observations.labels.index(label)
        mention = behind.get((first, last), -1)
        sources = (
            [mention]
            if mention >= 0
            else [
                other
                for other in mentions
                if settled.candidate[other] < 0 and _may_have(observations, other, place)
            ]
        )
        text = " ".join(words[first:last])
        names = {texts[observations.name[source]]: 1 for source in sources}
        entry = Entry(0, {label: 1}, {" ".join(written[first:last]): 1}, names)
        entries[text] = entries.get(text, Entry()).plus(entry)
    return entries


def _answered(observations: Observations, texts: Sequence[str], answers: NameAnswers) -> dict[str, Entry]:
    """The entries of answers about names: an answer counts once, however many places it settles."""
    entries: dict[str, Entry] = {}
    for number, mention, first, last, place in zip(*(column.tolist() for column in answers), strict=True):
        text = " ".join(_folded(observations, texts, number)[first:last])
        if place < 0 or (text in entries and observations.labels[place] in entries[text].labels):
            continue
        written = " ".join(observations.instances[number].target.words()[first:last])
        names = {texts[observations.name[mention]]: 1} if mention >= 0 else {}
        entry = Entry(1, {observations.labels[place]: 1}, {written: 1}, names)
        entries[text] = entries.get(text, Entry()).plus(entry)
    return entries


def _without(
    entries: Mapping[str, Entry], at_home: Mapping[str, Entry], places: Sequence[tuple[int, int, str]]
) -> dict[str, Entry]:
    """The entries of the texts at some places of a sentence without what it says itself."""
    occurrences = Counter(text for _, _, text in places)
    return {
        text: entries[text].minus(at_home.get(text, Entry()).plus(Entry(count)))
        for text, count in occurrences.items()
    }


def _folded(observations: Observations, texts: Sequence[str], number: int) -> list[str]:
    """The folded target words of a sentence."""
    codes = observations.word[observations.target_at[number] : observations.target_at[number + 1]]
    return [texts[code] for code in codes.tolist()]


def _mentions_of(observations: Observations, number: int) -> list[int]:
    low, high = np.searchsorted(observations.sentence, (number, number + 1)).tolist()
    return list(range(low, high))


def _may_have(observations: Observations, mention: int, label: int) -> bool:
    return bool(observations.open[mention] or observations.base_label[mention].argmax() == label)


def _by_first_word(texts: Iterable[str]) -> dict[str, list[tuple[list[str], str]]]:
    """The words of each text, and the text, by its first word."""
    result: dict[str, list[tuple[list[str], str]]] = {}
    for text in texts:
        words = text.split(" ")
        result.setdefault(words[0], []).append((words, text))
    return result


def _places(
    words: Sequence[str], texts: Mapping[str, Sequence[tuple[list[str], str]]]
) -> Iterator[tuple[int, int, str]]:
    """Where texts stand in a sentence."""
    for first, word in enumerate(words):
        for text_words, text in texts.get(word, ()):
            last = first + len(text_words)
            if words[first:last] == text_words:
                yield first, last, text


def _is(chosen: ChosenSpans, row: int, first: int, last: int, label: int) -> bool:
    return bool(chosen.first[row] == first and chosen.last[row] == last and chosen.label[row] == label)


def _of_text(entry: Entry, count: int, written: Sequence[str], tagger: float) -> tuple[float, ...]:
    """What c_0 to c_4 weigh: ``count`` marks of a label in an entry, ``written`` as these words here, and the
    target tagger's probability of it."""
    as_written = entry.written.get(" ".join(written), 0) / sum(entry.written.values())
    return (
        1.0,
        float(np.log((count + 0.5) / (entry.occurrences - count + 0.5))),
        float(logit(np.array(tagger))) / 2.5,
        float(min(len(written) - 1, _MORE_WORDS)),
        as_written - 0.5,
    )


def _beside(chosen: ChosenSpans, overlapping: Sequence[int], first: int, last: int) -> tuple[float, ...]:
    """What c_5 to c_8 weigh."""
    if not overlapping:
        return 0.0, 0.0, 0.0, 0.0
    surest = max(overlapping, key=lambda row: float(chosen.confidence[row]))
    covers = all(first <= chosen.first[row] and chosen.last[row] <= last for row in overlapping)
    inside = not covers and bool(chosen.first[surest] <= first and last <= chosen.last[surest])
    odds = float(np.clip(logit(chosen.confidence[surest]), -_SUREST, _SUREST))
    return 1.0, inside * 1.0, (not covers and not inside) * 1.0, odds


def _mention_of_name(
    observations: Observations, texts: Sequence[str], entry: Entry, number: int, label: int
) -> int:
    """The mention of a sentence whose name is behind the text in most reviewed sentences, -1 for none."""
    best, most = -1, 0
    for mention in _mentions_of(observations, number):
        count = entry.names.get(texts[observations.name[mention]], 0)
        if count > most and _may_have(observations, mention, label):
            best, most = mention, count
    return best


def _mention_corrected(
    observations: Observations, chosen: ChosenSpans, overlapping: Sequence[int], first: int, last: int, label: int
) -> int:
    """The mention whose span a match corrects, -1 where it overlaps those of other names."""
    for row in overlapping:
        mention = int(chosen.mention[row])
        same_span = chosen.first[row] == first and chosen.last[row] == last
        if mention >= 0 and (chosen.label[row] == label or same_span):
            return mention if _may_have(observations, mention, label) else -1
    return -1


def _each_once(mention: Ints, projected: Ints) -> Ints:
    """The mentions (n,) with -1 for those that are projected elsewhere."""
    seen = set(projected.tolist())
    result: list[int] = []
    for which in mention.tolist():
        result.append(-1 if which in seen else which)
        seen.add(which)
    return np.array(result, np.int64)
