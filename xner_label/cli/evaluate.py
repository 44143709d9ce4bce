"""``xner-label evaluate``: predictions against gold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from xner_label.cli.options import json_option, labels_option
from xner_label.cli.output import answer, say
from xner_label.wording import counted

if TYPE_CHECKING:
    from xner_label.evaluation.spans import Evaluation

# Ids that are named of those that stand in one file alone.
_SHOWN_IDS = 3


@click.command()
@click.argument("gold")
@click.argument("predictions", metavar="PRED")
@labels_option
@json_option
def command(gold: str, predictions: str, labels: tuple[str, ...] | None, as_json: bool) -> None:
    """Score PRED against GOLD (JSON Lines, matched by id): strict span F1 and quality of the confidences."""
    from xner_label.evaluation.spans import evaluate_files

    result = evaluate_files(gold, predictions, labels)
    answer(result, _table(result), as_json=as_json)
    if result.unknown_ids:
        say(_not_counted(result.unknown_ids, predictions))


def _not_counted(ids: Sequence[str | int], predictions: str) -> str:
    shown = ", ".join(map(repr, ids[:_SHOWN_IDS])) + (", ..." if len(ids) > _SHOWN_IDS else "")
    what = "prediction not counted, its id is", "predictions not counted, their ids are"
    return f"{counted(len(ids), *what)} only in {predictions}: {shown}"


def _table(result: Evaluation) -> str:
    low, high = result.ci95
    lines = [f"{'':<16}{'precision':>10}{'recall':>10}{'F1':>10}{'gold':>8}"]
    for label, scores in result.per_label.items():
        lines.append(f"{label:<16}{scores.precision:>10.4f}{scores.recall:>10.4f}{scores.f1:>10.4f}{scores.n:>8}")
    total = sum(scores.n for scores in result.per_label.values())
    lines.append(f"{'all':<16}{result.precision:>10.4f}{result.recall:>10.4f}{result.f1:>10.4f}{total:>8}")
    lines.append(f"F1 95 % interval {low:.4f} .. {high:.4f} (bootstrap over {counted(result.n, 'task')})")
    if result.brier is not None:
        named = {
            "AUROC": result.auroc,
            "AP of errors": result.ap_errors,
            "Brier": result.brier,
            "ECE": result.ece,
            "coverage at 95 %": result.coverage_at_95,
        }
        lines.append(
            "confidence: "
            + ", ".join(f"{name} {'-' if value is None else f'{value:.4f}'}" for name, value in named.items())
        )
    lines.append(result.signature)
    return "\n".join(lines)
