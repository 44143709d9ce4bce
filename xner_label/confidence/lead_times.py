"""What a review takes, learned from Label Studio's lead times.

Lead times run on through telephone calls and lunch. So tasks that took much longer than the others, for what
they hold, count as interrupted and are left out, and the fit is a robust one (soft L1 loss).
"""

from __future__ import annotations

import msgspec
import numpy as np

from xner_label.projection.loglinear.columns import Floats

# Seconds, before there are measured ones: for a token read, an entity put right, and a task opened.
SECONDS_PER_TOKEN = 1.0 / 3.0
SECONDS_PER_CHANGE = 3.0
USUAL = (SECONDS_PER_TOKEN, SECONDS_PER_CHANGE, 0.0)
# Below so many measured tasks the usual times stay.
MIN_MEASURED = 20
# A task that took so many times what one of its length usually takes was interrupted.
_INTERRUPTED = 5.0


class LeadTimes(msgspec.Struct, frozen=True):
    """Seconds ``per_token`` read, ``per_change`` made, and ``per_task``, from ``measured`` tasks;
    ``interrupted`` ones are left out. 0 measured: the usual ones, nobody's measured."""

    per_token: float
    per_change: float
    per_task: float
    measured: int
    interrupted: int

    def seconds(self, tokens: Floats, changes: Floats) -> Floats:
        """(S,) what tasks of so many tokens with so many changes are expected to take."""
        return np.maximum(self.per_task + self.per_token * tokens + self.per_change * changes, 1.0)


def fit_lead_times(tokens: Floats, changes: Floats, seconds: Floats) -> LeadTimes:
    """Fit to measured tasks, all (n,): tokens, entities changed, lead time in seconds."""
    from scipy.optimize import least_squares

    known = np.isfinite(seconds) & (seconds > 0)
    tokens, changes, seconds = tokens[known], changes[known], seconds[known]
    usual = seconds / np.maximum(tokens + 9.0 * changes, 1.0)
    usable = usual <= _INTERRUPTED * np.median(usual) if len(usual) else np.zeros(0, bool)
    interrupted = int((~usable).sum())
    if usable.sum() < MIN_MEASURED:
        return LeadTimes(*USUAL, measured=0, interrupted=interrupted)
    tokens, changes, seconds = tokens[usable], changes[usable], seconds[usable]
    table = np.column_stack([tokens, changes, np.ones(len(tokens))])
    # relative errors: a long task may miss by more
    weight = 1.0 / np.maximum(seconds, np.median(seconds) / 4.0)

    def miss(numbers: Floats) -> Floats:
        result: Floats = (table @ numbers - seconds) * weight
        return result

    fitted = least_squares(miss, np.array(USUAL), bounds=(0.0, np.inf), loss="soft_l1", f_scale=0.3)
    per_token, per_change, per_task = (round(float(value), 4) for value in fitted.x)
    return LeadTimes(per_token, per_change, per_task, int(usable.sum()), interrupted)
