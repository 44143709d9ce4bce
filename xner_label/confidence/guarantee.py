"""A bound on the share of wrong predictions among those accepted, instead of a threshold.

Audited predictions are draws from the same distribution as those to be accepted. For a cut c fixed beforehand,
the number of wrong ones among the n audited ones at or above c is binomial, and "the share of wrong ones above
c exceeds max_error" is rejected with the exact p-value P(Bin(n, max_error) <= wrong). Cuts are tried in an
order that is fixed without looking at outcomes, each at the full error rate, until the first that isn't
rejected (fixed sequence testing; Angelopoulos et al. 2021, Learn then Test, section 2.3); the last that was
rejected is the cut. Each label has a sequence of its own (Mondrian): a pooled cut would let a rare label break
the promise.

The order: first the cut whose rejection is likeliest by the confidences alone, then ever lower ones. From the
top down every sequence would end at once, since a handful of predictions can't reject anything.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from xner_label.projection.loglinear.columns import Bools, Floats, Ints

# Below so many audited predictions of a label nothing is promised.
MIN_AUDITED = 50
# Bands of confidence within which reviewed predictions stand for open ones.
_BANDS = 10
# Cuts are tried at these shares of the predictions to be accepted.
_SHARES = np.arange(1, 51) / 50.0


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """At most ``max_error`` of what is accepted is wrong, with probability ``level`` over audits.

    ``unit`` is "entity" or "sentence", ``label`` None for all together. ``cut``: least confidence of what is
    accepted, None where nothing can be promised, for the ``reason`` given. Of ``audited`` predictions ``above``
    lie at or above the cut, ``wrong`` of them wrong; ``share`` of the ``open`` ones that nobody reviewed are
    accepted. ``bound``: exact upper limit of the error at that level. ``deviation``: standard deviation of the
    share of wrong ones among so many as were audited above the cut, if the truth lay at the promise. ``more``:
    audited predictions that would be needed, all right, where nothing is promised.
    """

    unit: str
    label: str | None
    max_error: float
    level: float
    cut: float | None
    audited: int
    above: int
    wrong: int
    open: int
    share: float
    bound: float | None
    deviation: float | None
    more: int
    reason: str | None


def promise(
    confidence: Floats,
    right: Bools,
    open_confidence: Floats,
    *,
    max_error: float,
    level: float = 0.95,
    label: str | None = None,
    unit: str = "entity",
    weight: Floats | None = None,
) -> Promise:
    """The lowest cut that can be promised.

    ``weight`` (n,): how much each audited prediction counts, see :func:`weights_like`; None: once, which is
    exact. ``confidence`` (n,) and ``right`` (n,) are those of audited predictions, whose answers their
    confidence doesn't know; ``open_confidence`` (m,) those of the predictions to be accepted.
    """
    audited = len(confidence)
    alone = smallest_audit(max_error, level)
    nothing = Promise(
        unit=unit,
        label=label,
        max_error=max_error,
        level=level,
        cut=None,
        audited=audited,
        above=0,
        wrong=0,
        open=len(open_confidence),
        share=0.0,
        bound=None,
        deviation=None,
        more=max(max(MIN_AUDITED, alone) - audited, 0),
        reason=None,
    )
    if audited < MIN_AUDITED:
        return msgspec.structs.replace(nothing, reason=f"{audited} were audited, {MIN_AUDITED} are needed")
    if not len(open_confidence):
        return msgspec.structs.replace(nothing, more=0, reason="nothing is left to accept")
    cuts = _cuts(open_confidence)
    if weight is None:
        weight = np.ones(audited)
    passed = _fixed_sequence(confidence, right, weight, cuts, max_error, level)
    if passed is None:
        return msgspec.structs.replace(
            nothing, reason="too many of the surest are wrong, or too few were audited to tell"
        )
    above = confidence >= passed
    count, wrong = int(above.sum()), int((~right[above]).sum())
    return msgspec.structs.replace(
        nothing,
        cut=float(passed),
        above=count,
        wrong=wrong,
        share=float((open_confidence >= passed).mean()),
        bound=upper_limit(*_effective(weight[above], ~right[above]), level),
        deviation=float(np.sqrt(max_error * (1.0 - max_error) / _effective(weight[above], ~right[above])[1])),
        more=0,
    )


def promises(
    label: Ints,
    confidence: Floats,
    right: Bools,
    open_label: Ints,
    open_confidence: Floats,
    names: Sequence[str],
    *,
    max_error: float,
    level: float = 0.95,
) -> list[Promise]:
    """A promise for each label of ``names``; ``label`` (n,) and ``open_label`` (m,) are places among them."""
    return [
        promise(
            confidence[label == place],
            right[label == place],
            open_confidence[open_label == place],
            max_error=max_error,
            level=level,
            label=name,
        )
        for place, name in enumerate(names)
    ]


def smallest_audit(max_error: float, level: float) -> int:
    """How many audited predictions, all right, reject that ``max_error`` of them are wrong."""
    return int(np.ceil(np.log(1.0 - level) / np.log(1.0 - max_error)))


def weights_like(confidence: Floats, open_confidence: Floats) -> Floats:
    """(n,) weights under which reviewed predictions have the confidences of the open ones, (m,), band by band.

    People review what is doubtful. As long as the choice looked at confidence alone, predictions of one
    confidence are wrong as often in what was chosen as in what wasn't, and these weights undo the choice
    (post-stratification).
    """
    borders = np.unique(np.quantile(open_confidence, np.arange(1, _BANDS) / _BANDS))
    band, of_open = (np.searchsorted(borders, values, side="right") for values in (confidence, open_confidence))
    reviewed = np.bincount(band, minlength=_BANDS)
    weights: Floats = np.bincount(of_open, minlength=_BANDS)[band] / np.maximum(reviewed[band], 1)
    return weights


def upper_limit(wrong: float, count: float, level: float) -> float:
    """Exact one-sided upper limit of a share (Clopper & Pearson 1934)."""
    from scipy.stats import beta

    return 1.0 if wrong >= count else float(beta.ppf(level, wrong + 1, count - wrong))


def outlook(
    confidence: Floats, open_confidence: Floats, factor: float, *, max_error: float, level: float = 0.95
) -> float:
    """The share of open predictions that could be accepted if ``factor`` times as many were audited and as many
    were wrong as their confidences, (n,) audited and (m,) open, let expect."""
    if factor * len(confidence) < MIN_AUDITED or not len(open_confidence):
        return 0.0
    cuts = _cuts(open_confidence)
    counts, expected = _above(confidence, 1.0 - confidence, cuts)
    largest = _largest(np.floor(factor * counts), max_error, level)
    passed = np.flatnonzero(np.floor(factor * expected) <= largest)
    return float((open_confidence >= cuts[passed[-1]]).mean()) if len(passed) else 0.0


def _cuts(open_confidence: Floats) -> Floats:
    """Cuts to be tried, descending."""
    descending: Floats = np.unique(np.quantile(open_confidence, 1.0 - _SHARES, method="lower"))[::-1]
    return descending


def _above(confidence: Floats, amount: Floats, cuts: Floats) -> tuple[Floats, Floats]:
    """How many predictions lie at or above each cut, and the sum of their ``amount`` (n,)."""
    order = np.argsort(-confidence, kind="stable")
    counts = np.searchsorted(-confidence[order], -cuts, side="right")
    return counts.astype(np.float64), np.concatenate([[0.0], np.cumsum(amount[order])])[counts]


def _largest(counts: Floats, max_error: float, level: float) -> Floats:
    """The largest number of wrong ones among so many that still rejects; -1 where none does."""
    from scipy.stats import binom

    largest = np.maximum(binom.ppf(1.0 - level, counts, max_error), 0.0)
    rejects = binom.cdf(largest, counts, max_error) <= 1.0 - level
    result: Floats = np.where(rejects, largest, largest - 1.0)
    return result


def _effective(weight: Floats, wrong: Bools) -> tuple[float, float]:
    """Wrong predictions and all of them, as many as would tell as much without weights (Kish 1965)."""
    if not len(weight):
        return 0.0, 0.0
    count = float(weight.sum() ** 2 / (weight**2).sum())
    return count * float(weight[wrong].sum() / weight.sum()), count


def _fixed_sequence(
    confidence: Floats, right: Bools, weight: Floats, cuts: Floats, max_error: float, level: float
) -> float | None:
    """The last cut in the sequence that is rejected."""
    from scipy.special import betainc
    from scipy.stats import binom

    _, total = _above(confidence, weight, cuts)
    _, squares = _above(confidence, weight**2, cuts)
    _, lost = _above(confidence, weight * ~right, cuts)
    _, doubt = _above(confidence, weight * (1.0 - confidence), cuts)
    counts = np.where(squares > 0, total**2 / np.maximum(squares, 1e-12), 0.0)
    wrong = counts * lost / np.maximum(total, 1e-12)
    expected = doubt / np.maximum(total, 1e-12)
    # P(Bin(n, max_error) <= k), for whole numbers the very same
    value = np.where(counts > wrong, betainc(np.maximum(counts - wrong, 1e-9), wrong + 1.0, 1.0 - max_error), 1.0)
    largest = _largest(np.floor(counts), max_error, level)
    power = np.where(largest >= 0, binom.cdf(largest, np.floor(counts), expected), 0.0)
    passed = None
    for place in range(int(np.argmax(power)), len(cuts)):
        if value[place] > 1.0 - level:
            break
        passed = float(cuts[place])
    return passed
