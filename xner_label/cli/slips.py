"""`xner-label slips`: settled entities that deserve a second look."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import answer
from xner_label.settings.table import Settings

if TYPE_CHECKING:
    from xner_label.reporting.second_look import SecondLook
    from xner_label.review.slips import Slip


@click.command(name="slips")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many to list")
@with_settings("database_url", "project")
@json_option
def command(settings: Settings, limit: int, as_json: bool) -> None:
    """List what people settled that may be a slip, the likeliest first, with what speaks against it.

    Nothing is changed: look at each in Label Studio, and sync.
    """
    from xner_label.reporting.second_look import second_looks
    from xner_label.store.database import open_store

    with open_store(settings.database_url) as store:
        looks = second_looks(store, settings.project, limit)
    text = "\n".join(map(_line, looks)) or "nothing that was predicted before has been settled"
    answer(looks, text, as_json=as_json)


def _line(look: SecondLook) -> str:
    slip = look.slip
    said = "marked" if slip.marked else "not marked"
    place = look.studio_task or f"task {slip.task}"
    return f"{slip.suspicion:.2f}  {slip.text} [{slip.label}] {said}; {'; '.join(_reasons(slip))}  {place}"


def _reasons(slip: Slip) -> list[str]:
    reasons = [f"predicted with {slip.predicted:.2f}" if slip.predicted else "not predicted"]
    if slip.tagger is not None:
        reasons.append(f"tagger {slip.tagger:.2f}")
    if slip.other_names:
        reasons.append(f"{slip.same_name} of {slip.other_names} others of this name are {slip.label}")
    return reasons
