"""What the value of a setting must be, as data: checked here, and shown by the command line and in the docs."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Choice:
    """One of ``names``, or several of ``joinable`` with + between them, or a weighted sum of ``summable`` ones.

    One of ``suffixes`` may follow a name or a sum, with @ between them.
    """

    names: tuple[str, ...]
    joinable: tuple[str, ...] = ()
    summable: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()

    def problem(self, value: str) -> str:
        """What is wrong with a value, empty when nothing is."""
        chosen, at, suffix = value.partition("@")
        if at and suffix not in self.suffixes:
            return f"{value!r} is unknown"
        names = [name.strip() for name in chosen.split("+")]
        if chosen in self.names or (len(names) > 1 and set(names) <= set(self.joinable)):
            return ""
        summed = weighted_sum(chosen)
        if summed and summed.keys() <= set(self.summable):
            return ""
        return f"{value!r} is unknown"

    @property
    def described(self) -> str:
        """The choices in words; the empty name isn't shown."""
        names = ", ".join(name for name in self.names if name)
        if self.summable:
            behind = f"; behind one @{', @'.join(self.suffixes)}" if self.suffixes else ""
            return f"{names}, or a sum such as 0.5*{self.summable[0]}+0.1*{self.summable[-1]}{behind}"
        return f"{names}, or several of them joined by +" if self.joinable else names


@dataclass(frozen=True)
class Range:
    """A number within bounds, which belong to it; None is no bound."""

    minimum: float | None = None
    maximum: float | None = None

    def problem(self, value: float) -> str:
        """What is wrong with a value, empty when nothing is."""
        below = self.minimum is not None and value < self.minimum
        above = self.maximum is not None and value > self.maximum
        return f"{value} is not {self.described}" if below or above or not math.isfinite(value) else ""

    @property
    def described(self) -> str:
        """The bounds in words."""
        if self.maximum is None:
            return "a number" if self.minimum is None else f"{self.minimum:g} or more"
        return f"{self.maximum:g} or less" if self.minimum is None else f"{self.minimum:g} to {self.maximum:g}"


@dataclass(frozen=True)
class Form:
    """A text that a regular expression matches as a whole; ``described`` says it to people."""

    expression: str
    described: str

    def problem(self, value: str) -> str:
        """What is wrong with a value, empty when nothing is."""
        return "" if re.fullmatch(self.expression, value) else f"{value!r} is not {self.described}"


@dataclass(frozen=True)
class Names:
    """A list of different names that fit on a line; ``least`` is how many there must be."""

    least: int = 0
    expression: str = r"[^\s,](?:[^\t\r\n\v\f\0,]*[^\s,])?"
    described: str = "different names without commas and line breaks"

    def problem(self, value: Sequence[str]) -> str:
        """What is wrong with a value, empty when nothing is."""
        if len(value) < self.least:
            return "it is empty"
        twice = [name for position, name in enumerate(value) if name in value[:position]]
        if twice:
            return f"{twice[0]!r} is there twice"
        wrong = [name for name in value if not re.fullmatch(self.expression, name)]
        return f"{wrong[0]!r} doesn't fit: {self.described}" if wrong else ""


Rule = Choice | Range | Form | Names


def problem_of(rule: Rule | None, value: Any) -> str:
    """What is wrong with a value by its rule, empty when nothing is or there is no rule."""
    return rule.problem(value) if rule is not None else ""


def weighted_sum(value: str) -> dict[str, float]:
    """The weights of a sum such as ``0.5*align+0.1*casing`` by name; empty where it isn't one.

    Weights are positive, and no name comes twice.
    """
    terms = [re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)\*([a-z-]+)", term.strip()) for term in value.split("+")]
    weights = {term[2]: float(term[1]) for term in terms if term is not None}
    return weights if len(weights) == len(terms) and all(weights.values()) else {}


def holds_password(url: str) -> bool:
    """Whether a URL carries a password, before the host or among its options."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return True  # what can't be read can't be cleared
    options = parse_qs(parts.query, keep_blank_values=True)
    return parts.password is not None or any("password" in name.lower() for name in options)
