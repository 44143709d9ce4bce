"""How commands speak: JSON alone on standard output, everything for people on standard error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
import msgspec

from xner_label.errors import PartialError, RecordError


def write_json(document: Any) -> None:
    """Write one JSON document to standard output."""
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def report_partial(errors: Sequence[RecordError]) -> None:
    """Name each bad line, then raise PartialError; nothing happens when there are none."""
    for error in errors:
        click.echo(str(error), err=True)
    if errors:
        raise PartialError(
            f"{len(errors)} bad lines were left out", hint="correct them and run the same command again"
        )
