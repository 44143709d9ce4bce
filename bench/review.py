"""What the review desk's numbers are worth: `python bench/review.py --languages lug tsn --json review.json`.

The product's own loop on real text, with weights that never saw the language. In every round a fifth of the
sentences is drawn at random (the audit slice) and the rest by the default order; after each round the desk's
functions see what they would see in a project, and the hidden gold judges them:

- calibration: ECE and AUROC on the unreviewed rest, of the projection's confidence and of the calibrated one;
- guarantee: redrawn audits of the size of all answers, share accepted, how often the promise broke;
- estimates: redrawn audits, how often the intervals hold the truth;
- plan: changes expected in the round to come, and those that were made;
- stopping: the verdict after each round beside the F1 reached.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
from economy import fitted, split_of
from lowres import read_corpus

import xner_label
from xner_label.confidence.calibration import POOLED, calibrate
from xner_label.confidence.estimates import TaskCounts, estimate
from xner_label.confidence.guarantee import promise, promises
from xner_label.confidence.lead_times import SECONDS_PER_CHANGE, SECONDS_PER_TOKEN
from xner_label.confidence.planning import NameHistory, TaskHistory, forecast, forecast_names
from xner_label.confidence.signals import EntitySignals, codes_of
from xner_label.confidence.stopping import judge
from xner_label.confidence.task_scores import TaskSignals, task_scores
from xner_label.evaluation import metrics
from xner_label.projection.corpus.evidence import span_probability
from xner_label.projection.corpus.rounds import text_of
from xner_label.review.name_answers import Kind, Verdict
from xner_label.review.strategies import make_strategy
from xner_label.settings.choices import DEFAULT_STRATEGY
from xner_label.simulation.loop import Simulation, _State
from xner_label.simulation.reviewer import SimulatedReviewer

AUDIT_SHARE = 0.2
# The calibration's prior without a language: the mean of the other group (Luganda or Setswana) and of Europarl.
PRIORS = {"lug": (0.0, 0.9, 0.35, 0.8, -0.2), "tsn": (-0.1, 0.95, 0.4, 0.7, -0.55)}
# Questions about names that a plan holds in the bench.
QUESTIONS = 40
ESTIMATED = ("rest_precision", "rest_recall", "rest_f1", "precision", "recall", "f1", "wrong", "missed")


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
        self.state = self.simulation._after_sentences(self.state, [*drawn, *chosen], self.reviewer)
        self.look()

    def changes(self) -> np.ndarray:
        """(S,) what a person would change in each sentence as it is shown now."""
        return np.maximum(self.shown - self.right, self.gold - self.right)

    def doubt(self) -> np.ndarray:
        return np.maximum(self.shown - self.expected, 0.0)

    def forecast(self):
        read = self.state.reviewed
        return forecast(TaskHistory(self.tokens[read], self.doubt()[read], self.changes()[read]))

    def stability(self) -> float | None:
        """Share of the entities of unread sentences that the last round left alone."""
        if self.before is None:
            return None
        same = total = 0
        for number in np.flatnonzero(self.rest).tolist():
            same += len(self.before[number] & self.spans[number])
            total += len(self.before[number] | self.spans[number])
        return same / max(total, 1)


def calibration(desk: Desk) -> dict[str, object]:
    """On the unreviewed rest of the pool, of everything with a candidate and of what is shown."""
    open_ = desk.rest[desk.signals.task]
    before, after, right = desk.signals.confidence[open_], desk.calibrated.confidence[open_], desk.truth[open_]
    every = calibrate(desk.every, desk.audited[desk.every.task], desk.prior)
    unread = desk.rest[desk.every.task]
    shown = unread & (desk.every.confidence >= desk.state.spread.cut)
    result: dict[str, object] = {"n": len(right), "wrong": int((~right).sum())}
    for name, shown_values, all_values in (
        ("projection", before, desk.every.confidence),
        ("calibrated", after, every.confidence),
    ):
        result[name] = {
            "auroc": metrics.auroc(all_values[unread], desk.every_truth[unread]),
            "auroc_at_cut": metrics.auroc(shown_values, right),
            "auroc_at_cut_all_candidates_known": metrics.auroc(all_values[shown], desk.every_truth[shown]),
            "ap_errors": metrics.average_precision_of_errors(shown_values, right),
            "brier": metrics.brier(shown_values, right),
            "ece": metrics.expected_calibration_error(all_values[unread], desk.every_truth[unread]),
            "ece_at_cut": metrics.expected_calibration_error(shown_values, right),
        }
    return result


def guarantees(desk: Desk, draws: int, size: int, generator) -> list[dict[str, object]]:
    """Redrawn audits of ``size`` sentences of the rest: what is accepted, and how often the promise breaks."""
    unread = np.flatnonzero(desk.rest)
    rows = desk.rest[desk.signals.task]
    confidence, right = desk.calibrated.confidence[rows], desk.truth[rows]
    label, task = desk.signals.label[rows], desk.signals.task[rows]
    names = desk.simulation.observations.labels
    result = []
    for max_error in (0.05, 0.1):
        shares, together = [], []
        broken = dict.fromkeys((*names, "together", "sentences"), 0)
        sentences = []
        for _ in range(draws):
            audit = np.zeros(len(desk.tokens), bool)
            audit[generator.choice(unread, min(size, len(unread) // 2), replace=False)] = True
            seen = audit[task]
            accepted = np.zeros(len(task), bool)
            made = promises(
                label[seen],
                confidence[seen],
                right[seen],
                label[~seen],
                confidence[~seen],
                names,
                max_error=max_error,
            )
            for place, one in enumerate(made):
                if one.cut is not None:
                    inside = ~seen & (label == place) & (confidence >= one.cut)
                    accepted |= inside
                    broken[names[place]] += bool(inside.any() and (~right[inside]).mean() > max_error)
            shares.append(accepted.sum() / max((~seen).sum(), 1))
            pooled = promise(confidence[seen], right[seen], confidence[~seen], max_error=max_error)
            together.append(pooled.share)
            if pooled.cut is not None:
                inside = ~seen & (confidence >= pooled.cut)
                broken["together"] += bool((~right[inside]).mean() > max_error)
            sure, whole = sentence_outcomes(desk)
            one = promise(
                sure[audit], whole[audit], sure[desk.rest & ~audit], max_error=max_error, unit="sentence"
            )
            sentences.append(one.share)
            if one.cut is not None:
                inside = desk.rest & ~audit & (sure >= one.cut)
                broken["sentences"] += bool(inside.any() and (~whole[inside]).mean() > max_error)
        order = np.argsort(-confidence)
        error = np.cumsum(~right[order]) / np.arange(1, len(order) + 1)
        possible = np.flatnonzero(error <= max_error)
        result.append(
            {
                "max_error": max_error,
                "draws": draws,
                "audited_sentences": size,
                "share_per_type": summary(shares),
                "share_together": summary(together),
                "share_sentences": summary(sentences),
                "oracle_share": (int(possible.max()) + 1) / len(order) if len(possible) else 0.0,
                "held": {name: 1.0 - count / draws for name, count in broken.items()},
            }
        )
    return result


def real_promises(desk: Desk) -> list[dict[str, object]]:
    """What the answers of this very loop promise, and the truth: by the audit alone, and, as a warning, by all."""
    signals, confidence = desk.signals, desk.calibrated.confidence
    open_ = desk.rest[signals.task]
    result = []
    for max_error in (0.05, 0.1):
        for evidence, rows in (("audit", desk.audited[signals.task]), ("reviewed", signals.reviewed)):
            accepted, held = 0, []
            for place in range(len(desk.simulation.observations.labels)):
                known, rest = rows & (signals.label == place), open_ & (signals.label == place)
                one = promise(confidence[known], desk.truth[known], confidence[rest], max_error=max_error)
                if one.cut is not None:
                    inside = rest & (confidence >= one.cut)
                    accepted += int(inside.sum())
                    held.append(float((~desk.truth[inside]).mean()))
            result.append(
                {
                    "max_error": max_error,
                    "evidence": evidence,
                    "share": accepted / max(int(open_.sum()), 1),
                    "errors": held,
                }
            )
    return result


def sentence_outcomes(desk: Desk) -> tuple[np.ndarray, np.ndarray]:
    """(S,) P(nothing is wrong and nothing missed) of each sentence, and whether that is so."""
    return desk.scores.whole, (desk.shown == desk.right) & desk.complete


def of_tasks(desk: Desk) -> dict[str, object]:
    """The score of whole tasks on the unreviewed rest, beside what the projection says."""
    _, whole = sentence_outcomes(desk)
    rest = desk.rest
    return {
        name: {
            "auroc": metrics.auroc(values[rest], truth[rest]),
            "ece": metrics.expected_calibration_error(values[rest], truth[rest]),
        }
        for name, values, truth in (
            ("projection, whole", desk.raw_task, whole),
            ("calibrated, whole", desk.scores.whole, whole),
            ("calibrated, nothing missed", desk.scores.complete, desk.complete),
        )
    }


def names_planned(desk: Desk, draws: int, generator) -> dict[str, object]:
    """Plans of questions about names, some of which were answered before: how often the interval holds what the
    answers change. The answers teach nothing here."""
    simulation, state = desk.simulation, desk.state
    groups = simulation._questions(state)[: 10 * QUESTIONS]
    verdicts = simulation._ask(state, groups, desk.reviewer).verdicts
    table = [
        (
            len(group.rows),
            group.doubt,
            0 if verdicts[group.key] == Verdict(Kind.LABEL, group.key.label) else len(group.rows),
        )
        for group in groups
    ]
    columns = np.array(table, np.float64).reshape(-1, 3)
    result: dict[str, object] = {"questions": len(table)}
    for known in (0, QUESTIONS):
        held = []
        for _ in range(draws if len(table) >= QUESTIONS + known else 0):
            order = generator.permutation(len(table))
            outlook = forecast_names(NameHistory(*columns[order[:known]].T))
            asked_now = columns[order[known : known + QUESTIONS]]
            expected = outlook.total(asked_now[:, 0], asked_now[:, 1])
            held.append(expected.low <= asked_now[:, 2].sum() <= expected.high)
        result[f"held after {known} answers"] = float(np.mean(held)) if held else None
    every = forecast_names(NameHistory(*columns.T))
    return {**result, "ratio": every.ratio}


def summary(values: list[float]) -> dict[str, float]:
    low, median, high = np.quantile(values, [0.1, 0.5, 0.9]).tolist()
    return {"mean": float(np.mean(values)), "p10": low, "median": median, "p90": high}


def coverage(desk: Desk, draws: int, size: int, generator) -> dict[str, object]:
    """Redrawn audits of the rest: how often each interval holds the truth, and how wide that of F1 is."""
    unread = np.flatnonzero(desk.rest)
    held = dict.fromkeys(ESTIMATED, 0)
    widths = []
    for _ in range(draws):
        audit = np.zeros(len(desk.tokens), bool)
        audit[generator.choice(unread, min(size, len(unread) // 2), replace=False)] = True
        found = estimate(desk.counts(audit, audit, unread))
        left = desk.rest & ~audit
        right, gold, shown = (float(column[left].sum()) for column in (desk.right, desk.gold, desk.shown))
        settled = float(desk.gold[audit].sum())
        truth = {
            "rest_precision": right / shown, "rest_recall": right / gold, "rest_f1": 2 * right / (shown + gold),
            "precision": (right + settled) / (shown + settled), "recall": (right + settled) / (gold + settled),
            "f1": 2 * (right + settled) / (shown + gold + 2 * settled),
            "wrong": shown - right, "missed": gold - right,
        }  # fmt: skip
        for name in ESTIMATED:
            interval = getattr(found, name)
            held[name] += interval.low <= truth[name] <= interval.high
        widths.append(found.rest_f1.high - found.rest_f1.low)
    return {
        "audited_sentences": size,
        "draws": draws,
        "coverage": {name: count / draws for name, count in held.items()},
        "rest_f1_width": summary(widths),
    }


def verdict(desk: Desk, strategy: str) -> dict[str, object]:
    """The verdict and what it rests on, with the truth beside it."""
    counts = desk.counts(desk.state.reviewed, desk.audited, np.flatnonzero(desk.pool))
    place = np.cumsum(desk.pool) - 1
    pool = desk.simulation.review_pool(desk.state)
    order = make_strategy(strategy).choose(pool, int(desk.rest.sum()), np.random.default_rng(0))
    outlook = desk.forecast()
    spent = np.cumsum(
        SECONDS_PER_TOKEN * desk.tokens[order]
        + SECONDS_PER_CHANGE * outlook.changes(desk.tokens[order], desk.doubt()[order])
    )
    hour = np.zeros(len(counts.shown), bool)
    hour[place[np.array(order)[spent <= 3600.0]]] = True
    now = estimate(counts)
    found = judge(now, estimate(counts, chosen=hour), desk.stability())
    labels = desk.simulation._labels(desk.state)
    rest = desk.simulation.f1(labels, np.flatnonzero(desk.rest)) if desk.rest.any() else None
    return {
        "verdict": found,
        "estimated_f1": None if now is None else now.f1,
        "pool_f1": desk.simulation.f1(labels, desk.simulation.pool),
        "rest_f1": rest,
        "test_f1": desk.simulation.f1(labels, desk.simulation.test),
    }


def rounds(
    simulation: Simulation, options: argparse.Namespace, seed: int, language: str
) -> Iterator[dict[str, object]]:
    """A loop in steps, judged after each."""
    desk = Desk(simulation, seed, options.audit_share, language)
    generator = np.random.default_rng([seed, 7])
    for step in (*options.steps, None):
        row: dict[str, object] = {
            "sentences": int(desk.state.reviewed.sum()),
            "audited": int(desk.audited.sum()),
            "minutes": round(desk.state.seconds / 60, 1),
            **verdict(desk, options.strategy),
        }
        row["promises"] = real_promises(desk)
        if row["sentences"] in options.judge:
            row["calibration"] = calibration(desk)
            row["tasks"] = of_tasks(desk)
            row["names"] = names_planned(desk, options.draws, generator)
            row["calibrator"] = desk.calibrated.calibrator
            row["guarantees"] = guarantees(desk, options.draws, 200, generator)
            row["estimates"] = [coverage(desk, options.draws, size, generator) for size in (50, 100, 200)]
        if step is not None:
            drawn, chosen = desk.order(step, options.strategy)
            numbers = [*drawn, *chosen]
            expected = desk.forecast().total(desk.tokens[numbers], desk.doubt()[numbers])
            made = float(desk.changes()[numbers].sum())
            row["plan"] = {"changes": expected, "made": made, "held": expected.low <= made <= expected.high}
            desk.review(drawn, chosen)
        yield row


def main() -> None:
    parser = argparse.ArgumentParser(prog=sys.argv[0], description=__doc__)
    parser.add_argument("--languages", nargs="+", default=["lug", "tsn"])
    parser.add_argument("--strategy", default=DEFAULT_STRATEGY)
    parser.add_argument("--audit-share", type=float, default=AUDIT_SHARE)
    parser.add_argument("--steps", nargs="*", type=int, default=[100] * 8)
    parser.add_argument(
        "--judge", nargs="+", type=int, default=[200], help="states that are judged with redrawn audits"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(5)))
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--weights", type=Path, help="folder that keeps the fitted weights between runs")
    parser.add_argument("--json", type=Path, default=Path("review.json"))
    options = parser.parse_args()
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for language in options.languages:
            weights = fitted(language, options.weights or Path(folder))
            corpus = read_corpus(language)
            simulation = Simulation(split_of(corpus, "train"), split_of(corpus, "test"), weights)
            for seed in options.seeds:
                start = time.process_time()
                for row in rounds(simulation, options, seed, language):
                    row = {"language": language, "seed": seed, "strategy": options.strategy, **row}
                    row["seconds"] = round(time.process_time() - start, 1)
                    rows.append(row)
                    print(msgspec.json.encode(row).decode(), flush=True)
                    content = {"version": xner_label.__version__, "rows": rows}
                    options.json.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")


if __name__ == "__main__":
    main()
