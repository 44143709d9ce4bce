"""The loop of review as it would go with people: choose, ask, learn, project again.

The pool's gold is hidden until the simulated reviewer is asked. The test sentences are projected with the pool,
their gold only judges. Everything is decided by the code that the product runs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import msgspec
import numpy as np

from xner_label.confidence.lead_times import SECONDS_PER_CHANGE, SECONDS_PER_TOKEN
from xner_label.entities import Span, Task
from xner_label.errors import UsageError
from xner_label.evaluation import metrics
from xner_label.iob2 import TokenSpan, decode, encode
from xner_label.projection.corpus.evidence import Observations
from xner_label.projection.corpus.rounds import text_of
from xner_label.projection.fitting.corrections import Spread, early_tags, spread
from xner_label.projection.fitting.examples import read_example
from xner_label.projection.loglinear.model import Model
from xner_label.projection.loglinear.weights_file import Weights
from xner_label.review.costs import SECONDS_PER_NAME, Costs
from xner_label.review.name_answers import Verdict
from xner_label.review.name_groups import NameGroup, NameKey, Occurrence, other_spans, place_of, places_shown
from xner_label.review.name_occurrences import (
    Occurrences,
    answers_on,
    keys_of_spans,
    occurrences_of,
    without_reviewed,
)
from xner_label.review.one_queue import Question, plan_queue
from xner_label.review.pool import Bools, ReviewPool
from xner_label.review.queue import ONE_QUEUE
from xner_label.review.span_groups import SpanGroup, span_groups
from xner_label.review.strategies import make_strategy
from xner_label.simulation.intervals import Interval, compare
from xner_label.simulation.reviewer import Borders, SimulatedReviewer
from xner_label.stages.tagging.crf import CrfTagger
from xner_label.training.rules import MergeRules

# A model that sees text alone: what `train` makes of gold and silver mixed.
_C2, _ITERATIONS = 0.05, 60


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a loop after ``budget`` sentences and ``names`` questions: ``tokens`` read in ``minutes``.

    Strict F1 of the pool's labels, gold included (``pool_f1``); of those nobody reviewed (``rest_f1``); of the
    test sentences with their source (``test_f1``); of a tagger that learned from the pool's labels and sees the
    test text alone (``text_f1``), and of one that learned from the reviewed sentences alone
    (``gold_only_text_f1``), which are as many tokens, or from the start's silver (``full_silver_text_f1``). On the
    unreviewed rest: ``auroc`` of everything with a candidate, ``auroc_at_cut`` of what is shown, ``ece``.
    ``replaced_*``: the same if an answer changed its own sentence alone. ``*_ci95``: bootstrap intervals over
    sentences; those of ``*_gain_ci95`` are of the difference to ``replaced_*``, in pairs. What is about the rest
    is None where people reviewed the whole pool.
    """

    strategy: str
    seed: int
    budget: int
    names: int
    tokens: int
    minutes: float
    cut: float
    pool_f1: float
    rest_f1: float | None
    test_f1: float
    text_f1: float | None
    gold_only_text_f1: float | None
    full_silver_text_f1: float | None
    auroc: float | None
    auroc_at_cut: float | None
    ece: float | None
    replaced_pool_f1: float
    replaced_rest_f1: float | None
    replaced_test_f1: float
    pool_f1_ci95: Interval
    rest_f1_ci95: Interval | None
    test_f1_ci95: Interval
    pool_gain_ci95: Interval
    rest_gain_ci95: Interval | None
    test_gain_ci95: Interval


class _State(NamedTuple):
    reviewed: Bools
    answers: dict[int, list[TokenSpan]]
    verdicts: dict[NameKey, Verdict]
    occurrences: Occurrences
    spread: Spread
    seconds: float


