"""Adapting corpus mode's last round to what people settled in a corpus.

    s'(m,t) = (v + dv) . e(m,t) + sum over span keys x of (m,t) of beta_x
    P(label | m) ~ exp((q + dq) . l(m,label) + sum over label keys z of m of gamma_{z,label})

v and q are the shipped weights; all of dv, dq, beta and gamma have Gaussian priors around 0. They are fitted by
L-BFGS on the reviewed sentences, whose evidence comes from other sentences alone: an effect is what the model
gets wrong about a word given everything else. The right candidate of a mention is the one it was settled on.
The calibration is fitted anew on cross-fitted outcomes (:mod:`recalibration`). What was fitted is used as far as
it makes the answers in reviewed sentences left out likelier, spans and labels apart, from few answers only where
that is more than chance (:mod:`chance`), and not at all where it does worse there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from zlib import crc32

import msgspec
import numpy as np
from scipy.sparse import csr_array

from xner_label.projection.corpus.consistency import (
    SpokenSums,
    consistent_with,
    counted_spans,
    elsewhere_in_corpus,
    has_second_stage,
    judge,
)
from xner_label.projection.corpus.effects import (
    Effects,
    Keys,
    Shift,
    best_candidates,
    label_keys,
    shift_of,
    span_keys,
)
from xner_label.projection.corpus.evidence import EVIDENCE, LABEL_EVIDENCE, Observations
from xner_label.projection.corpus.gazetteer import Gazetteer, with_gazetteer
from xner_label.projection.corpus.rounds import (
    ChosenSpans,
    RoundEvidence,
    RoundModel,
    label_scores,
    project_round,
    text_of,
)
from xner_label.projection.corpus.settled import Gold, Settled
from xner_label.projection.fitting.chance import ENOUGH, FOLDS, STRENGTHS, best_strength, is_worse
from xner_label.projection.fitting.consistency import consistent
from xner_label.projection.fitting.optimisation import minimise, scale, span_likelihood, span_losses
from xner_label.projection.fitting.recalibration import best_expected_cut, recalibrated
from xner_label.projection.loglinear.columns import GIVEN, OVERLOOKED, TAGGED, Bools, Floats, Ints
from xner_label.projection.loglinear.weights_file import Round

# Precisions of the Gaussian priors: of dv for standardised evidence, what overlooked mentions differ by, and dq.
SHARED, DIFFERENCE, LABEL = 50.0, 50.0, 2.0
# ... and of the effects, by kind of key.
SPAN_EFFECTS: Mapping[str, float] = {
    **{"text": 2.0, "name": 2.0, "both": 2.0},
    **{"first": 8.0, "last": 8.0, "before": 16.0, "after": 16.0},
}
LABEL_EFFECTS: Mapping[str, float] = {
    **{"name": 2.0, "text": 2.0, "word": 12.0, "bias": 40.0, "sentence": 40.0},
    **{"source before": 30.0, "source after": 30.0, "target before": 30.0, "target after": 30.0},
}
# Below so many mentions in the reviewed sentences nothing is adapted.
MIN_MENTIONS = 20
# Effects smaller than this say nothing.
_NEGLIGIBLE = 1e-4


class Adapted(msgspec.Struct, frozen=True):
    """A round that knows its corpus; ``spoken`` is what its spans say in the second stage, None without one."""

    round: Round
    effects: Effects
    spoken: SpokenSums | None = None
    gazetteer: Gazetteer | None = None


class _Fit(NamedTuple):
    """candidate: (E, 3), label: (L,), as in RoundModel, and the effects."""

    candidate: Floats
    label: Floats
    effects: Effects


class _Problem:
    """The reviewed sentences of a corpus, ready to be fitted on."""

    def __init__(
        self, observations: Observations, evidence: RoundEvidence, settled: Settled, shipped: Round
    ) -> None:
        self.observations, self.settled = observations, settled
        self.evidence = evidence
        self.model = RoundModel(shipped)
        self.deviation = scale(evidence.candidate)
        known = settled.known(observations)
        learned = known[observations.candidates.mention]
        self._span = _design(span_keys(observations), SPAN_EFFECTS, len(learned), learned)
        landed = np.where(settled.candidate >= 0, settled.candidate, best_candidates(observations))
        learned = known & observations.open & (settled.candidate >= 0)
        self._label = _design(label_keys(observations, landed), LABEL_EFFECTS, len(observations), learned)

    def fit(self, only: Bools) -> _Fit:
        """Fit on some mentions (M,)."""
        candidate, span = self._fit_spans(only)
        label, effects = self._fit_labels(only)
        return _Fit(candidate, label, Effects(self.observations.labels, span, effects))

    def _fit_spans(self, only: Bools) -> tuple[Floats, dict[str, dict[str, float]]]:
        observations, model = self.observations, self.model
        rows = np.flatnonzero(only[observations.candidates.mention])
        mentions = np.flatnonzero(only)
        number = np.full(len(observations), -1)
        number[mentions] = np.arange(len(mentions))
        mention = observations.candidates.mention[rows]
        kind = observations.kind[mention]
        signals = self.evidence.candidate[rows]
        base = (signals * model.candidate[:, kind].T).sum(axis=1)
        signals = signals / self.deviation
        overlooked = (kind == OVERLOOKED) * 1.0
        likelihood = span_likelihood(number[mention], self.settled.right[rows], len(mentions))
        design = self._span.rows(rows)
        absent, size = np.zeros(len(mentions)), signals.shape[1]

        def objective(theta: Floats) -> tuple[float, Floats]:
            shared, more, effects = theta[:size], theta[size : 2 * size], theta[2 * size :]
            score = base + signals @ shared + overlooked * (signals @ more) + design.matrix @ effects
            value, slope, _ = likelihood(score, absent)
            return value, np.concatenate(
                [slope @ signals, (slope * overlooked) @ signals, design.transposed @ slope]
            )

        precision = np.concatenate([np.full(size, SHARED), np.full(size, DIFFERENCE), design.precision])
        theta = minimise(objective, np.zeros(len(precision)), precision)
        shared, more = theta[:size] / self.deviation, theta[size : 2 * size] / self.deviation
        candidate = model.candidate + shared[:, None]
        candidate[:, OVERLOOKED] += more
        effects: dict[str, dict[str, float]] = {}
        for kind_of_key, key, value in zip(design.kinds, design.keys, theta[2 * size :].tolist(), strict=True):
            if abs(value) >= _NEGLIGIBLE:
                effects.setdefault(kind_of_key, {})[key] = round(value, 5)
        return candidate, effects

    def _fit_labels(self, only: Bools) -> tuple[Floats, dict[str, dict[str, list[float]]]]:
        observations, settled, model = self.observations, self.settled, self.model
        rows = np.flatnonzero(only & observations.open & (settled.candidate >= 0))
        gold = settled.label[rows]
        signals = self.evidence.label[rows]
        base = signals @ model.label[:, 0]
        design = self._label.rows(rows)
        size, count = signals.shape[2], len(observations.labels)
        at = np.arange(len(rows))

        def objective(theta: Floats) -> tuple[float, Floats]:
            scores = base + signals @ theta[:size] + design.matrix @ theta[size:].reshape(-1, count)
            scores = scores - scores.max(axis=1, keepdims=True, initial=-np.inf)
            scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
            value = -float(scores[at, gold].sum())
            slope = np.exp(scores)
            slope[at, gold] -= 1.0
            return value, np.concatenate(
                [np.einsum("mk,mkl->l", slope, signals), (design.transposed @ slope).ravel()]
            )

        precision = np.concatenate([np.full(size, LABEL), np.repeat(design.precision, count)])
        theta = minimise(objective, np.zeros(len(precision)), precision)
        effects: dict[str, dict[str, list[float]]] = {}
        table = theta[size:].reshape(-1, count)
        for kind, key, values in zip(design.kinds, design.keys, table, strict=True):
            if np.abs(values).max() >= _NEGLIGIBLE:
                effects.setdefault(kind, {})[key] = [round(value, 5) for value in values.tolist()]
        return model.label[:, 0] + theta[:size], effects

    def losses(self, fitted: _Fit, shift: Shift, only: Bools) -> tuple[Floats, Floats]:
        """The negative log-likelihoods, summed by sentence, of some mentions' (M,) candidates and of their labels
        with each of STRENGTHS of what was fitted, both (strengths, S); ``shift`` are its effects in the corpus."""
        observations, settled, model = self.observations, self.settled, self.model
        count = len(observations.instances)
        rows, mentions = np.flatnonzero(only[observations.candidates.mention]), np.flatnonzero(only)
        number = np.full(len(observations), -1)
        number[mentions] = np.arange(len(mentions))
        mention = observations.candidates.mention[rows]
        kind, signals = observations.kind[mention], self.evidence.candidate[rows]
        base = (signals * model.candidate[:, kind].T).sum(axis=1)
        change = (signals * fitted.candidate[:, kind].T).sum(axis=1) + shift.candidate[rows] - base
        sentence, of_spans = observations.sentence[mentions], []
        for strength in STRENGTHS:
            lost = span_losses(number[mention], settled.right[rows], len(mentions), base + strength * change)
            of_spans.append(np.bincount(sentence, lost, count))
        rows = np.flatnonzero(only & observations.open & (settled.candidate >= 0))
        base = self.evidence.label[rows] @ model.label[:, 0]
        change = self.evidence.label[rows] @ fitted.label + shift.label[rows] - base
        at, of_labels = np.arange(len(rows)), []
        for strength in STRENGTHS:
            scores = base + strength * change
            peak = scores.max(axis=1, keepdims=True, initial=-np.inf)
            total = np.log(np.exp(scores - peak).sum(axis=1)) + peak[:, 0]
            lost = total - scores[at, settled.label[rows]]
            of_labels.append(np.bincount(observations.sentence[rows], lost, count))
        return np.array(of_spans), np.array(of_labels)

    def weakened(self, fitted: _Fit, span: float, label: float) -> _Fit:
        """What was fitted for spans and for labels, in part: 0 is the shipped weights, 1 all of it."""
        model, effects = self.model, fitted.effects
        return _Fit(
            model.candidate + span * (fitted.candidate - model.candidate),
            model.label[:, 0] + label * (fitted.label - model.label[:, 0]),
            Effects(
                effects.labels,
                {
                    kind: {key: round(span * value, 5) for key, value in values.items()}
                    for kind, values in effects.span.items()
                    if span
                },
                {
                    kind: {key: [round(label * value, 5) for value in row] for key, row in rows.items()}
                    for kind, rows in effects.label.items()
                    if label
                },
            ),
        )


def review_folds(observations: Observations) -> Ints:
    """(S,) the third that each sentence is left out with, apart from the folds of the target tagger."""
    return np.array(
        [crc32(" ".join(instance.target.words()).encode()) // 7 % FOLDS for instance in observations.instances],
        np.int64,
    )


def adapt(
    observations: Observations, evidence: RoundEvidence, settled: Settled, gold: Gold, shipped: Round
) -> tuple[Adapted, ChosenSpans]:
    """The last round adapted to what people settled, and the spans of the corpus by it.

    ``evidence`` is what :func:`corpus.rounds.gather` makes of the same ``settled``. The spans of reviewed
    sentences are those of weights that were fitted on the other reviewed ones. In a mostly caseless corpus the
    weights of caseless sentences are adapted, for all of it, otherwise those of the others. Deterministic.
    """
    reviewed = settled.reviewed
    if reviewed[observations.sentence].sum() < MIN_MENTIONS:
        return _unadapted(observations, evidence, settled, gold, shipped)
    if shipped.caseless is not None and 2 * observations.caseless.sum() > len(observations.caseless):
        shipped = msgspec.structs.replace(shipped.caseless, caseless=None)
    problem = _Problem(observations, evidence, settled, shipped)
    fold = review_folds(observations)
    fits = [
        problem.fit(settled.answered | (reviewed & (fold != which))[observations.sentence])
        for which in range(FOLDS)
    ]

    shifts = [shift_of(observations, fitted.effects) for fitted in fits]
    judged = [
        problem.losses(fitted, shift, (reviewed & (fold == which))[observations.sentence])
        for which, (fitted, shift) in enumerate(zip(fits, shifts, strict=True))
    ]
    few = sum(map(len, gold.values())) < ENOUGH
    span, label = (best_strength(sum(losses)[:, reviewed], few=few) for losses in zip(*judged, strict=True))
    fits = [problem.weakened(fitted, span, label) for fitted in fits]
    shifts = [Shift(span * shift.candidate, label * shift.label, span * shift.text) for shift in shifts]

    def project_left_out(base: Round) -> ChosenSpans:
        """The spans of the reviewed sentences by weights that were fitted on the others."""
        return joined(
            [
                project_round(
                    observations,
                    evidence,
                    _model(base, fitted),
                    shift,
                    only=reviewed & (fold == which),
                )
                for which, (fitted, shift) in enumerate(zip(fits, shifts, strict=True))
            ]
        )

    left_out = project_left_out(shipped)
    calibrated = recalibrated(observations, left_out, judge(observations, left_out, gold), shipped, fold, few=few)
    before = project_round(observations, evidence, RoundModel(shipped), only=reviewed)
    counts = np.hstack([_counts(observations, spans, gold, shipped.cut) for spans in (left_out, before)])
    stays = is_worse(counts)
    if stays:
        # the words teach nothing that lasts; how sure to be is learned all the same
        fitted = _Fit(problem.model.candidate, problem.model.label[:, 0], _no_effects(observations))
        calibrated = recalibrated(observations, before, judge(observations, before, gold), shipped, fold, few=few)
    else:
        fitted = problem.weakened(problem.fit(settled.known(observations)), span, label)
    round_ = _round(calibrated, fitted)
    shift = shift_of(observations, fitted.effects)
    chosen = project_round(observations, evidence, RoundModel(round_), shift)
    scores = label_scores(observations, evidence, RoundModel(round_), shift)
    if not stays:
        # what is said of a reviewed sentence must not know its answer: confidence is judged there
        chosen = joined([chosen.select(~reviewed[chosen.sentence]), project_left_out(calibrated)])
        chosen = chosen.select(np.lexsort((chosen.first, chosen.sentence)))
        for which, (left_out_fit, left_out_shift) in enumerate(zip(fits, shifts, strict=True)):
            mentions = (reviewed & (fold == which))[observations.sentence]
            model = _model(calibrated, left_out_fit)
            scores[mentions] = label_scores(observations, evidence, model, left_out_shift)[mentions]
    round_, spoken, chosen = consistent(
        observations, chosen, scores, evidence.tagged, settled, gold, round_, fold, few=few
    )
    if (spoken and not few) or (calibrated.calibration, calibrated.added) != (
        shipped.calibration,
        shipped.added,
    ):
        cut = best_expected_cut(chosen.confidence[~reviewed[chosen.sentence]], shipped.cut)
        round_ = msgspec.structs.replace(round_, cut=cut)
    return Adapted(round_, fitted.effects, spoken), chosen


def _unadapted(
    observations: Observations, evidence: RoundEvidence, settled: Settled, gold: Gold, shipped: Round
) -> tuple[Adapted, ChosenSpans]:
    """The last round and its second stage as they were shipped, in the light of what people settled."""
    model = RoundModel(shipped)
    chosen = project_round(observations, evidence, model)
    if not has_second_stage(observations, shipped):
        return Adapted(shipped, _no_effects(observations)), chosen
    spans = counted_spans(observations, chosen, settled, gold)
    elsewhere = elsewhere_in_corpus(observations, spans, chosen)
    scores = label_scores(observations, evidence, model)
    chosen = consistent_with(observations, evidence, shipped, chosen, scores, elsewhere)
    return Adapted(shipped, _no_effects(observations), SpokenSums.of(observations, spans)), chosen


def _no_effects(observations: Observations) -> Effects:
    return Effects(observations.labels, {}, {})


def project_adapted(observations: Observations, evidence: RoundEvidence, adapted: Adapted) -> ChosenSpans:
    """The spans of sentences that came after those that a round was adapted to."""
    model, shift = RoundModel(adapted.round), shift_of(observations, adapted.effects)
    chosen = project_round(observations, evidence, model, shift)
    if adapted.spoken is not None:
        elsewhere = adapted.spoken.elsewhere(observations, text_of(observations, chosen))
        scores = label_scores(observations, evidence, model, shift)
        chosen = consistent_with(observations, evidence, adapted.round, chosen, scores, elsewhere)
    if adapted.gazetteer is not None:
        chosen = with_gazetteer(observations, chosen, evidence.tagged, adapted.gazetteer)
    return chosen


def joined(spans: Sequence[ChosenSpans]) -> ChosenSpans:
    """The spans of several parts of a corpus as one table."""
    return ChosenSpans(*(np.concatenate(column) for column in zip(*spans, strict=True)))


class _Design(NamedTuple):
    """A sparse design: a row per candidate or mention, a column per effect."""

    matrix: csr_array
    transposed: csr_array
    precision: Floats
    kinds: list[str]
    keys: list[str]

    def rows(self, which: Ints) -> _Design:
        """Some rows, and the columns that they fill."""
        matrix = self.matrix[which]
        used = np.unique(matrix.indices)
        matrix = csr_array(matrix[:, used])
        numbers = used.tolist()
        return _Design(
            matrix,
            csr_array(matrix.T),
            self.precision[used],
            [self.kinds[number] for number in numbers],
            [self.keys[number] for number in numbers],
        )


def _design(keys: Iterable[Keys], precisions: Mapping[str, float], count: int, learned: Bools) -> _Design:
    """``learned`` (rows,): those that will be fitted on."""
    rows: list[Ints] = [np.zeros(0, np.int64)]
    columns: list[Ints] = [np.zeros(0, np.int64)]
    precision: list[Floats] = [np.zeros(0)]
    kinds: list[str] = []
    names: list[str] = []
    for key_kind in keys:
        used = learned[key_kind.row]
        unique, inverse = np.unique(key_kind.key[used], return_inverse=True)
        rows.append(key_kind.row[used])
        columns.append(inverse + len(names))
        names += [key_kind.name(key) for key in unique.tolist()]
        kinds += [key_kind.kind] * len(unique)
        precision.append(np.full(len(unique), precisions[key_kind.kind]))
    row, column = np.concatenate(rows), np.concatenate(columns)
    matrix = csr_array((np.ones(len(row)), (row, column)), shape=(count, len(names)))
    return _Design(matrix, csr_array(matrix.T), np.concatenate(precision), kinds, names)


def _model(shipped: Round, fitted: _Fit) -> RoundModel:
    return RoundModel(_round(shipped, fitted))


def _round(base: Round, fitted: _Fit) -> Round:
    given, tagged, overlooked = (
        {name: round(float(value), 5) for name, value in zip(EVIDENCE, fitted.candidate[:, kind], strict=True)}
        for kind in (GIVEN, TAGGED, OVERLOOKED)
    )
    label = {name: round(float(value), 5) for name, value in zip(LABEL_EVIDENCE, fitted.label, strict=True)}
    return msgspec.structs.replace(base, given=given, tagged=tagged, overlooked=overlooked, label=label)


def _counts(observations: Observations, chosen: ChosenSpans, gold: Gold, cut: float) -> Floats:
    """Per reviewed sentence, in the order of their numbers: right, kept and settled spans."""
    kept = chosen.select(chosen.confidence >= cut)
    right = judge(observations, kept, gold)
    size = len(observations.instances)
    numbers = np.array(sorted(gold), np.int64)
    return np.column_stack(
        [
            np.bincount(kept.sentence, right, size)[numbers],
            np.bincount(kept.sentence, minlength=size)[numbers],
            [len(gold[number]) for number in numbers.tolist()],
        ]
    )
