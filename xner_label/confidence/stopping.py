"""Whether to go on reviewing: what is left, what the next hour buys, and whether answers still change anything.

Stability is measured on entity decisions (those of tokens are all "O" anyway; Bloodgood & Vijay-Shanker 2009):
the share of entities in unreviewed tasks that the newest projection left as the one before had them.
"""

from __future__ import annotations

import msgspec

from xner_label.confidence.estimates import Estimates
from xner_label.settings.choices import MIN_GAIN

# Predictions are stable from this share on.
STABLE = 0.97
# The estimate must be known this well, half an interval in F1, before anything is called finished.
_WIDEST = 0.10


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """``stop``, and why. ``f1``: of the whole corpus by the audit slice, None without one; ``gain``: what an
    hour more is expected to add to it; ``stability``: of entity decisions, None before there are two
    projections; ``errors_left``: wrong and missed entities nobody has read."""

    stop: bool
    reasons: list[str]
    f1: float | None
    gain: float | None
    stability: float | None
    errors_left: float | None

    @property
    def line(self) -> str:
        """The verdict in one line."""
        return f"{'stop' if self.stop else 'go on'}: {'; '.join(self.reasons)}"


def judge(
    now: Estimates | None, after_hour: Estimates | None, stability: float | None, min_gain: float = MIN_GAIN
) -> Verdict:
    """Stop where all signals agree; without an audit slice nobody can know."""
    if now is None:
        return Verdict(
            stop=False,
            reasons=["too few tasks drawn at random were read: `xner-label push --audit-share 0.2`"],
            f1=None,
            gain=None,
            stability=stability,
            errors_left=None,
        )
    gain = None if after_hour is None else max(after_hour.f1.value - now.f1.value, 0.0)
    left = now.wrong.value + now.missed.value
    go_on = []
    settled = [f"F1 of the whole corpus is {now.f1.value:.3f} ({now.f1.low:.3f} to {now.f1.high:.3f})"]
    moved = f"the last answers changed {100 * (1 - (stability or 0)):.1f} % of the entities nobody has read"
    if gain is not None and gain >= min_gain:
        go_on.append(f"another hour is expected to add {100 * gain:.1f} points of F1")
    elif gain is not None:
        settled.append(f"another hour adds {100 * gain:.1f} points")
    if stability is not None and stability < STABLE:
        go_on.append(moved)
    elif stability is not None:
        settled.append(moved)
    if (now.f1.high - now.f1.low) / 2 > _WIDEST:
        go_on.append(f"F1 may be anything from {now.f1.low:.2f} to {now.f1.high:.2f}: audit more tasks")
    return Verdict(
        stop=not go_on,
        reasons=go_on or settled,
        f1=now.f1.value,
        gain=gain,
        stability=stability,
        errors_left=left,
    )
