"""What the review desk's numbers are worth: `python bench/review.py --languages lug tsn --json review.json`.

The product's own loop on real text, with weights that never saw the language. In every round a fifth of the
sentences is drawn at random (the audit slice) and the rest by the default order; after each round the desk's
functions see what they would see in a project, and the hidden gold judges them:

- calibration: ECE and AUROC on the unreviewed rest, of the projection's confidence and of the calibrated one;
- guarantee: redrawn audits of the size of all answers, share accepted, how often the promise broke;
- estimates: redrawn audits, how often the intervals hold the truth;
- plan: changes expected in the round to come, and those that were made;
- stopping: the verdict after each round beside the F1 reached, and the F1 with half, three quarters and all of the
  pool read.

Loops that the `--json` file holds already are not run again, so that a long run can be cut into pieces.
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
from desk_loop import Desk
from economy import fitted, split_of
from lowres import read_corpus
from scipy.stats import binom

import xner_label
from xner_label.confidence.calibration import calibrate
from xner_label.confidence.estimates import estimate
from xner_label.confidence.guarantee import largest_rejecting, promise, promises
from xner_label.confidence.lead_times import SECONDS_PER_CHANGE, SECONDS_PER_TOKEN
from xner_label.confidence.planning import NameHistory, forecast_names
from xner_label.confidence.stopping import judge
from xner_label.evaluation import metrics
from xner_label.review.name_answers import Kind, Verdict
from xner_label.review.strategies import make_strategy
from xner_label.settings.choices import CORPUS, DEFAULT_STRATEGY
from xner_label.simulation.loop import Simulation, _State
from xner_label.simulation.reviewer import SimulatedReviewer

AUDIT_SHARE = 0.2
# Questions about names that a plan holds in the bench.
QUESTIONS = 40
# Shares of the pool that are read for the best that a loop could reach.
READ = (0.5, 0.75, 1.0)
ESTIMATED = ("rest_precision", "rest_recall", "rest_f1", "precision", "recall", "f1", "wrong", "missed")


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
            for place, guarantee in enumerate(made):
                if guarantee.cut is not None:
                    inside = ~seen & (label == place) & (confidence >= guarantee.cut)
                    accepted |= inside
                    broken[names[place]] += bool(inside.any() and (~right[inside]).mean() > max_error)
            shares.append(accepted.sum() / max((~seen).sum(), 1))
            pooled = promise(confidence[seen], right[seen], confidence[~seen], max_error=max_error)
            together.append(pooled.share)
            if pooled.cut is not None:
                inside = ~seen & (confidence >= pooled.cut)
                broken["together"] += bool((~right[inside]).mean() > max_error)
            sure, whole = sentence_outcomes(desk)
            guarantee = promise(
                sure[audit], whole[audit], sure[desk.rest & ~audit], max_error=max_error, unit="sentence"
            )
            sentences.append(guarantee.share)
            if guarantee.cut is not None:
                inside = desk.rest & ~audit & (sure >= guarantee.cut)
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
                **limits(desk, max_error, size),
                "oracle_share": (int(possible.max()) + 1) / len(order) if len(possible) else 0.0,
                "held": {name: 1.0 - count / draws for name, count in broken.items()},
            }
        )
    return result


def limits(desk: Desk, max_error: float, size: int) -> dict[str, object]:
    """What could be accepted for each label by the same order of confidences. ``oracle_share_per_type``: with the
    outcomes known. ``one_cut_share``: the cut is known that serves best, and is tested once on an audit of
    ``size`` sentences; the share is its own times the probability that it passes."""
    rows = desk.rest[desk.signals.task]
    confidence, right, label = desk.calibrated.confidence[rows], desk.truth[rows], desk.signals.label[rows]
    audited = size / max(int(desk.rest.sum()), 1)
    known = tested = 0.0
    for place in range(len(desk.simulation.observations.labels)):
        of_label = np.flatnonzero(label == place)
        order = of_label[np.argsort(-confidence[of_label], kind="stable")]
        count = np.arange(1, len(order) + 1)
        error = np.cumsum(~right[order]) / count
        known += max(np.flatnonzero(error <= max_error), default=-1) + 1
        seen = np.round(audited * count)
        largest = largest_rejecting(seen, count - seen, max_error, 0.95)
        passes = np.where((largest >= 0) & (seen >= 1), binom.cdf(largest, seen, error), 0.0)
        tested += max(passes * count, default=0.0)
    return {"oracle_share_per_type": float(known / len(label)), "one_cut_share": float(tested / len(label))}


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
                given = promise(confidence[known], desk.truth[known], confidence[rest], max_error=max_error)
                if given.cut is not None:
                    inside = rest & (confidence >= given.cut)
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
        estimated = estimate(desk.counts(audit, audit, unread))
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
            interval = getattr(estimated, name)
            held[name] += interval.low <= truth[name] <= interval.high
        widths.append(estimated.rest_f1.high - estimated.rest_f1.low)
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
    after, taught = estimate(counts, chosen=hour), desk.taught()
    labels = desk.simulation._labels(desk.state)
    rest = desk.simulation.f1(labels, np.flatnonzero(desk.rest)) if desk.rest.any() else None
    return {
        "verdict": judge(now, after, taught),
        "for_corpus": judge(now, after, taught, purpose=CORPUS),
        "taught": taught,
        "estimated_f1": None if now is None else now.f1,
        "pool_f1": desk.simulation.f1(labels, desk.simulation.pool),
        "rest_f1": rest,
        "test_f1": desk.simulation.f1(labels, desk.simulation.test),
    }


def best(simulation: Simulation) -> list[dict[str, float]]:
    """F1 of the test sentences with half, three quarters and all of the pool read, drawn at random."""
    reviewer = SimulatedReviewer(simulation.gold, simulation.size.tolist(), simulation.labels, 0.0, 0)
    order = np.random.default_rng(0).permutation(simulation.pool)
    nobody = _State(np.zeros(len(simulation.words), bool), {}, {}, {}, simulation._base, 0.0)
    result = []
    for share in READ:
        chosen = order[: round(share * len(order))].tolist()
        labels = simulation._labels(simulation._after_sentences(nobody, chosen, reviewer))
        result.append({"read": share, "test_f1": simulation.f1(labels, simulation.test)})
    return result


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


class Measured(msgspec.Struct):
    """What was measured so far: the states of loops, and the best of each language."""

    version: str
    rows: list[dict[str, object]]
    best: dict[str, list[dict[str, float]]]

    @classmethod
    def read(cls, file: Path) -> Measured:
        """What an earlier run of this version left in ``file``; nothing where there is none."""
        empty = cls(xner_label.__version__, [], {})
        earlier = msgspec.json.decode(file.read_bytes(), type=cls) if file.exists() else empty
        return earlier if earlier.version == empty.version else empty

    def has_loop(self, language: str, seed: int, states: int) -> bool:
        """Whether all states of a loop are there; what is there of a shorter one is dropped."""
        loop = [row for row in self.rows if (row["language"], row["seed"]) == (language, seed)]
        if len(loop) < states:
            self.rows = [row for row in self.rows if row not in loop]
        return len(loop) >= states

    def write(self, file: Path) -> None:
        """Write all of it."""
        file.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")


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
    content = Measured.read(options.json)
    with tempfile.TemporaryDirectory() as folder:
        for language in options.languages:
            seeds = [
                seed for seed in options.seeds if not content.has_loop(language, seed, len(options.steps) + 1)
            ]
            if not seeds and language in content.best:
                continue
            weights = fitted(language, options.weights or Path(folder))
            corpus = read_corpus(language)
            simulation = Simulation(split_of(corpus, "train"), split_of(corpus, "test"), weights)
            for seed in seeds:
                start = time.process_time()
                for row in rounds(simulation, options, seed, language):
                    row = {"language": language, "seed": seed, "strategy": options.strategy, **row}
                    row["pool"] = len(simulation.pool)
                    row["seconds"] = round(time.process_time() - start, 1)
                    content.rows.append(row)
                    print(msgspec.json.encode(row).decode(), flush=True)
                    content.write(options.json)
            if language not in content.best:
                content.best[language] = best(simulation)
                content.write(options.json)


if __name__ == "__main__":
    main()
