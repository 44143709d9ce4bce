"""`xner-label annotate`: entities for any text."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from xner_label.cli.options import input_argument, json_option, output_option, with_settings
from xner_label.cli.output import run_stream, say, say_error
from xner_label.errors import UsageError
from xner_label.progress import Progress
from xner_label.settings.table import Settings
from xner_label.wording import counted

if TYPE_CHECKING:
    from xner_label.pipeline.json_stream import StreamSummary

_JSON_SUFFIXES = frozenset({"", ".jsonl", ".ndjson", ".json"})


@click.command(name="annotate")
@input_argument
@output_option
@click.option("--run", "version", metavar="VERSION", help="The model run that answers [default: the promoted one]")
@click.option("--pipeline", "by_pipeline", is_flag=True, help="Let the pipeline answer, whatever is promoted")
@click.option(
    "--format",
    type=click.Choice(["auto", "text", "jsonl"]),
    default="auto",
    show_default=True,
    help="text: each line is one; auto: JSON Lines from standard input and files named .jsonl, else text",
)
@click.option("--strict", is_flag=True, help="Stop at the first bad line, leaving no output file")
@with_settings("database_url", "project", "training_folder", "device", "dtype")
@json_option
def command(
    input_path: str,
    output_path: str,
    settings: Settings,
    version: str | None,
    by_pipeline: bool,
    format: str,
    strict: bool,
    as_json: bool,
) -> None:
    """Find the entities of any text: a plain text file, one text a line, or tasks as JSON Lines.

    The promoted model run answers, or the one that --run names; where none is promoted, and with --pipeline, the
    pipeline does, which needs a source or a translator. The lines written are those of `project`; a text of a
    plain file is named after its line's number. A task that brings a source is projected first, because a run
    answers better with the projection before it. Nothing is stored.
    """
    from xner_label.pipeline.json_stream import answer_stream
    from xner_label.predicting.annotating import Annotator
    from xner_label.store.database import open_store
    from xner_label.store.labels import agreed

    if version is not None and by_pipeline:
        raise UsageError("--run and --pipeline exclude each other", hint="choose who answers")
    suffix = "" if input_path == "-" else Path(input_path).suffix or ".txt"
    plain_text = format == "text" or (format == "auto" and suffix.lower() not in _JSON_SUFFIXES)
    with open_store(settings.database_url) as store:
        annotator = Annotator(store, agreed(store, settings), version, by_pipeline=by_pipeline)

        def run(source: IO[bytes], sink: IO[bytes], progress: Progress) -> StreamSummary:
            return answer_stream(
                source,
                sink,
                annotator.annotate,
                plain_text=plain_text,
                strict=strict,
                report=say_error,
                progress=progress,
            )

        summary = run_stream(input_path, output_path, run, doing="annotating", as_json=as_json)
    if annotator.version is not None:
        say(
            f"{counted(summary.predicted, 'text')} annotated by {annotator.version}, "
            f"{annotator.text_alone} of them from the text alone"
        )
