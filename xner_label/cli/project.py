"""``xner-label project``: tasks in, predictions out, line by line."""

from __future__ import annotations

from dataclasses import replace

import click

from xner_label.cli.options import comma_separated, input_argument, labels_option, output_option, with_settings
from xner_label.errors import RecordError, UsageError
from xner_label.jsonl import open_input, open_output
from xner_label.pipeline.completeness import FILTERS
from xner_label.pipeline.json_stream import project_stream
from xner_label.pipeline.memory_cache import MemoryCache
from xner_label.pipeline.pipeline import Pipeline
from xner_label.projection.projectors import make_projector
from xner_label.settings.choices import PROJECTORS
from xner_label.settings.table import Settings
from xner_label.stages.assembly import (
    make_aligner,
    make_back_translator,
    make_target_tagger,
    make_translation_scorer,
)


@click.command()
@input_argument
@output_option
@click.option(
    "--projector",
    type=click.Choice(PROJECTORS),
    default="default",
    show_default=True,
    help="How spans are chosen",
)
@click.option("--weights", default="", metavar="FILE", help="Weights of the default projector [default: shipped]")
@click.option(
    "--corpus",
    is_flag=True,
    help="Read all tasks first and let them inform each other (--projector corpus); entities may be added",
)
@click.option(
    "--aligner",
    default="given",
    show_default=True,
    help="Where links come from: the tasks, or an aligner, see `xner-label align` (eflomal reads all input first)",
)
@click.option("--target-tagger", metavar="MODEL", help="Tagger of the target language, for ner projectors")
@click.option(
    "--back-translate", is_flag=True, help="Correct links by translating source entities back (needs --translator)"
)
@with_settings(
    "aligner_model",
    "translator",
    "translator_model",
    "source_language",
    "target_language",
    "device",
    "dtype",
)
@click.option(
    "--min-confidence",
    type=click.FloatRange(0.0, 1.0),
    metavar="P",
    help="Leave out entities with less confidence [default: the projector's own cut]",
)
@labels_option
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
def command(
    input_path: str,
    output_path: str,
    projector: str,
    weights: str,
    corpus: bool,
    aligner: str,
    target_tagger: str | None,
    back_translate: bool,
    settings: Settings,
    min_confidence: float | None,
    labels: tuple[str, ...] | None,
    keep: tuple[str, ...] | None,
    filters: tuple[str, ...],
    strict: bool,
) -> None:
    """Project source entities onto the text of each task (JSON Lines in, predictions out, same order).

    A task needs "id", "text", "source" and "source_entities", and "alignment" where the projector uses links.
    Source entities with a "score" count as a tagger's, and names that it seems to have missed may be added, their
    "source" null; those without one count as given by a person. A bad line is left out and named on standard
    error; the command then ends with code 5.
    """
    if corpus and projector not in ("default", "corpus"):
        raise UsageError(f"the projector {projector!r} has no corpus mode", hint="leave --corpus out")
    projector = "corpus" if corpus else projector
    cache = MemoryCache()
    scorer = make_translation_scorer(settings) if "nmt" in projector else None
    pipeline = Pipeline(
        make_projector(projector, weights=weights, translation_scorer=scorer),
        aligner=make_aligner(replace(settings, aligner=aligner), cache=cache),
        back_translator=make_back_translator(settings, cache=cache) if back_translate else None,
        target_tagger=make_target_tagger(target_tagger, settings) if target_tagger else None,
        min_confidence=min_confidence,
        labels=labels,
        filters=filters,
        strict=strict,
    )
    try:
        with open_input(input_path) as source, open_output(output_path) as sink:
            summary = project_stream(source, sink, pipeline, keep=keep or (), strict=strict, report=_report)
    except RecordError as error:
        _report(error)
        raise click.exceptions.Exit(error.exit_code) from None
    if summary.incomplete:
        click.echo(f"{summary.incomplete} tasks left out by --filter {' '.join(filters)}", err=True)
    if summary.bad:
        raise click.exceptions.Exit(RecordError.exit_code)


def _report(error: RecordError) -> None:
    click.echo(str(error), err=True)
