"""Whether new text is still like the text that people reviewed: one verdict, by two-sample tests of scipy.

Four things are compared, task by task, since the entities of a task belong together: the confidence of tasks
(Kolmogorov-Smirnov), how many entities of each label they have (a permutation test of the chi-squared statistic),
the share of their words that a part of the old text never had (Mann-Whitney), and how far people's answers differ
from the calibrated confidences, the newest answers against those before (Welch's t-test). The p-values are
corrected after Holm (1979), so that data without a shift is flagged at most 5 % of the time; a difference too
small to matter isn't flagged however many tasks show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from xner_label.projection.loglinear.columns import Floats
from xner_label.wording import counted

LEVEL = 0.05
# Tasks of each side below which nothing is compared, and of which no more are drawn; answers likewise.
MIN_TASKS, MOST_TASKS, MIN_ANSWERS = 50, 2_000, 20
# Differences that matter: of distribution functions, of shares of labels, of shares of unknown words, of the share
# of entities that are right.
LEAST = {"confidence": 0.08, "label mix": 0.05, "vocabulary": 0.02, "acceptance": 0.05}
_PERMUTATIONS, _SEED = 999, 13


class TextSample(NamedTuple):
    """Tasks of old or new text, drawn at random: ``confidence`` (S,), P(all is right) by the pipeline;
    ``labels`` (S, L), predicted entities of each label; ``unknown`` (S,), the share of words that another part
    of the old text never had."""

    confidence: Floats
    labels: Floats
    unknown: Floats


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """One thing compared. ``old`` and ``new``: its mean on either side, of the label mix None; ``difference``:
    the test's effect (distance of the distribution functions, half the sum of absolute differences of shares, or
    difference of means); ``statistic`` and ``p`` of the ``test``, p corrected for all that was compared;
    ``moved``: whether that is more than chance and enough to matter."""

    what: str
    test: str
    old: float | None
    new: float | None
    difference: float
    statistic: float
    p: float
    moved: bool


class DriftVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """``action``: "retrain", "recalibrate" or "nothing"; None where there is too little to compare, for the
    ``reason`` given. ``old`` and ``new`` tasks were compared, and ``answers``, old and new ones."""

    action: str | None
    reason: str
    old: int
    new: int
    answers: tuple[int, int]
    comparisons: list[Comparison]

    @property
    def line(self) -> str:
        """The verdict in one line."""
        return self.reason if self.action is None else f"{self.action}: {self.reason}"


class _Test(NamedTuple):
    what: str
    test: str
    old: float | None
    new: float | None
    difference: float
    statistic: float
    p: float


def compare_texts(
    old: TextSample, new: TextSample, earlier: Floats | None = None, later: Floats | None = None
) -> DriftVerdict:
    """The verdict on new text. ``earlier`` and ``later`` (n,): of answered tasks, in the order of the answers, the
    share of shown entities that was right less what their confidences let expect.

    Deterministic.
    """
    earlier, later = (np.zeros(0) if values is None else values for values in (earlier, later))
    answers = (len(earlier), len(later))
    tests = []
    if min(len(old.confidence), len(new.confidence)) >= MIN_TASKS:
        tests += [_confidence(old, new), _labels(old, new), _vocabulary(old, new)]
    if min(answers) >= MIN_ANSWERS:
        tests.append(_acceptance(earlier, later))
    if not tests:
        reason = (
            f"too little to compare: {counted(len(new.confidence), 'new task')} and "
            f"{counted(len(later), 'new answer')}"
        )
        return DriftVerdict(
            action=None,
            reason=f"{reason}, {MIN_TASKS} and {MIN_ANSWERS} are needed",
            old=len(old.confidence),
            new=len(new.confidence),
            answers=answers,
            comparisons=[],
        )
    comparisons = _corrected(tests)
    action, reason = _verdict({row.what: row for row in comparisons if row.moved})
    return DriftVerdict(
        action=action,
        reason=reason,
        old=len(old.confidence),
        new=len(new.confidence),
        answers=answers,
        comparisons=comparisons,
    )


def _confidence(old: TextSample, new: TextSample) -> _Test:
    from scipy.stats import ks_2samp

    result = ks_2samp(old.confidence, new.confidence, method="asymp")
    means = (float(old.confidence.mean()), float(new.confidence.mean()))
    test = "Kolmogorov-Smirnov"
    return _Test(
        "confidence", test, *means, float(result.statistic), float(result.statistic), float(result.pvalue)
    )


def _labels(old: TextSample, new: TextSample) -> _Test:
    from scipy.stats import permutation_test

    counts = np.concatenate([old.labels, new.labels])
    counts = counts[:, counts.sum(axis=0) > 0]
    # tasks without entities are part of the mix
    counts = np.column_stack([counts, counts.sum(axis=1) == 0])
    total = counts.sum(axis=0)

    def chi_squared(first: Floats, second: Floats) -> float:
        of_first = counts[first.astype(np.int64)].sum(axis=0)
        sides = np.array([of_first, total - of_first])
        expected = sides.sum(axis=1, keepdims=True) * total / total.sum()
        return float(((sides - expected) ** 2 / np.maximum(expected, 1e-9)).sum())

    places = np.arange(len(counts), dtype=np.float64)
    size = len(old.labels)
    result = permutation_test(
        (places[:size], places[size:]),
        chi_squared,
        n_resamples=_PERMUTATIONS,
        alternative="greater",
        rng=np.random.default_rng(_SEED),
    )
    shares = [side.sum(axis=0) / max(float(side.sum()), 1.0) for side in (counts[:size], counts[size:])]
    distance = float(np.abs(shares[0] - shares[1]).sum()) / 2.0
    return _Test(
        "label mix",
        "chi-squared, by permutation",
        None,
        None,
        distance,
        float(result.statistic),
        float(result.pvalue),
    )


def _vocabulary(old: TextSample, new: TextSample) -> _Test:
    from scipy.stats import mannwhitneyu

    result = mannwhitneyu(old.unknown, new.unknown)
    means = (float(old.unknown.mean()), float(new.unknown.mean()))
    return _Test(
        "vocabulary", "Mann-Whitney", *means, means[1] - means[0], float(result.statistic), float(result.pvalue)
    )


def _acceptance(earlier: Floats, later: Floats) -> _Test:
    from scipy.stats import ttest_ind

    means = (float(earlier.mean()), float(later.mean()))
    if np.ptp(np.concatenate([earlier, later])) == 0:
        return _Test("acceptance", "Welch's t", *means, 0.0, 0.0, 1.0)
    result = ttest_ind(earlier, later, equal_var=False)
    return _Test(
        "acceptance", "Welch's t", *means, means[1] - means[0], float(result.statistic), float(result.pvalue)
    )


def _corrected(tests: Sequence[_Test]) -> list[Comparison]:
    """Holm's correction: the smallest p times the number of tests, the next times one less, never falling."""
    order = np.argsort([test.p for test in tests], kind="stable")
    corrected = np.zeros(len(tests))
    least = 0.0
    for rank, place in enumerate(order.tolist()):
        least = max(least, min(tests[place].p * (len(tests) - rank), 1.0))
        corrected[place] = least
    return [
        Comparison(
            what=test.what,
            test=test.test,
            old=test.old,
            new=test.new,
            difference=test.difference,
            statistic=test.statistic,
            p=float(p),
            moved=bool(p <= LEVEL and abs(test.difference) >= LEAST[test.what]),
        )
        for test, p in zip(tests, corrected, strict=True)
    ]


def _verdict(moved: dict[str, Comparison]) -> tuple[str, str]:
    """Retrain where the text is another one and predictions suffer; recalibrate where confidences may no longer
    mean what they meant."""
    if not moved:
        return "nothing", "new text is like the text that was reviewed"
    said = ", ".join(f"{row.what} (p = {row.p:.2g})" for row in moved.values())
    confidence, acceptance = moved.get("confidence"), moved.get("acceptance")
    less_sure = confidence is not None and (confidence.new or 0.0) < (confidence.old or 0.0)
    worse = acceptance is not None and acceptance.difference < 0
    other_text = "vocabulary" in moved or "label mix" in moved
    if (other_text and (less_sure or worse)) or (less_sure and worse):
        return "retrain", f"new text differs in {said}, and predictions are worse on it"
    return "recalibrate", f"new text differs in {said}"
