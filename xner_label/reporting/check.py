"""One question that `doctor` asks, and its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "no"]


@dataclass(frozen=True)
class Check:
    """One question and its answer; ``remedy`` is empty when there is nothing to do."""

    name: str
    verdict: Verdict
    found: str
    remedy: str = ""
