"""How commands speak: JSON alone on standard output, everything for people on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click
import msgspec

from xner_label.entities import Task
from xner_label.errors import PartialError, RecordError
from xner_label.jsonl import open_input, open_output

T = TypeVar("T")
# Seconds between two updates of a progress line.
_INTERVAL = 0.5


def write_json(document: Any) -> None:
    """Write one JSON document to standard output."""
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def report_partial(errors: Sequence[RecordError], bad: int) -> None:
    """Name the first of ``bad`` records in all, then raise PartialError; nothing happens when there are none."""
    for error in errors:
        click.echo(str(error), err=True)
    if bad > len(errors):
        click.echo(f"... and {bad - len(errors):,} more", err=True)
    if bad:
        raise PartialError(f"{bad} bad lines were left out", hint="correct them and run the same command again")


def run_stage(
    input_path: str,
    output_path: str,
    annotate: Callable[[Sequence[Task]], Sequence[Mapping[str, Any] | RecordError]],
    *,
    whole: bool = False,
    strict: bool = False,
) -> None:
    """Stream tasks through a stage, name bad lines on standard error, and end with code 5 if there were any."""
    from xner_label.pipeline.json_stream import annotate_stream

    try:
        with open_input(input_path) as source, open_output(output_path) as sink:
            summary = annotate_stream(
                source,
                sink,
                annotate,
                whole=whole,
                strict=strict,
                report=lambda error: click.echo(str(error), err=True),
            )
    except RecordError as error:
        click.echo(str(error), err=True)
        raise click.exceptions.Exit(error.exit_code) from None
    if summary.bad:
        raise click.exceptions.Exit(RecordError.exit_code)


class LineCounter:
    """A line on standard error that says how many lines are done; only where a person is watching."""

    def __init__(self, done: str) -> None:
        self._done = done
        self._shown = sys.stderr.isatty()
        self._begun = self._said = time.monotonic()
        self._count = 0

    def counted(self, batch: Sequence[T]) -> Sequence[T]:
        """Count a batch and hand it on."""
        self._count += len(batch)
        now = time.monotonic()
        if self._shown and now - self._said >= _INTERVAL:
            self._said = now
            rate = self._count / (now - self._begun)
            click.echo(f"\r{self._count:,} lines {self._done}, {rate:,.0f}/s ", err=True, nl=False)
        return batch
