"""Evidence of a corpus of any size: some tasks teach the taggers and the weights, all are counted.

The counts of batches add up to the same table, in whatever order they come and wherever they were made. The second
count, of how often texts stand in sentences, is of those that the first one takes for entities.
"""

from __future__ import annotations

import hashlib
import heapq
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import IO, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from xner_label.entities import Task
from xner_label.errors import RecordError
from xner_label.predicting.corpus_state import CorpusState, Refreshed, key_of, short_hash
from xner_label.progress import SILENCE, Progress
from xner_label.projection.corpus.counts import Counts, find
from xner_label.projection.corpus.evidence import Observations
from xner_label.projection.corpus.lookup import hashed_ngrams
from xner_label.projection.corpus.refresh import refresh
from xner_label.projection.corpus.rounds import first_opinion
from xner_label.projection.corpus.settled import WEIGHT
from xner_label.projection.corpus.tally import Tally, countable
from xner_label.projection.loglinear.model import Model
from xner_label.projection.loglinear.weights_file import Weights
from xner_label.projection.problem import Instance, build_instance

# Texts of which less is expected to be entities aren't counted in sentences.
_LEAST = 0.05

Batches = Iterable[Sequence[tuple[int, Task]]]


class Sample(NamedTuple):
    """Tasks to learn from: their external ids and instances, in the order they came."""

    ids: list[str]
    instances: list[Instance]


def draw_sample(batches: Batches, wanted: Collection[str], size: int, progress: Progress = SILENCE) -> Sample:
    """All tasks with a ``wanted`` external id, and others by the hash of their content up to ``size`` in all.

    Who is drawn depends on no order, and little on how many there are. Tasks that can't be read are left out: the
    pipeline says what is wrong with them.
    """
    settled: list[tuple[int, str, Instance]] = []
    others: list[tuple[int, int, str, Instance]] = []
    place = 0
    for batch in batches:
        for _, task in batch:
            place += 1
            try:
                instance = build_instance(task)[0]
            except RecordError:
                continue
            if str(task.id) in wanted:
                settled.append((place, str(task.id), instance))
                continue
            entry = -short_hash(key_of(instance)), place, str(task.id), instance
            if len(others) < size:
                heapq.heappush(others, entry)
            else:
                heapq.heappushpop(others, entry)
        progress.advance(len(batch))
    while others and len(others) + len(settled) > size:
        heapq.heappop(others)
    rows = sorted([*settled, *(entry[1:] for entry in others)], key=lambda row: row[0])
    return Sample([row[1] for row in rows], [row[2] for row in rows])


def with_all_counted(
    state: CorpusState,
    weights: Weights,
    learned: Sequence[Instance],
    batches: Batches,
    progress: Progress = SILENCE,
) -> CorpusState:
    """The state with what those tasks say, too, that it hasn't ``learned`` from."""
    known = Counter(map(key_of, learned))
    result = _with_counted(state, weights, known, batches, progress)
    repeated = {key: count for key, count in known.items() if count > 1}
    return msgspec.structs.replace(
        result, sample=state.tally, repeated=repeated, sampled_of=result.tasks, refreshed=None
    )


def with_table_refreshed(
    state: CorpusState, weights: Weights, batches: Batches, progress: Progress = SILENCE
) -> CorpusState:
    """The state with all tasks counted anew, its taggers and weights as they are.

    An entry of the table stays as it is where its evidence hasn't moved (:mod:`refresh`), and with it the answers
    that rest on such entries alone. The state must know its ``sample``.
    """
    if state.sample is None:
        raise ValueError("the state doesn't know what its sample says")
    known = Counter(dict.fromkeys(state.spans, 1) | state.repeated)
    bare = msgspec.structs.replace(state, tally=state.sample)
    result = _with_counted(bare, weights, known, batches, progress)
    table = refresh(state.tally, result.tally)
    before, now = (np.frombuffer(each.counted, np.uint64) for each in (state, result))
    added = np.setdiff1d(now, before, assume_unique=True).tobytes()
    refreshed = Refreshed(state.signature, table.names.tobytes(), table.texts.tobytes(), added)
    return msgspec.structs.replace(result, tally=table.tally, refreshed=refreshed)


def _with_counted(
    state: CorpusState, weights: Weights, known: Counter[str], batches: Batches, progress: Progress
) -> CorpusState:
    """The state with what tasks say beside those that are ``known``, so many times, by :func:`key_of`."""
    model = Model(weights)
    tally = Tally.empty(state.tally.labels)
    tally.add(state.tally)
    total = 0
    known = known.copy()
    counted: list[NDArray[np.uint64]] = [np.zeros(0, np.uint64)]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogatepass") as sentences:
        for batch in batches:
            total += len(batch)
            keys, instances = _others([task for _, task in batch], known)
            if instances:
                tally.add(_count(instances, model, state, sentences))
                counted.append(np.array([short_hash(key) for key in keys], np.uint64))
            progress.advance(len(batch))
        tally.occurrences = _occurrences(tally, sentences)
    hashes = np.unique(np.concatenate(counted)).tobytes()
    signature = hashlib.sha256(state.signature.encode() + hashes).hexdigest()[:10]
    return msgspec.structs.replace(state, signature=signature, tally=tally, tasks=total, counted=hashes)


def _others(tasks: Sequence[Task], known: Counter[str]) -> tuple[list[str], list[Instance]]:
    """The keys and the instances but for those that are ``known``, once each time that they are."""
    keys, instances = [], []
    for task in tasks:
        try:
            instance = build_instance(task)[0]
        except RecordError:
            continue
        key = key_of(instance)
        if known[key]:
            known[key] -= 1
        else:
            keys.append(key)
            instances.append(instance)
    return keys, instances


def _count(instances: Sequence[Instance], model: Model, state: CorpusState, sentences: IO[str]) -> Tally:
    labels, tagged = state.tally.labels, state.tagged
    observations = Observations(instances, [model], [0] * len(instances), more_labels=labels, tagged=tagged)
    counts = Tally.of(observations, countable(first_opinion(observations)))
    for text in counts.texts:
        sentences.write(" ".join(text.split()) + "\n")
    counts.texts = []
    return counts


def _occurrences(tally: Tally, sentences: IO[str]) -> Counts:
    """How often the texts that are taken for entities stand in all sentences; reviewed ones count more."""
    counts = tally.entities.chosen(tally.entities.values[:, 0] >= _LEAST)
    times = np.zeros(len(counts))
    sentences.seek(0)
    for texts, weight in ((sentences, 1.0), (tally.texts, 1.0), (tally.reviewed, WEIGHT - 1.0)):
        for ngrams in hashed_ngrams(texts):
            distinct, seen = np.unique(ngrams, return_counts=True)
            place, known = find(counts.keys, distinct)
            times[place[known]] += weight * seen[known]
    return Counts.made(counts.keys, times)
