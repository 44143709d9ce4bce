"""Whether to go on reviewing: what is left, what the next hour buys, and whether answers still teach anything.

A correction mends the sentence that somebody read. Beside that, answers change what is predicted for all others,
and that is what a model, or text that nobody will read, has of them. It is measured on entity decisions (those of
tokens are all "O" anyway; Bloodgood & Vijay-Shanker 2009): the newest projection of what nobody has read against
one before, and how much surer one may be of what came than of what went. It falls long before the corpus is read,
whereas the corpus's own labels get better as long as somebody reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

import msgspec

from xner_label.confidence.estimates import Estimates
from xner_label.settings.choices import CORPUS, MIN_GAIN, MODEL

# Predictions are stable from this share on.
STABLE = 0.97
# What 100 answers teach, as a share of what the 100 before them taught: about .6 in loops on Luganda.
FADING = 0.6
# The estimate must be known this well, half an interval in F1, before anything is called finished.
_WIDEST = 0.10
# P(right) of an entity that is no longer shown, where no other took its place.
_DROPPED = 0.25

# (start, end, label) of an entity, in any unit.
Region = tuple[int, int, str]


class Taught(msgspec.Struct, frozen=True, kw_only=True):
    """What the ``answers`` between two projections, which took people ``seconds``, did to what nobody has read:
    the share of its entities that ``changed``, and the F1 that it has gained, if the confidences are right."""

    answers: int
    seconds: float
    changed: float
    gain: float

    def next(self, seconds: float = 3600.0) -> float:
        """The F1 that so much more review is expected to add to what nobody has read: each part of it as long as
        the last one adds less than the part before, by FADING for 100 answers."""
        if not self.answers:
            return 0.0
        fading = float(FADING ** (self.answers / 100.0))
        parts = seconds / max(self.seconds, 1.0)
        return max(self.gain, 0.0) * fading * float(1.0 - fading**parts) / (1.0 - fading)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """``stop``, and why. ``f1``: of the whole corpus by the audit slice, None without one; ``gain``: what an
    hour more is expected to add to it; ``learned``: what that hour teaches about text nobody reads, in F1, None
    before there are two projections; ``stability``: share of entity decisions that the last answers left alone;
    ``errors_left``: wrong and missed entities nobody has read."""

    stop: bool
    reasons: list[str]
    f1: float | None
    gain: float | None
    stability: float | None
    errors_left: float | None
    learned: float | None = None

    @property
    def line(self) -> str:
        """The verdict in one line."""
        return f"{'stop' if self.stop else 'go on'}: {'; '.join(self.reasons)}"


def compare_projections(
    tasks: Iterable[tuple[Set[Region], Mapping[Region, float]]], answers: int, seconds: float
) -> Taught | None:
    """What a projection did to another's entities in the same tasks: those before, and those now with their
    calibrated confidence. None where nothing is shown."""
    shown = changed = more = 0
    expected = right = 0.0
    for before, now in tasks:
        shown += len(now)
        expected += sum(now.values())
        added, dropped = now.keys() - before, before - now.keys()
        changed += max(len(added), len(dropped))
        more += len(added) - len(dropped)
        right += sum(now[region] for region in added) - sum(_still_right(region, now) for region in dropped)
    if not shown:
        return None
    # as many entities are taken to be there as are shown
    gain = expected / shown - 2.0 * (expected - right) / (2.0 * shown - more)
    return Taught(answers=answers, seconds=seconds, changed=changed / shown, gain=gain)


def _still_right(region: Region, now: Mapping[Region, float]) -> float:
    """P(right) of an entity that is no longer shown: half of what those in its place leave."""
    start, end, _ = region
    rivals = [sure for (first, last, _), sure in now.items() if first < end and start < last]
    return (1.0 - max(rivals)) / 2.0 if rivals else _DROPPED


def judge(
    now: Estimates | None,
    after_hour: Estimates | None,
    taught: Taught | None,
    min_gain: float | None = None,
    purpose: str = MODEL,
) -> Verdict:
    """Stop where all signals agree; without an audit slice nobody can know.

    ``purpose``: for a model, or for text that nobody will read, what counts is what the next hour teaches; for
    the labels of the corpus itself it is what that hour adds to them, and that the last answers changed little.
    The latter decides before there are two projections, too. ``min_gain``: what makes the hour worth it, None for
    MIN_GAIN of the purpose.
    """
    weighed = MODEL if purpose == MODEL and taught is not None else CORPUS
    enough = MIN_GAIN[weighed] if min_gain is None else min_gain
    stability = None if taught is None else max(1.0 - taught.changed, 0.0)
    learned = None if taught is None else taught.next()
    if now is None:
        return Verdict(
            stop=False,
            reasons=["too few tasks drawn at random were read: `xner-label push --audit-share 0.2`"],
            f1=None,
            gain=None,
            stability=stability,
            errors_left=None,
            learned=learned,
        )
    gain = None if after_hour is None else max(after_hour.f1.value - now.f1.value, 0.0)
    go_on: list[str] = []
    settled = [f"F1 of the whole corpus is {now.f1.value:.3f} ({now.f1.low:.3f} to {now.f1.high:.3f})"]
    if learned is not None:
        worth = weighed == MODEL and learned >= enough
        teaches = f"another hour teaches what nobody reads {100 * learned:.1f} points of F1"
        (go_on if worth else settled).append(teaches)
    if gain is not None:
        worth = weighed == CORPUS and gain >= enough
        mends = f"what is read in an hour adds {100 * gain:.1f} points to the F1 of the whole corpus"
        (go_on if worth else settled).append(mends)
    if stability is not None:
        worth = weighed == CORPUS and stability < STABLE
        moved = f"the last answers changed {100 * (1 - stability):.1f} % of the entities nobody has read"
        (go_on if worth else settled).append(moved)
    if (now.f1.high - now.f1.low) / 2 > _WIDEST:
        go_on.append(f"F1 may be anything from {now.f1.low:.2f} to {now.f1.high:.2f}: audit more tasks")
    return Verdict(
        stop=not go_on,
        reasons=go_on or settled,
        f1=now.f1.value,
        gain=gain,
        stability=stability,
        errors_left=now.wrong.value + now.missed.value,
        learned=learned,
    )
