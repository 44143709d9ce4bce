"""What the demonstration found, as a table and a few sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_IN_WORDS = {
    "kept": "were kept as they were",
    "moved": "were given other borders",
    "relabelled": "were given another label",
    "removed": "were removed",
}


def summary(figures: dict[str, Any]) -> str:
    """The text for people; ``found`` is the document that ``--json`` writes."""
    return "\n".join(_lines(figures))


def _lines(figures: dict[str, Any]) -> Iterator[str]:
    silver, before, after = figures["silver"], figures["before"], figures["after"]
    yield "Summary"
    yield "======="
    yield ""
    yield f"On the sample's {after['tasks']} test sentences, which no model has seen (F1 with 95 % interval):"
    yield ""
    yield f"  {'':46}{'precision':>9}  {'recall':>6}  {'F1':>5}"
    if after["silver"]:
        yield _row("projection from English, unreviewed", after["silver"])
    yield _row("model trained before the review (silver only)", before["text_only"])
    yield _row("model trained after the review (gold + silver)", after["text_only"])
    yield _row("the same, with the projection of each sentence", after["model"])
    yield ""
    yield _verdict(before["text_only"], after["text_only"], figures["reviewed"])
    yield ""
    yield f"Silver: on the {silver['n']} sentences of the pool the projection alone reaches F1 {silver['f1']:.3f}"
    yield f"({silver['ci95'][0]:.3f} to {silver['ci95'][1]:.3f}), before anybody has looked at them."
    if silver["auroc"] is not None:
        yield f"Its confidence ranks a right entity above a wrong one in {silver['auroc']:.0%} of pairs (AUROC)."
    yield ""
    corrections: dict[str, int] = figures["corrections"]
    yield f"Review (SIMULATED, by a script that submits the sample's gold): {figures['reviewed']} sentences,"
    yield f"the least confident first. Of {sum(corrections.get(kind, 0) for kind in _IN_WORDS)} proposed entities"
    for kind, words in _IN_WORDS.items():
        yield f"  {corrections.get(kind, 0):4}  {words}"
    yield f"and {corrections.get('added', 0)} that had been missed were added."
    yield ""
    yield "The sample was written for demonstration: these figures say little about real text."
    if not figures["eflomal"]:
        yield "Without the aligner eflomal (no C compiler?), entities were projected by string similarity alone."


def _row(name: str, scores: dict[str, Any]) -> str:
    low, high = scores["ci95"]
    columns = f"{scores['precision']:9.3f}  {scores['recall']:6.3f}  {scores['f1']:5.3f}"
    return f"  {name:46}{columns}  ({low:.3f} to {high:.3f})"


def _verdict(before: dict[str, Any], after: dict[str, Any], reviewed: int) -> str:
    change = after["f1"] - before["f1"]
    overlap = after["ci95"][0] <= before["ci95"][1] and before["ci95"][0] <= after["ci95"][1]
    direction = "rose" if change > 0 else "fell" if change < 0 else "did not change"
    moved = f"{direction} by {abs(change):.3f}" if change else direction
    doubt = "; the intervals overlap, so on so few sentences that may be chance" if overlap else ""
    return f"After {reviewed} reviewed sentences the model's F1 {moved}{doubt}."
