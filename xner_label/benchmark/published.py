"""Figures that others published, to stand beside measured ones, marked and never mixed with them.

Strict span F1 on MasakhaNER 2.0. Set-ups differ (labels, whether a projector or a tagger trained on its output was
judged): they say what has been reached, they don't compare line by line.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

import msgspec


class System(msgspec.Struct, frozen=True):
    """A published system and what its figures were measured on."""

    name: str
    setup: str


class Figure(msgspec.Struct, frozen=True):
    """One published F1, 0..1."""

    system: System
    f1: float


class _Published(msgspec.Struct, frozen=True):
    """``f1`` by ISO 639-3 code holds one value per system, x 100; ``codes`` leads other codes to these."""

    systems: list[System]
    codes: dict[str, str]
    f1: dict[str, list[float | None]]


@cache
def _read() -> _Published:
    content = (resources.files("xner_label.benchmark") / "published.json").read_bytes()
    return msgspec.json.decode(content, type=_Published)


def published_figures(language: str) -> list[Figure]:
    """The published figures for a language (ISO 639, in any case, with or without a script), the best first."""
    published = _read()
    code = language.lower().replace("-", "_").partition("_")[0]
    values = published.f1.get(published.codes.get(code, code), [])
    figures = [
        Figure(system, round(value / 100, 4))
        for system, value in zip(published.systems, values, strict=False)
        if value is not None
    ]
    return sorted(figures, key=lambda figure: -figure.f1)


def published_languages() -> list[str]:
    """The ISO 639-3 codes of the languages that there are figures for."""
    return list(_read().f1)


def published_systems() -> list[System]:
    """The systems that there are figures of, in the order of the table."""
    return list(_read().systems)
