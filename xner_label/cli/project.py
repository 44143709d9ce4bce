"""``xner-label project``: tasks in, predictions out, line by line."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

import click

from xner_label.cli.options import (
    FiniteRange,
    comma_separated,
    input_argument,
    is_flag,
    json_option,
    output_option,
    with_settings,
)
from xner_label.cli.output import run_stream, say, say_error
from xner_label.errors import UsageError
from xner_label.pipeline.completeness import FILTERS
from xner_label.progress import Progress
from xner_label.settings.choices import WEIGHTED_PROJECTORS
from xner_label.settings.table import Settings
from xner_label.wording import counted

if TYPE_CHECKING:
    from xner_label.pipeline.json_stream import StreamSummary


@click.command()
@input_argument
@output_option
@with_settings(
    *("projector", "projector_weights", "aligner", "aligner_model", "marker_model", "target_tagger"),
    *("translator", "translator_model", "source_language", "target_language"),
    *("labels", "device", "dtype"),
    helps={
        "labels": "Only these labels [default: the settings' where they name some, else all]",
        "aligner": "Where links come from [default: the tasks; the settings' aligner where they bring none]",
    },
)
@click.option(
    "--corpus",
    is_flag=True,
    help="Read all tasks first and let them inform each other (--projector corpus); entities may be added",
)
@click.option(
    "--back-translate", is_flag=True, help="Correct links by translating source entities back (needs --translator)"
)
@click.option(
    "--min-confidence",
    type=FiniteRange(0.0, 1.0),
    metavar="P",
    help="Leave out entities with less confidence [default: the projector's own cut]",
)
@click.option(
    "--keep", callback=comma_separated, metavar="FIELD,...", help="Copy these input fields to the output"
)
@click.option(
    "--filter",
    "filters",
    type=click.Choice(list(FILTERS)),
    multiple=True,
    help="Leave out tasks that aren't complete enough to train on; may be given several times",
)
@click.option("--strict", is_flag=True, help="Stop at the first bad or adjusted line, leaving no output file")
@json_option
def command(
    input_path: str,
    output_path: str,
    settings: Settings,
    corpus: bool,
    back_translate: bool,
    min_confidence: float | None,
    keep: tuple[str, ...] | None,
    filters: tuple[str, ...],
    strict: bool,
    as_json: bool,
) -> None:
    """Project source entities onto the text of each task (JSON Lines in, predictions out, same order).

    A task needs "id", "text", "source" and "source_entities", and "alignment" where the projector uses links.
    Source entities with a "score" count as a tagger's, and names that it seems to have missed may be added, their
    "source" null; those without one count as given by a person. A bad line is left out and named on standard
    error; the command then ends with code 5.

    Links that a line brings are used; one without gets those of the aligner that the settings or the environment
    name. --aligner makes all links anew (eflomal reads all input first). Labels are filtered only where the
    settings or --labels name some.
    """
    from xner_label.pipeline import assembly
    from xner_label.pipeline.json_stream import project_stream
    from xner_label.pipeline.memory_cache import MemoryCache
    from xner_label.pipeline.pipeline import Pipeline

    if corpus and settings.projector not in WEIGHTED_PROJECTORS:
        raise UsageError(f"the projector {settings.projector!r} has no corpus mode", hint="leave --corpus out")
    cache = MemoryCache()
    # A preset's aligner is for stored tasks: here lines must not wait for each other unless somebody asks.
    aligner = assembly.make_aligner(settings, cache=cache) if "aligner" in settings.chosen else None
    projector = assembly.assemble_projector(settings, corpus=corpus)
    pipeline = Pipeline(
        projector,
        aligner=aligner,
        realign=is_flag("aligner"),
        back_translator=assembly.make_back_translator(settings, cache=cache) if back_translate else None,
        target_tagger=assembly.chosen_target_tagger(settings, projector),
        min_confidence=min_confidence,
        labels=settings.labels if "labels" in settings.chosen else None,
        filters=filters,
        strict=strict,
    )

    def run(source: IO[bytes], sink: IO[bytes], progress: Progress) -> StreamSummary:
        summary = project_stream(
            source, sink, pipeline, keep=keep or (), strict=strict, report=say_error, progress=progress
        )
        if summary.incomplete:
            say(f"{counted(summary.incomplete, 'task')} left out by --filter {' '.join(filters)}")
        return summary

    run_stream(input_path, output_path, run, doing="projecting", as_json=as_json)
