"""A bound on the share of wrong predictions among those accepted, instead of a threshold.

Audited predictions were drawn at random from all, so that for a cut c fixed beforehand the number of wrong ones
among the n audited ones at or above c is hypergeometric, and "the share of wrong ones among the open ones above c
exceeds max_error" is rejected with an exact p-value. (A binomial test speaks of the distribution that both come
from; where a tenth is audited, an audit with few wrong ones leaves more of them to the rest.) Cuts are tried in an
order that is fixed without looking at outcomes, each at the full error rate, until the first that isn't
rejected (fixed sequence testing; Angelopoulos et al. 2021, Learn then Test, section 2.3); the last that was
rejected is the cut. Each label has a sequence of its own (Mondrian): a pooled cut would let a rare label break
the promise.

Only audited predictions count. To weight what people chose to review by how likely it was chosen accepts more,
and broke a third of its promises on Setswana: the choice sees more than the confidence.

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
    stands_for: float = 1.0,
) -> Promise:
    """The lowest cut that can be promised.

    ``confidence`` (n,) and ``right`` (n,) are those of audited predictions, whose answers their confidence
    doesn't know; ``open_confidence`` (m,) those of the predictions to be accepted, each of which
    ``stands_for`` so many.
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
    open_counts = stands_for * _above(open_confidence, open_confidence, cuts)[0]
    passed = _fixed_sequence(confidence, right, open_counts, cuts, max_error, level)
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
        bound=upper_limit(wrong, count, level),
        deviation=float(np.sqrt(max_error * (1.0 - max_error) / count)),
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
    stands_for: float = 1.0,
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
            stands_for=stands_for,
        )
        for place, name in enumerate(names)
    ]


def smallest_audit(max_error: float, level: float) -> int:
    """How many audited predictions, all right, reject that ``max_error`` of them are wrong."""
    return int(np.ceil(np.log(1.0 - level) / np.log(1.0 - max_error)))


def upper_limit(wrong: int, count: int, level: float) -> float:
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
    largest = largest_rejecting(
        np.floor(factor * counts), _above(open_confidence, open_confidence, cuts)[0], max_error, level
    )
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


def largest_rejecting(counts: Floats, open_counts: Floats, max_error: float, level: float) -> Floats:
    """The largest number of wrong ones among so many audited ones that still rejects that more than ``max_error``
    of the open ones are wrong; -1 where none does.

    With c wrong ones among n audited and k more among M open ones, the audit is a draw of n from n + M with k + c
    wrong ones; k is the smallest number that would break the promise. So every number up to c must be unlikely
    that the audit leaves so many for the rest. For many open ones that is the binomial test.
    """
    from scipy.stats import hypergeom

    largest = np.full(len(counts), -1.0)
    for place, (audited, rest) in enumerate(
        zip(counts.astype(np.int64), open_counts.astype(np.int64), strict=True)
    ):
        breaking = int(np.floor(max_error * rest + 1e-9)) + 1
        wrong = np.arange(min(audited, int(max_error * audited) + 1) + 1)
        if breaking > rest or not audited:
            continue
        unlikely = hypergeom.cdf(wrong, audited + rest, breaking + wrong, audited) <= 1.0 - level
        largest[place] = len(wrong) - 1 if unlikely.all() else int(np.argmin(unlikely)) - 1
    return largest


def _fixed_sequence(
    confidence: Floats, right: Bools, open_counts: Floats, cuts: Floats, max_error: float, level: float
) -> float | None:
    """The last cut in the sequence that is rejected."""
    from scipy.stats import binom

    counts, wrong = _above(confidence, (~right).astype(np.float64), cuts)
    _, expected = _above(confidence, 1.0 - confidence, cuts)
    largest = largest_rejecting(counts, open_counts, max_error, level)
    power = np.where(largest >= 0, binom.cdf(largest, counts, expected / np.maximum(counts, 1.0)), 0.0)
    passed = None
    for place in range(int(np.argmax(power)), len(cuts)):
        if wrong[place] > largest[place]:
            break
        passed = float(cuts[place])
    return passed