class Simulation:
    """A pool and a test set as one corpus. Raises RecordError for a bad task, UsageError for an empty pool or test
    set or tasks without gold, ConfigurationError for weights without corpus mode."""

    def __init__(self, pool: Sequence[Task], test: Sequence[Task], weights: Weights) -> None:
        if not pool or not test:
            raise UsageError("a simulation needs tasks in its pool and in its test set", hint="check both files")
        for task in (*pool, *test):
            if task.entities is None:
                raise UsageError(
                    f"task {task.id!r} has no `entities`", hint="a simulation needs gold in all tasks"
                )
        examples = [read_example(task) for task in (*pool, *test)]
        self.gold = [example.gold for example in examples]
        self.labels = sorted({label for spans in self.gold for _, _, label in spans})
        instances = [example.instance for example in examples]
        self.words = [instance.target.words() for instance in instances]
        self.size = np.array([len(words) for words in self.words], np.int64)
        self.pool = np.arange(len(pool))
        self.test = np.arange(len(pool), len(examples))
        self.rounds = weights.rounds
        self.signature = f"log-linear-corpus:{weights.digest}"
        self.observations = Observations(
            instances, [Model(weights)], [0] * len(instances), more_labels=self.labels
        )
        self._early = early_tags(self.observations, self.rounds)
        self._base = spread(self.observations, self.rounds, self._early, {})

    def run(
        self,
        strategy: str,
        budgets: Sequence[int],
        *,
        names: Sequence[int] = (),
        seed: int = 0,
        error: float = 0.0,
        text: bool = True,
    ) -> Iterator[Run]:
        """The states of one loop: after each budget of sentences, and each number of questions asked after it."""
        reviewer = SimulatedReviewer(self.gold, self.size.tolist(), self.labels, error, seed)
        for state in self._sentence_states(strategy, budgets, reviewer, seed):
            yield self._judge(state, strategy, seed, 0, text)
            after = state
            for count in sorted(set(names)):
                if count:
                    after = self._after_names(after, count - len(after.verdicts), reviewer)
                    yield self._judge(after, strategy, seed, count, text)

    def test_labels(
        self, strategy: str, budgets: Sequence[int], *, seed: int = 0, error: float = 0.0
    ) -> Iterator[list[set[TokenSpan]]]:
        """The labels of the test sentences after each budget of reviewed ones, at the cut of then."""
        reviewer = SimulatedReviewer(self.gold, self.size.tolist(), self.labels, error, seed)
        for state in self._sentence_states(strategy, budgets, reviewer, seed):
            labels = self._labels(state)
            yield [labels[number] for number in self.test.tolist()]

    def _sentence_states(
        self, strategy: str, budgets: Sequence[int], reviewer: SimulatedReviewer, seed: int
    ) -> Iterator[_State]:
        order = make_strategy(strategy)
        generator = np.random.default_rng(seed)
        state = _State(np.zeros(len(self.words), bool), {}, {}, {}, self._base, 0.0)
        for budget in sorted(set(budgets)):
            wanted = budget - int(state.reviewed.sum())
            if wanted > 0:
                chosen = order.choose(self.review_pool(state), wanted, generator)
                state = self._after_sentences(state, chosen, reviewer)
            yield state

    def run_queue(
        self, minutes: Sequence[float], *, seed: int = 0, error: float = 0.0, text: bool = True
    ) -> Iterator[Run]:
        """The states of a loop whose people get sentences and names in one queue, after so many minutes each."""
        reviewer = SimulatedReviewer(self.gold, self.size.tolist(), self.labels, error, seed)
        state = _State(np.zeros(len(self.words), bool), {}, {}, {}, self._base, 0.0)
        for limit in sorted(set(minutes)):
            groups = self._questions(state)
            plan = plan_queue(
                self.review_pool(state),
                [Question(group.rows) for group in groups],
                60.0 * limit - state.seconds,
                Costs(),
            )
            state = self._read(state, plan.sentences, reviewer)
            state = self._ask(state, [groups[number] for number in plan.questions], reviewer)
            state = self._learned(state)
            yield self._judge(state, ONE_QUEUE, seed, len(state.verdicts), text)

    def review_pool(self, state: _State) -> ReviewPool:
        """What a strategy is shown."""
        chosen = state.spread.chosen
        codes: dict[tuple[str, object], int] = {}
        texts = text_of(self.observations, chosen)
        keys: list[tuple[str, object]] = [
            ("name", int(self.observations.name[mention])) if mention >= 0 else ("text", text)
            for mention, text in zip(chosen.mention.tolist(), texts, strict=True)
        ]
        open_ = ~state.reviewed
        open_[self.test] = False
        return ReviewPool(
            tokens=self.size,
            open=open_,
            sentence=chosen.sentence,
            confidence=chosen.confidence,
            name=np.array([codes.setdefault(key, len(codes)) for key in keys], np.int64),
            cut=state.spread.cut,
            disagreement=state.spread.disagreement(self.observations),
        )

    def _after_sentences(self, state: _State, chosen: Sequence[int], reviewer: SimulatedReviewer) -> _State:
        return self._learned(self._read(state, chosen, reviewer))

    def _after_names(self, state: _State, count: int, reviewer: SimulatedReviewer) -> _State:
        return self._learned(self._ask(state, self._questions(state)[: max(count, 0)], reviewer))

    def _read(self, state: _State, chosen: Sequence[int], reviewer: SimulatedReviewer) -> _State:
        """What people said about sentences, not learned yet."""
        shown = self._shown(state)
        answers = dict(state.answers)
        seconds = state.seconds
        for number in chosen:
            answers[number] = reviewer.review(number)
            wrong = len(shown[number] - set(answers[number]))
            missing = len(set(answers[number]) - shown[number])
            seconds += SECONDS_PER_TOKEN * float(self.size[number]) + SECONDS_PER_CHANGE * max(wrong, missing)
        reviewed = state.reviewed.copy()
        reviewed[list(chosen)] = True
        return state._replace(reviewed=reviewed, answers=answers, seconds=seconds)

    def _questions(self, state: _State) -> list[SpanGroup]:
        """The names that could be asked about, the most doubtful first."""
        chosen, pool = state.spread.chosen, self.review_pool(state)
        keys = keys_of_spans(self.observations, chosen)
        groups = span_groups(keys, chosen.confidence, pool.doubt, pool.open[chosen.sentence])
        return [group for group in groups if group.key not in state.verdicts]

    def _ask(self, state: _State, groups: Sequence[SpanGroup], reviewer: SimulatedReviewer) -> _State:
        """What people said about names, not learned yet."""
        chosen = state.spread.chosen
        verdicts = dict(state.verdicts)
        keys = set(keys_of_spans(self.observations, chosen))
        for group in groups:
            places = [
                (int(chosen.sentence[row]), int(chosen.first[row]), int(chosen.last[row])) for row in group.rows
            ]
            borders = self._borders(group.key, places, keys)
            ranks = places_shown(len(places))
            offered = {text: [at[rank] for rank in ranks] for text, at in borders.items()}
            verdicts[group.key] = reviewer.name(group.key.label, [places[rank] for rank in ranks], offered)
        return state._replace(verdicts=verdicts, seconds=state.seconds + SECONDS_PER_NAME * len(groups))

    def _borders(
        self, key: NameKey, places: Sequence[tuple[int, int, int]], keys: Collection[NameKey]
    ) -> dict[str, list[Borders | None]]:
        """The other borders that a card offers, as :meth:`SimulatedReviewer.name` takes them."""
        targets = [self.observations.instances[number].target for number, _, _ in places]
        spans = [
            Span(target.starts[first], target.ends[last - 1])
            for target, (_, first, last) in zip(targets, places, strict=True)
        ]
        occurrences = [
            Occurrence(number, target.text, span.start, span.end, key.label, 0.0)
            for target, span, (number, _, _) in zip(targets, spans, places, strict=True)
        ]
        offered: dict[str, list[Borders | None]] = {}
        for text in other_spans(NameGroup(key, tuple(occurrences)), keys):
            offered[text] = []
            for target, span in zip(targets, spans, strict=True):
                place = place_of(target.text, span, text)
                offered[text].append(None if place is None else target.covering(place.start, place.end)[:2])
        return offered

    def _learned(self, state: _State) -> _State:
        """What all answers make of the corpus."""
        occurrences = occurrences_of(
            self.observations, state.spread.chosen, state.verdicts.keys(), state.occurrences
        )
        names = answers_on(self.observations, without_reviewed(occurrences, state.answers.keys()), state.verdicts)
        result = spread(self.observations, self.rounds, self._early, state.answers, names)
        return state._replace(occurrences=occurrences, spread=result)

    def _shown(self, state: _State, cut: float | None = None) -> list[set[TokenSpan]]:
        chosen = state.spread.chosen
        kept = chosen.select(chosen.confidence >= (state.spread.cut if cut is None else cut))
        spans: list[set[TokenSpan]] = [set() for _ in self.words]
        rows = zip(
            *(column.tolist() for column in (kept.sentence, kept.first, kept.last, kept.label)), strict=True
        )
        for number, first, last, label in rows:
            spans[number].add((first, last, self.observations.labels[label]))
        return spans

    def _labels(self, state: _State, cut: float | None = None) -> list[set[TokenSpan]]:
        spans = self._shown(state, cut)
        for number, answer in state.answers.items():
            spans[number] = set(answer)
        return spans

    def _judge(self, state: _State, strategy: str, seed: int, names: int, text: bool) -> Run:
        labels = self._labels(state)
        rest = self.pool[~state.reviewed[self.pool]]
        replaced = self._labels(state._replace(spread=self._base))
        chosen = state.spread.chosen
        unseen = chosen.select(np.isin(chosen.sentence, rest))
        gold = [set(spans) for spans in self.gold]
        right = np.array(
            [
                (first, last, self.observations.labels[label]) in gold[number]
                for number, first, last, label in zip(
                    *(column.tolist() for column in (unseen.sentence, unseen.first, unseen.last, unseen.label)),
                    strict=True,
                )
            ],
            bool,
        )
        kept = unseen.confidence >= state.spread.cut
        pool, test = (compare(labels, replaced, gold, which.tolist()) for which in (self.pool, self.test))
        of_rest = compare(labels, replaced, gold, rest.tolist()) if rest.size else None
        return Run(
            strategy=strategy,
            seed=seed,
            budget=int(state.reviewed.sum()),
            names=names,
            tokens=int(self.size[state.reviewed].sum()),
            minutes=round(state.seconds / 60, 2),
            cut=state.spread.cut,
            pool_f1=pool.f1,
            rest_f1=of_rest and of_rest.f1,
            test_f1=test.f1,
            text_f1=self._text_f1(state) if text else None,
            gold_only_text_f1=self._gold_only_text_f1(state) if text and state.answers else None,
            full_silver_text_f1=self._full_silver_text_f1 if text else None,
            auroc=metrics.auroc(unseen.confidence, right),
            auroc_at_cut=metrics.auroc(unseen.confidence[kept], right[kept]),
            ece=metrics.expected_calibration_error(unseen.confidence, right),
            replaced_pool_f1=pool.other_f1,
            replaced_rest_f1=of_rest and of_rest.other_f1,
            replaced_test_f1=test.other_f1,
            pool_f1_ci95=pool.ci95,
            rest_f1_ci95=of_rest and of_rest.ci95,
            test_f1_ci95=test.ci95,
            pool_gain_ci95=pool.gain_ci95,
            rest_gain_ci95=of_rest and of_rest.gain_ci95,
            test_gain_ci95=test.gain_ci95,
        )

    def f1(self, labels: Sequence[set[TokenSpan]], which: Iterable[int]) -> float:
        """Strict span F1 of some sentences' labels."""
        which = list(which)
        right = sum(len(labels[number] & set(self.gold[number])) for number in which)
        total = sum(len(labels[number]) + len(self.gold[number]) for number in which)
        return round(2 * right / max(total, 1), 5)

    def _text_f1(self, state: _State) -> float:
        cut = min(state.spread.cut, MergeRules().min_silver_confidence)
        return self._tagger_f1(self._labels(state, cut), self.pool.tolist())

    @cached_property
    def _full_silver_text_f1(self) -> float:
        nobody = np.zeros(len(self.words), bool)
        return self._text_f1(_State(nobody, {}, {}, {}, self._base, 0.0))

    def _gold_only_text_f1(self, state: _State) -> float:
        return self._tagger_f1(self._labels(state), sorted(state.answers))

    def _tagger_f1(self, labels: Sequence[set[TokenSpan]], learned: Sequence[int]) -> float:
        tags = [encode(labels[number], len(self.words[number])) for number in learned]
        words = [self.words[number] for number in learned]
        if not any(words):
            return 0.0
        tagger = CrfTagger.train(words, tags, c2=_C2, max_iterations=_ITERATIONS)
        tagged: list[set[TokenSpan]] = [set() for _ in self.words]
        for number in self.test.tolist():
            tagged[number] = set(decode(tagger.tag_words(self.words[number])))
        return self.f1(tagged, self.test.tolist())
