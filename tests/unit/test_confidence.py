"""Calibration, promises, estimates, verdicts and drift, against what they claim."""

from __future__ import annotations

import warnings

import msgspec
import numpy as np
import pytest

from tests.soak import rounds
from xner_label.confidence.anchoring import SliceCounts, anchoring
from xner_label.confidence.calibration import ISOTONIC, MIN_ENTITIES, calibrate
from xner_label.confidence.drift import TextSample, compare_texts
from xner_label.confidence.estimates import MIN_TASKS, TaskCounts, estimate
from xner_label.confidence.guarantee import MIN_AUDITED, outlook, promise, promises, smallest_audit, upper_limit
from xner_label.confidence.quality import bands, quality
from xner_label.confidence.signals import EntitySignals, design
from xner_label.confidence.stopping import Taught, compare_projections, judge
from xner_label.confidence.task_scores import POOLED as POOLED_TASKS
from xner_label.confidence.task_scores import TaskSignals, task_scores
from xner_label.evaluation import metrics


def entities(tasks, seed=0, reviewed=1.0, bend=1.0):
    """Entities, right as often as sigmoid(bend * log-odds of the confidence) says, and the truth."""
    generator = np.random.default_rng(seed)
    task = np.repeat(np.arange(tasks), 2)
    confidence = np.clip(generator.beta(4.0, 0.7, len(task)), 0.02, 0.995)
    odds = bend * np.log(confidence / (1.0 - confidence))
    truth = generator.random(len(task)) < 1.0 / (1.0 + np.exp(-odds))
    read = (generator.random(tasks) < reviewed)[task]
    signals = EntitySignals(
        task=task,
        confidence=confidence,
        tagger=np.full(len(task), np.nan),
        text=np.arange(len(task)),
        label=generator.integers(0, 2, len(task)),
        reviewed=read,
        right=truth & read,
    )
    return signals, truth


