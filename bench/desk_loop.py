"""One loop of review, seen from the desk: what :mod:`review` judges."""

from __future__ import annotations

import numpy as np

from xner_label.confidence.calibration import POOLED, calibrate
from xner_label.confidence.estimates import TaskCounts
from xner_label.confidence.planning import TaskHistory, forecast
from xner_label.confidence.signals import EntitySignals, codes_of
from xner_label.confidence.stopping import Taught, compare_projections
from xner_label.confidence.task_scores import TaskSignals, task_scores
from xner_label.projection.corpus.evidence import span_probability
from xner_label.projection.corpus.rounds import text_of
from xner_label.review.strategies import make_strategy
from xner_label.simulation.loop import Simulation, _State
from xner_label.simulation.reviewer import SimulatedReviewer

# The calibration's prior without a language: the mean of the other group (Luganda or Setswana) and of Europarl.
PRIORS = {"lug": (0.0, 0.9, 0.35, 0.8, -0.2), "tsn": (-0.1, 0.95, 0.4, 0.7, -0.55)}


class Desk:
    """One loop, seen from the desk."""

    def __init__(self, simulation: Simulation, seed: int, audit_share: float, language: str) -> None:
        self.simulation = simulation
        self.prior = PRIORS.get(language, POOLED)
        self.generator = np.random.default_rng(seed)
        self.audit_share = audit_share
        tasks = len(simulation.words)
        self.reviewer = SimulatedReviewer(simulation.gold, simulation.size.tolist(), simulation.labels, 0.0, seed)
        self.state = _State(np.zeros(tasks, bool), {}, {}, {}, simulation._base, 0.0)
        self.audited = np.zeros(tasks, bool)
        self.gold = np.array([len(set(spans)) for spans in simulation.gold], np.float64)
        self.tokens = simulation.size.astype(np.float64)
        self.pool = np.zeros(tasks, bool)
        self.pool[simulation.pool] = True
        self.answered = np.zeros(tasks)
        self.before: list[set] | None = None
        self.look()

    def look(self) -> None:
        """Everything the desk knows in the present state; ``truth`` (n,) is what the gold says."""
        simulation, chosen = self.simulation, self.state.spread.chosen
        observations, tagged = simulation.observations, self.state.spread.tagged
        gold = [set(spans) for spans in simulation.gold]
        rows = list(
            zip(
                *(column.tolist() for column in (chosen.sentence, chosen.first, chosen.last, chosen.label)),
                strict=True,
            )
        )
        truth = np.array(
            [(first, last, observations.labels[label]) in gold[s] for s, first, last, label in rows], bool
        )
        tagger = np.array(
            [
                np.nan
                if tagged is None or tagged.marginals[s] is None
                else span_probability(tagged.marginals[s], first, last)[label]
                for s, first, last, label in rows
            ]
        )
        reviewed = self.state.reviewed[chosen.sentence]
        every = EntitySignals(
            chosen.sentence, chosen.confidence, tagger, codes_of(text_of(observations, chosen)), chosen.label,
            reviewed, truth & reviewed,
        )  # fmt: skip
        self.every, self.every_truth = every, truth
        shown = chosen.confidence >= self.state.spread.cut
        self.signals, self.truth = every.select(shown), truth[shown]
        self.first, self.last = chosen.first[shown], chosen.last[shown]
        self.spans = simulation._shown(self.state)
        self.calibrated = calibrate(self.signals, self.audited[self.signals.task], self.prior)
        tasks = len(self.tokens)
        task, confidence = self.signals.task, self.calibrated.confidence
        self.shown = np.bincount(task, minlength=tasks).astype(np.float64)
        self.expected = np.bincount(task, confidence, tasks)
        self.right = np.bincount(task, self.truth, tasks)
        self.rest = self.pool & ~self.state.reviewed
        self.look_at_tasks(chosen, shown)

    def look_at_tasks(self, chosen, shown) -> None:
        """What the desk knows of whole tasks, and whether something is missed in them."""
        observations, tasks = self.simulation.observations, len(self.tokens)
        sources = np.array([place is not None for place in observations.place], bool)
        projected = chosen.mention[shown & (chosen.mention >= 0)]
        left = np.bincount(observations.sentence[sources], minlength=tasks) - np.bincount(
            observations.sentence[projected[sources[projected]]], minlength=tasks
        )
        missed = np.zeros(tasks)
        for number, spans in enumerate(self.simulation.gold):
            missed[number] = sum(
                not any(first < end and start < last for start, end, _ in self.spans[number])
                for first, last, _ in set(spans)
            )
        self.complete = missed == 0
        hidden = np.exp(np.bincount(chosen.sentence[~shown], np.log1p(-chosen.confidence[~shown]), tasks))
        task, confidence = self.signals.task, self.calibrated.confidence
        self.raw_task = hidden * np.exp(np.bincount(task, np.log(self.signals.confidence), tasks))
        self.scores = task_scores(
            TaskSignals(
                sure=np.exp(np.bincount(task, np.log(np.maximum(confidence, 1e-9)), tasks)),
                hidden=hidden,
                lost=np.maximum(left, 0).astype(np.float64),
                tokens=self.tokens,
                reviewed=self.state.reviewed,
                audited=self.audited & self.state.reviewed,
                complete=self.state.reviewed & self.complete,
            )
        )

    def counts(self, reviewed, audited, which) -> TaskCounts:
        return TaskCounts(
            self.shown[which], self.expected[which], reviewed[which], audited[which],
            (self.right * reviewed)[which], (self.gold * reviewed)[which],
        )  # fmt: skip

    def order(self, count: int, strategy: str) -> tuple[list[int], list[int]]:
        """The next round: those drawn at random, and those of the strategy."""
        unread = np.flatnonzero(self.rest)
        drawn = self.generator.permutation(unread)[: round(self.audit_share * count)].tolist()
        pool = self.simulation.review_pool(self.state)
        open_ = pool.open.copy()
        open_[drawn] = False
        chosen = make_strategy(strategy).choose(pool._replace(open=open_), count - len(drawn), self.generator)
        return drawn, chosen

    def review(self, drawn: list[int], chosen: list[int]) -> None:
        self.audited[drawn] = True
        self.before = self.spans
        seconds = self.state.seconds
        self.state = self.simulation._after_sentences(self.state, [*drawn, *chosen], self.reviewer)
        # those of a round share a place in its middle
        self.answered[[*drawn, *chosen]] = self.state.reviewed.sum() - (len(drawn) + len(chosen)) / 2.0
        self.answers, self.seconds = len(drawn) + len(chosen), self.state.seconds - seconds
        self.look()

    def changes(self) -> np.ndarray:
        """(S,) what a person would change in each sentence as it is shown now."""
        return np.maximum(self.shown - self.right, self.gold - self.right)

    def doubt(self) -> np.ndarray:
        return np.maximum(self.shown - self.expected, 0.0)

    def forecast(self):
        read = self.state.reviewed
        age = self.state.reviewed.sum() - self.answered[read]
        return forecast(TaskHistory(self.tokens[read], self.doubt()[read], self.changes()[read], age))

    def taught(self) -> Taught | None:
        """What the last round taught the unread sentences."""
        if self.before is None:
            return None
        rest = np.flatnonzero(self.rest).tolist()
        now: dict[int, dict[tuple[int, int, str], float]] = {number: {} for number in rest}
        labels = self.simulation.observations.labels
        columns = (self.signals.task, self.first, self.last, self.signals.label, self.calibrated.confidence)
        for number, first, last, label, sure in zip(*(column.tolist() for column in columns), strict=True):
            if number in now:
                now[number][first, last, labels[label]] = sure
        pairs = [(self.before[number], now[number]) for number in rest]
        return compare_projections(pairs, self.answers, self.seconds)
