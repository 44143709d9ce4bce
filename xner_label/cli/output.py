"""How commands speak: results on standard output, as text or as one JSON document; the rest on standard error."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click
import msgspec

from xner_label.cli.progress import console_progress, count_lines
from xner_label.entities import Task
from xner_label.errors import PartialError, RecordError, UsageError
from xner_label.jsonl import open_input, open_output
from xner_label.logs import logs_json
from xner_label.progress import Progress
from xner_label.wording import counted

if TYPE_CHECKING:
    from xner_label.pipeline.json_stream import StreamSummary
    from xner_label.stages.usage import Usage

_LOG = logging.getLogger(__name__)


def write_json(document: Any) -> None:
    """Write one JSON document to standard output."""
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def answer(document: Any, text: str, *, as_json: bool) -> None:
    """Write what a command did or found to standard output: the document, or the text for people."""
    if as_json:
        write_json(document)
    else:
        click.echo(text)


def say(text: str) -> None:
    """Tell people something beside the result: progress, notes, what was left out."""
    if logs_json():
        _LOG.info("%s", text)
    else:
        click.echo(text, err=True)


def require_file(output_path: str, *, as_json: bool) -> None:
    """Raise UsageError where a command would write both its lines and its JSON document to standard output."""
    if as_json and output_path == "-":
        raise UsageError("standard output can't hold the lines and a JSON document", hint="name a file with -o")


def report_partial(errors: Sequence[RecordError], bad: int) -> None:
    """Name the first of ``bad`` records in all, then raise PartialError; nothing happens when there are none."""
    for error in errors:
        say(str(error))
    if bad > len(errors):
        say(f"... and {bad - len(errors):,} more")
    if bad:
        raise PartialError(
            f"{counted(bad, 'bad line was', 'bad lines were')} left out",
            hint="correct them and run the same command again",
        )


def require_other_file(output: Path | str, inputs: Iterable[Path | str]) -> None:
    """Raise UsageError where what is written would take the place of what is read."""
    for read in inputs:
        with suppress(OSError):
            if "-" not in (str(output), str(read)) and os.path.samefile(output, read):
                raise UsageError(f"{output} is read, and would be overwritten", hint="name another file with -o")


def run_stage(
    input_path: str,
    output_path: str,
    annotate: Callable[[Sequence[Task]], Sequence[Mapping[str, Any] | RecordError]],
    *,
    doing: str,
    whole: bool = False,
    strict: bool = False,
    as_json: bool = False,
    stage: object = None,
) -> None:
    """Stream tasks through a stage, name bad lines on standard error, and end with code 5 if there were any.

    ``stage`` is what may have asked a model behind an endpoint: what that took is said at the end.
    """
    from xner_label.pipeline.json_stream import annotate_stream

    def run(source: IO[bytes], sink: IO[bytes], progress: Progress) -> StreamSummary:
        return annotate_stream(
            source, sink, annotate, whole=whole, strict=strict, report=say_error, progress=progress
        )

    run_stream(input_path, output_path, run, doing=doing, as_json=as_json, stage=stage)


def say_usage(usage: Usage | None) -> None:
    """Tell what asking an endpoint took, if one was asked."""
    if usage is not None:
        say(f"llm: {usage.words()}")


def run_stream(
    input_path: str,
    output_path: str,
    run: Callable[[IO[bytes], IO[bytes], Progress], StreamSummary],
    *,
    doing: str,
    as_json: bool,
    stage: object = None,
    extra: Callable[[], Mapping[str, Any]] | None = None,
) -> StreamSummary:
    """Run a stream from file to file with its progress; ends with code 5 if lines were bad.

    ``extra`` gives what the JSON document says besides, at the end.
    """
    from xner_label.stages.usage import usage_of

    require_file(output_path, as_json=as_json)
    require_other_file(output_path, [input_path])
    try:
        with (
            open_input(input_path) as source,
            open_output(output_path) as sink,
            console_progress() as progress,
        ):
            progress.begin(doing, count_lines(input_path))
            summary = run(source, sink, progress)
    except RecordError as error:
        say_error(error)
        raise click.exceptions.Exit(error.exit_code) from None
    finally:
        usage = usage_of(stage)
        say_usage(usage)
    if as_json:
        document = {
            "output": output_path,
            "written": summary.predicted,
            "bad": summary.bad,
            "incomplete": summary.incomplete,
            **(extra() if extra is not None else {}),
        }
        write_json(document if usage is None else {**document, "usage": usage})
    if summary.bad:
        raise click.exceptions.Exit(RecordError.exit_code)
    return summary


def say_error(error: RecordError) -> None:
    """Name a bad line."""
    say(str(error))