class TestCalibration:
    def test_abstains_below_fifty_entities(self):
        signals, _ = entities(MIN_ENTITIES // 2 - 1)
        calibrated = calibrate(signals, signals.reviewed)
        assert not calibrated.calibrator.fitted
        assert (calibrated.confidence == signals.confidence).all()
        assert (calibrated.calibrator(signals) == signals.confidence).all()

    def test_of_nothing_is_nothing(self):
        signals, _ = entities(0)
        assert calibrate(signals, signals.reviewed).confidence.shape == (0,)

    def test_straightens_confidences_that_exaggerate(self):
        signals, truth = entities(4_000, reviewed=0.1, bend=0.5)
        calibrated = calibrate(signals, signals.reviewed).confidence
        unread = ~signals.reviewed
        before = metrics.expected_calibration_error(signals.confidence[unread], truth[unread])
        after = metrics.expected_calibration_error(calibrated[unread], truth[unread])
        assert before > 0.08 > 0.03 > after

    def test_is_a_curve_above_a_thousand_labels(self):
        few, _ = entities(ISOTONIC // 2 - 10)
        many, _ = entities(ISOTONIC)
        assert calibrate(few, few.reviewed).calibrator.curve == []
        curve = np.array(calibrate(many, many.reviewed).calibrator.curve)
        assert len(curve) > 2
        assert (np.diff(curve, axis=0) >= 0).all()
        assert ((curve[:, 1] > 0) & (curve[:, 1] < 1)).all()

    def test_a_row_never_sees_its_own_outcome(self):
        signals, _ = entities(200)
        flipped = signals._replace(right=~signals.right)
        assert np.array_equal(
            design(signals), design(flipped)
        )  # every text stands once: no evidence from elsewhere

    def test_what_people_said_elsewhere_counts(self):
        signals, _ = entities(3)
        same = signals._replace(
            text=np.zeros(6, int), label=np.zeros(6, int), reviewed=np.arange(6) < 2, right=np.zeros(6, bool)
        )
        wrong, right = design(same)[-1], design(same._replace(right=np.arange(6) < 2))[-1]
        assert right[3] > wrong[3]

    def test_the_audit_decides_where_review_was_selective(self):
        """Reviewed because they are wrong: without the audit slice the calibration would believe it of all."""
        signals, truth = entities(4_000, reviewed=0.0)
        generator = np.random.default_rng(1)
        audited = generator.random(4_000) < 0.05
        picked = (generator.random(4_000) < 0.1) & (np.bincount(signals.task, ~truth) > 0)
        read = (audited | picked)[signals.task]
        signals = signals._replace(reviewed=read, right=truth & read)
        unread = ~read
        calibrated = calibrate(signals, audited[signals.task] & read).confidence[unread]
        blind = calibrate(signals, np.zeros(len(read), bool)).confidence[unread]
        true = truth[unread].mean()
        assert abs(calibrated.mean() - true) < abs(blind.mean() - true) / 2, (
            calibrated.mean(),
            blind.mean(),
            true,
        )


def task_table(tasks, seed=0, reviewed=1.0, missing=0.1):
    """Tasks, complete as often as a curve over P(nothing was left out), length and lost entities says."""
    generator = np.random.default_rng(seed)
    hidden = np.clip(generator.beta(6.0, 0.5, tasks), 0.02, 0.999)
    lost = generator.binomial(2, missing, tasks).astype(float)
    odds = 0.5 * np.log(hidden / (1.0 - hidden)) - lost - 0.3
    truth = generator.random(tasks) < 1.0 / (1.0 + np.exp(-odds))
    read = generator.random(tasks) < reviewed
    tokens = np.full(tasks, 20.0)
    return TaskSignals(np.full(tasks, 0.9), hidden, lost, tokens, read, read, truth & read), truth


class TestTaskScores:
    def test_straightens_what_the_projection_says_of_misses(self):
        signals, truth = task_table(6_000, reviewed=0.1)
        scores = task_scores(signals)
        unread = ~signals.reviewed
        before = metrics.expected_calibration_error(signals.hidden[unread], truth[unread])
        after = metrics.expected_calibration_error(scores.complete[unread], truth[unread])
        assert before > 0.1 > 0.03 > after
        assert np.allclose(scores.whole, 0.9 * scores.complete)

    def test_stays_with_other_languages_where_little_is_reviewed(self):
        signals, _ = task_table(20)
        calibrator = task_scores(signals).calibrator
        assert not calibrator.fitted
        assert tuple(calibrator.coefficients.values()) == POOLED_TASKS

    def test_of_nothing_is_nothing(self):
        signals, _ = task_table(0)
        assert task_scores(signals).whole.shape == (0,)

    def test_what_is_said_of_a_task_never_knows_its_answer(self):
        signals, _ = task_table(200)
        other = signals._replace(complete=np.where(np.arange(200) == 7, ~signals.complete, signals.complete))
        assert task_scores(signals).complete[7] == task_scores(other).complete[7]

    def test_the_audit_decides_where_review_was_selective(self):
        signals, truth = task_table(6_000, reviewed=0.0)
        generator = np.random.default_rng(1)
        audited = generator.random(6_000) < 0.03
        picked = (generator.random(6_000) < 0.2) & ~truth
        read = audited | picked
        signals = signals._replace(reviewed=read, audited=audited, complete=truth & read)
        calibrated = task_scores(signals).complete[~read].mean()
        blind = task_scores(signals._replace(audited=np.zeros(6_000, bool))).complete[~read].mean()
        true = truth[~read].mean()
        assert abs(calibrated - true) < abs(blind - true) / 2, (calibrated, blind, true)


class TestQuality:
    def test_has_intervals_that_hold_the_value(self):
        signals, truth = entities(200)
        measured = quality(signals.confidence, truth, signals.task, signals.confidence > 0.5)
        for figure in (measured.auroc, measured.auroc_shown, measured.brier):
            assert figure.low <= figure.value <= figure.high
        assert measured.n == 400

    def test_of_nothing(self):
        nothing = np.zeros(0)
        measured = quality(nothing, nothing.astype(bool), nothing.astype(int), nothing.astype(bool))
        assert measured.n == 0
        assert measured.auroc.value is None
        assert bands(nothing, nothing.astype(bool)) == []

    def test_bands_count_everything_once(self):
        signals, truth = entities(300)
        assert sum(band.n for band in bands(signals.confidence, truth)) == 600


class TestPromise:
    def test_is_refused_below_fifty(self):
        given = promise(np.full(49, 0.99), np.ones(49, bool), np.full(100, 0.99), max_error=0.1)
        assert given.cut is None
        assert given.more == 1
        assert "50 are needed" in given.reason

    def test_needs_fifty_nine_without_an_error_for_five_percent(self):
        assert smallest_audit(0.05, 0.95) == 59
        sure = np.full(20_000, 0.99)
        assert promise(sure[:58], np.ones(58, bool), sure, max_error=0.05).cut is None
        assert promise(sure[:59], np.ones(59, bool), sure, max_error=0.05).cut == 0.99

    @pytest.mark.parametrize("wrong", [24, 28, 32, 36])
    def test_an_audit_that_found_little_leaves_more_to_the_rest(self, wrong):
        """Of 300 predictions 150 are audited: what is promised is about the other half."""
        generator = np.random.default_rng(wrong)
        broken, draws = 0, rounds(400)
        for _ in range(draws):
            right = generator.permutation(np.arange(300) >= wrong)
            sure = np.full(150, 0.9)
            given = promise(sure, right[:150], sure, max_error=0.1)
            broken += given.cut is not None and (~right[150:]).mean() > 0.1
        assert broken / draws < 0.05 + 2.5 * (0.05 * 0.95 / draws) ** 0.5

    def test_of_nothing_to_accept(self):
        assert promise(np.full(90, 0.9), np.ones(90, bool), np.zeros(0), max_error=0.1).cut is None

    @pytest.mark.parametrize("max_error", [0.05, 0.1])
    def test_holds_in_95_of_100_audits(self, max_error):
        """The share of draws in which more than that is wrong of what was accepted, with its own chance error."""
        generator = np.random.default_rng(7)
        draws = rounds(500)
        broken = 0
        for _ in range(draws):
            confidence = generator.beta(6.0, 0.6, 4_000)
            truth = generator.random(4_000) < confidence**1.3  # over-confident
            audited = generator.permutation(4_000) < 250
            given = promise(confidence[audited], truth[audited], confidence[~audited], max_error=max_error)
            if given.cut is not None:
                accepted = ~audited & (confidence >= given.cut)
                broken += (~truth[accepted]).mean() > max_error
        assert broken / draws <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / draws)

    def test_accepts_no_less_than_mapie(self):
        """MAPIE's learn-then-test on the same sequence, with an inequality where ours is exact."""
        risk_control = pytest.importorskip("mapie.risk_control")
        generator = np.random.default_rng(3)
        confidence = generator.beta(6.0, 0.5, 800)
        truth = generator.random(800) < confidence
        audited, rest = confidence[:500], confidence[500:]
        given = promise(audited, truth[:500], rest, max_error=0.1)
        strict = [cut for cut in np.linspace(0.3, 0.99, 70) if _valid(risk_control, audited, truth[:500], cut)]
        assert strict
        assert given.share >= (rest >= min(strict)).mean() - 0.02  # cuts are tried in steps of 2 %
        assert (~truth[500:][rest >= given.cut]).mean() <= 0.1

    def test_each_label_has_its_own(self):
        signals, truth = entities(500)
        truth = np.where(signals.label == 0, True, truth & (np.arange(1_000) % 3 > 0))
        known = signals.task < 250
        given = promises(
            signals.label[known],
            signals.confidence[known],
            truth[known],
            signals.label[~known],
            signals.confidence[~known],
            ["PER", "LOC"],
            max_error=0.05,
        )
        assert [row.label for row in given] == ["PER", "LOC"]
        assert given[0].share > 0.9
        assert given[1].cut is None

    def test_more_audited_sentences_buy_more(self):
        confidence = np.random.default_rng(0).beta(6.0, 0.5, 1_000)
        shares = [outlook(confidence[:80], confidence[80:], factor, max_error=0.1) for factor in (1, 2, 8)]
        assert shares == sorted(shares)
        assert shares[-1] > 0.5
        assert outlook(confidence[: MIN_AUDITED - 1], confidence, 1.0, max_error=0.1) == 0.0

    def test_upper_limits_are_exact(self):
        assert upper_limit(0, 59, 0.95) == pytest.approx(1 - 0.05 ** (1 / 59))
        assert upper_limit(5, 5, 0.95) == 1.0


def _valid(risk_control, confidence, truth, cut):
    """Whether MAPIE, asked about one cut alone, calls it valid."""
    controller = risk_control.BinaryClassificationController(
        predict_function=lambda scores: np.column_stack([1.0 - scores[:, 0], scores[:, 0]]),
        risk="precision",
        target_level=0.9,
        confidence_level=0.95,
        list_predict_params=np.array([cut]),
    )
    with warnings.catch_warnings(action="ignore"):  # it says when all cuts are valid, and when none is
        controller.calibrate(confidence[:, None], truth)
    return len(np.atleast_1d(controller.valid_predict_params)) > 0


def corpus(generator, tasks=1_500):
    """A corpus with everything settled: shown, expected, right and gold entities of each task."""
    shown = generator.poisson(1.5, tasks).astype(float)
    trust = generator.beta(5.0, 0.8, tasks)
    right = generator.binomial(shown.astype(int), trust).astype(float)
    gold = right + generator.poisson(0.15 + 0.3 * (shown - right))
    return shown, shown * trust**1.2, right, gold


def counted(columns, audited):
    shown, expected, right, gold = columns
    return TaskCounts(shown, expected, audited, audited, right * audited, gold * audited)


class TestEstimates:
    def test_there_are_none_of_a_few_tasks(self):
        columns = corpus(np.random.default_rng(0), 200)
        assert estimate(counted(columns, np.arange(200) < MIN_TASKS - 1)) is None
        assert estimate(counted(columns, np.arange(200) < MIN_TASKS)) is not None

    @pytest.mark.parametrize("size", [60, 200])
    def test_intervals_hold_the_truth_as_often_as_they_say(self, size):
        generator = np.random.default_rng(11)
        columns = corpus(generator)
        shown, _, right, gold = columns
        held = np.zeros(5)
        draws = rounds(500)
        for _ in range(draws):
            audited = generator.permutation(len(shown)) < size
            estimated = estimate(counted(columns, audited))
            rest = ~audited
            hits, total, there = right[rest].sum(), shown[rest].sum(), gold[rest].sum()
            truths = (hits / total, hits / there, 2 * hits / (total + there), total - hits, there - hits)
            names = ("rest_precision", "rest_recall", "rest_f1", "wrong", "missed")
            intervals = [getattr(estimated, name) for name in names]
            held += [row.low <= truth <= row.high for row, truth in zip(intervals, truths, strict=True)]
        assert ((held / draws > 0.925) & (held / draws < 0.98)).all(), held / draws

    def test_a_corpus_read_whole_is_known(self):
        columns = corpus(np.random.default_rng(0), 100)
        estimated = estimate(counted(columns, np.ones(100, bool)))
        assert estimated.f1.value == pytest.approx(1.0)
        assert estimated.unreviewed == 0

    def test_reading_more_raises_the_whole(self):
        columns = corpus(np.random.default_rng(0))
        audited = np.arange(1_500) < 100
        chosen = (np.arange(1_500) >= 100) & (np.arange(1_500) < 600)
        now, after = (estimate(counted(columns, audited), chosen=which) for which in (None, chosen))
        assert after.f1.value > now.f1.value
        assert after.unreviewed == now.unreviewed - 500


class TestStopping:
    def test_nobody_knows_without_an_audit(self):
        assert not judge(None, None, Taught(answers=50, seconds=900.0, changed=0.0, gain=0.0)).stop

    def test_goes_on_while_an_hour_pays(self):
        columns = corpus(np.random.default_rng(0))
        audited = np.arange(1_500) < 300
        now = estimate(counted(columns, audited))
        after = estimate(counted(columns, audited), chosen=np.arange(1_500) < 900)
        quiet = Taught(answers=100, seconds=1_200.0, changed=0.01, gain=0.001)
        loud = Taught(answers=100, seconds=1_200.0, changed=0.2, gain=0.02)
        # for a model it is what answers teach, for the corpus what they mend
        assert judge(now, after, quiet).stop
        assert not judge(now, now, loud).stop
        assert not judge(now, after, quiet, purpose="corpus").stop
        assert judge(now, now, quiet, purpose="corpus").stop
        assert not judge(now, now, loud, purpose="corpus").stop
        # before there are two projections nobody knows what answers teach
        assert not judge(now, after, None).stop
        assert judge(now, now, None).stop

    def test_answers_teach_less_and_less(self):
        last = Taught(answers=100, seconds=1_200.0, changed=0.1, gain=0.02)
        assert last.next(1_200.0) == pytest.approx(0.012)
        assert last.next(2_400.0) == pytest.approx(0.012 + 0.0072)
        assert last.next(1e9) == pytest.approx(0.03)
        assert msgspec.structs.replace(last, gain=-0.01).next() == 0.0
        assert msgspec.structs.replace(last, answers=0).next() == 0.0

    def test_what_came_is_weighed_against_what_went(self):
        before = {(0, 2, "PER"), (5, 6, "LOC"), (8, 9, "ORG")}
        now = {(0, 2, "PER"): 0.9, (5, 7, "LOC"): 0.9, (11, 12, "PER"): 0.6}
        change = compare_projections([(before, now), (set(), {})], 60, 600.0)
        assert change is not None
        assert change.changed == pytest.approx(2 / 3)
        # 0.9 and 0.6 came; (1 - 0.9) / 2 and a quarter went
        assert change.gain == pytest.approx((1.5 - 0.05 - 0.25) / 3)
        assert compare_projections([({(0, 1, "PER")}, {})], 60, 600.0) is None
        assert compare_projections([], 0, 0.0) is None


class TestAnchoring:
    def test_tells_how_many_wrong_ones_are_accepted(self):
        generator = np.random.default_rng(2)
        suggested = np.full(400, 3.0)
        blind = SliceCounts(suggested, generator.binomial(3, 0.8, 400), suggested * 5, np.full(400, 20.0))
        shown = SliceCounts(suggested, generator.binomial(3, 0.9, 400), suggested * 5, np.full(400, 12.0))
        sway = anchoring(shown, blind)
        assert sway.swayed.low < 0.5 < sway.swayed.high
        assert sway.seconds_per_token < sway.seconds_per_token_blind

    def test_needs_both_slices(self):
        few = SliceCounts(*np.ones((4, 10)))
        assert anchoring(few, few) is None


def text_sample(generator, count=300, confidence=6.0, rates=(0.8, 0.5, 0.3), unknown=0.1):
    """Tasks whose entities share their doubts, as those of a real corpus do."""
    mood = generator.gamma(2.0, 0.5, count)
    labels = np.column_stack([generator.poisson(rate * mood) for rate in rates]).astype(float)
    return TextSample(
        generator.beta(confidence, 1.0, count),
        labels,
        generator.binomial(20, unknown * mood.clip(0.2, 3.0)) / 20.0,
    )


class TestDrift:
    def test_text_without_a_shift_is_flagged_in_one_of_twenty_looks(self):
        from scipy.stats import binomtest

        generator = np.random.default_rng(3)
        draws = rounds(60)
        flagged = 0
        for _ in range(draws):
            answers = generator.normal(0.0, 0.3, 120)
            verdict = compare_texts(text_sample(generator), text_sample(generator), answers[:80], answers[80:])
            flagged += verdict.action != "nothing"
        assert binomtest(flagged, draws, 0.05, alternative="greater").pvalue > 0.001, (flagged, draws)

    @pytest.mark.parametrize(
        ("shift", "answers", "action"),
        [
            ({"confidence": 3.0}, 0.0, "recalibrate"),
            ({"rates": (0.4, 0.9, 0.3)}, 0.0, "recalibrate"),
            ({"unknown": 0.2}, 0.0, "recalibrate"),
            ({}, -0.35, "recalibrate"),
            ({"confidence": 3.0, "unknown": 0.2}, 0.0, "retrain"),
            ({"confidence": 3.0, "rates": (0.4, 0.9, 0.3)}, -0.35, "retrain"),
        ],
    )
    def test_shifts_are_caught(self, shift, answers, action):
        generator = np.random.default_rng(4)
        caught = []
        for _ in range(rounds(5)):
            said = generator.normal(0.0, 0.3, 120)
            said[80:] += answers
            verdict = compare_texts(text_sample(generator), text_sample(generator, **shift), said[:80], said[80:])
            caught.append(verdict.action == action)
        assert np.mean(caught) >= 0.8

    def test_what_is_too_small_to_matter_is_not_flagged(self):
        generator = np.random.default_rng(5)
        old, new = (text_sample(generator, 12_000, confidence=size) for size in (6.0, 6.4))
        verdict = compare_texts(old, new)
        row = next(row for row in verdict.comparisons if row.what == "confidence")
        assert row.p < 0.05
        assert not row.moved

    def test_with_too_little_nothing_is_said(self):
        generator = np.random.default_rng(6)
        old, few = text_sample(generator), text_sample(generator, 10)
        assert compare_texts(old, few).action is None
        assert compare_texts(old, few, np.zeros(40), np.zeros(20)).action == "nothing"
        none = TextSample(np.zeros(0), np.zeros((0, 3)), np.zeros(0))
        assert compare_texts(none, none).comparisons == []
        blank = TextSample(np.ones(60), np.zeros((60, 0)), np.zeros(60))
        assert compare_texts(blank, blank).action == "nothing"
