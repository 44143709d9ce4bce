"""How long tests go on that repeat something until it might fail: short in the suite, long under ``make soak``."""

from __future__ import annotations

import os

FACTOR = int(os.environ.get("XNER_LABEL_SOAK", "1"))


def rounds(count: int) -> int:
    """So many rounds (kills, generated examples, draws) in the suite, FACTOR times as many in a soak."""
    return count * FACTOR
