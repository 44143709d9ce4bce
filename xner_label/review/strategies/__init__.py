"""Orders of review, one file each, behind one interface.

A strategy of another package is found by name through the entry point group ``xner_label.strategies``; the entry
is a callable without parameters that returns a :class:`Strategy`.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import Protocol

import numpy as np

from xner_label.errors import UsageError
from xner_label.review.pool import ReviewPool
from xner_label.settings.choices import STRATEGIES

GROUP = "xner_label.strategies"


class Strategy(Protocol):
    """Says which sentences people should see next."""

    def choose(self, pool: ReviewPool, count: int, generator: np.random.Generator) -> list[int]:
        """Up to ``count`` numbers of open sentences, in the order of review; the same draw, the same choice."""
        ...


def make_strategy(name: str) -> Strategy:
    """The strategy of that name. Raises UsageError for an unknown one."""
    if name in STRATEGIES:
        module = import_module(f"{__name__}.{name.replace('-', '_')}")
        strategy: Strategy = module.make()
        return strategy
    for entry in entry_points(group=GROUP, name=name):
        other: Strategy = entry.load()()
        return other
    known = (*STRATEGIES, *sorted(entry_points(group=GROUP).names))
    raise UsageError(f"there is no strategy {name!r}", hint=f"choose one of {', '.join(known)}")
