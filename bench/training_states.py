"""The labels of a corpus as reviews go on, for the benchmarks of training; kept between runs.

The pool is the train split. In the default order what people settled spreads: each state has the labels that the
product projects then. In a random draw an answer changes its own sentence alone. Weights never saw the language.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from economy import fitted, split_of
from lowres import LABELS, read_corpus

from xner_label.entities import Entity, ProjectedEntity, Tokens
from xner_label.settings.choices import DEFAULT_STRATEGY
from xner_label.simulation.loop import Simulation
from xner_label.training.data import DataReport, TrainingData
from xner_label.training.sentences import GoldSentence, Sentence

Span = tuple[int, int, str]
# Spans less sure than this are in no state.
LEAST = 0.05


class State(msgspec.Struct, frozen=True):
    """``reviewed``: places of the reviewed sentences; ``spans``: of each sentence of the corpus the projected
    spans as first token, one past the last, label, confidence; ``cut``: below it the product shows nothing."""

    reviewed: list[int]
    spans: list[list[tuple[int, int, str, float]]]
    cut: float


class Corpus(msgspec.Struct, frozen=True):
    """The sentences of the pool and, after them, of the test split; ``states`` of the default order by budget."""

    language: str
    words: list[list[str]]
    gold: list[list[Span]]
    pool: int
    sources: list[str]
    source_entities: list[list[tuple[int, int, str]]]
    states: dict[int, State]

    @property
    def test(self) -> range:
        """The places of the test sentences."""
        return range(self.pool, len(self.words))

    def drawn(self, budget: int, seed: int) -> State:
        """A random draw."""
        reviewed = np.random.default_rng(seed).permutation(self.pool)[:budget]
        return State(sorted(reviewed.tolist()), self.states[0].spans, self.states[0].cut)

    def sentence(self, place: int, state: State | None) -> Sentence:
        """A sentence as a model sees it, with the projection of a state (None: without one)."""
        words = self.words[place]
        tokens = Tokens.of(" ".join(words), tuple(words))
        silver = None if state is None else tuple(_projected(tokens, *span) for span in state.spans[place])
        return Sentence(place, str(place), tokens, silver)

    def with_source(self, item: Sentence) -> Sentence:
        """The sentence with its source and what was tagged there."""
        entities = tuple(Entity(*each) for each in self.source_entities[item.task_id])
        return msgspec.structs.replace(item, source=self.sources[item.task_id], source_entities=entities)

    def gold_sentence(self, place: int, state: State | None) -> GoldSentence:
        """A sentence with its gold."""
        item = self.sentence(place, state)
        entities = [Entity(*_chars(item.tokens, first, last), label) for first, last, label in self.gold[place]]
        return GoldSentence(item, tuple(entities))

    def data(self, state: State, *, projected_gold: bool = False) -> TrainingData:
        """What a training would learn from. ``projected_gold``: reviewed sentences show their projection, as in
        the store that of the state: the others' answers are in it, and they are in theirs. What is less sure than
        the cut isn't stored."""
        state, reviewed = shown(state), set(state.reviewed)
        gold = [self.gold_sentence(place, state if projected_gold else None) for place in sorted(reviewed)]
        silver = [self.sentence(place, state) for place in range(self.pool) if place not in reviewed]
        return TrainingData(LABELS, gold, silver, (), (), DataReport())

    def f1(self, answers: Sequence[set[Span]], places: Sequence[int]) -> float:
        """Strict span F1 of the answers at some places, one answer for each."""
        truth = [set(map(tuple, self.gold[place])) for place in places]
        right = sum(len(said & true) for said, true in zip(answers, truth, strict=True))
        total = sum(len(said) + len(true) for said, true in zip(answers, truth, strict=True))
        return 2 * right / max(total, 1)


def shown(state: State) -> State:
    """The state without what the product neither shows nor stores."""
    spans = [[span for span in each if span[3] >= state.cut] for each in state.spans]
    return msgspec.structs.replace(state, spans=spans)


def corpus_of(language: str, budgets: Sequence[int], folder: Path) -> Corpus:
    """A language with its states, read from the folder where they are there; minutes otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"states-{language}.msgpack"
    if file.exists():
        corpus = msgspec.msgpack.decode(file.read_bytes(), type=Corpus)
        if set(budgets) <= corpus.states.keys():
            return corpus
    tasks = read_corpus(language)
    pool, test = split_of(tasks, "train"), split_of(tasks, "test")
    loop = _Loop(pool, test, fitted(language, folder))
    corpus = Corpus(
        language=language,
        words=[list(words) for words in loop.words],
        gold=[[tuple(span) for span in spans] for spans in loop.gold],
        pool=len(pool),
        sources=[task.source or "" for task in (*pool, *test)],
        source_entities=[
            [(item.start, item.end, item.label) for item in task.source_entities or ()] for task in (*pool, *test)
        ],
        states=dict(loop.run(DEFAULT_STRATEGY, sorted({0, *budgets}), text=False)),
    )
    file.write_bytes(msgspec.msgpack.encode(corpus))
    return corpus


class _Loop(Simulation):
    """The loop, giving its labels in place of judging them."""

    def _judge(self, state: Any, *_: Any) -> Any:
        chosen = state.spread.chosen
        kept = chosen.select(chosen.confidence >= LEAST)
        spans: list[list[tuple[int, int, str, float]]] = [[] for _ in self.words]
        columns = (kept.sentence, kept.first, kept.last, kept.label, kept.confidence)
        for place, first, last, label, confidence in zip(*(column.tolist() for column in columns), strict=True):
            spans[place].append((first, last, self.observations.labels[label], confidence))
        reviewed = np.flatnonzero(state.reviewed).tolist()
        return len(reviewed), State(reviewed, [sorted(each) for each in spans], float(state.spread.cut))


def _projected(tokens: Tokens, first: int, last: int, label: str, confidence: float) -> ProjectedEntity:
    start, end = _chars(tokens, first, last)
    return ProjectedEntity(start, end, label, tokens.text[start:end], confidence, confidence)


def _chars(tokens: Tokens, first: int, last: int) -> tuple[int, int]:
    span = tokens.span(first, last)
    return span.start, span.end
