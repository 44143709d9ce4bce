"""``xner-label evaluate``: predictions against gold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from xner_label.cli.options import json_option, labels_option

if TYPE_CHECKING:
    from xner_label.evaluation.spans import Evaluation


@click.command()
@click.argument("gold")
@click.argument("predictions", metavar="PRED")
@labels_option
@json_option
def command(gold: str, predictions: str, labels: tuple[str, ...] | None, as_json: bool) -> None:
    """Score PRED against GOLD (JSON Lines, matched by id): strict span F1 and quality of the confidences."""
    from xner_label.evaluation.spans import evaluate_files

    result = evaluate_files(gold, predictions, labels)
    for identity in result.unknown_ids:
        click.echo(f"id {identity!r}: only in {predictions}, not counted", err=True)
    click.echo(msgspec.json.encode(result) if as_json else _table(result))


def _table(result: Evaluation) -> str:
    low, high = result.ci95
    lines = [f"{'':<16}{'precision':>10}{'recall':>10}{'F1':>10}{'gold':>8}"]
    for label, scores in result.per_label.items():
        lines.append(f"{label:<16}{scores.precision:>10.4f}{scores.recall:>10.4f}{scores.f1:>10.4f}{scores.n:>8}")
    total = sum(scores.n for scores in result.per_label.values())
    lines.append(f"{'all':<16}{result.precision:>10.4f}{result.recall:>10.4f}{result.f1:>10.4f}{total:>8}")
    lines.append(f"F1 95 % interval {low:.4f} .. {high:.4f} (bootstrap over {result.n} tasks)")
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
    return "\n".join(lines)
