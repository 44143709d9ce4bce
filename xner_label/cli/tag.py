"""``xner-label tag``: tasks in, tasks with source entities out, line by line."""

from __future__ import annotations

import click

from xner_label.cli.options import input_argument, json_option, labels_option, output_option, with_settings
from xner_label.cli.output import run_stage, say
from xner_label.errors import ConfigurationError
from xner_label.settings.table import Settings


@click.command()
@input_argument
@output_option
@with_settings("tagger", "llm_url", "source_language", "device", "dtype")
@click.option(
    "--model",
    help="Checkpoint, file of a CRF, or name of a language model [default: the settings']",
)
@click.option(
    "--labelled",
    metavar="FILE",
    help='Train the CRF on these labelled source texts: JSON Lines with "text" and "entities"',
)
@click.option("--map", "mapping", multiple=True, metavar="NAME=LABEL", help="How a label of the tagger translates")
@labels_option
@click.option("--again", is_flag=True, help="Tag tasks that have source entities, too")
@click.option("--strict", is_flag=True, help="Stop at the first bad line, leaving no output file")
@json_option
def command(
    input_path: str,
    output_path: str,
    settings: Settings,
    model: str | None,
    labelled: str | None,
    mapping: tuple[str, ...],
    labels: tuple[str, ...] | None,
    again: bool,
    strict: bool,
    as_json: bool,
) -> None:
    """Find the entities of each task's source (JSON Lines in, the same lines with "source_entities" out).

    A task needs "id", "text" and "source"; its "source_tokens" are used when it has them. An entity's "score" is
    the lowest probability among its words. A task that has source entities keeps them. A bad line is left out and
    named on standard error; the command then ends with code 5.
    """
    from dataclasses import replace
    from pathlib import Path

    from xner_label.pipeline.assembly import make_tagger
    from xner_label.pipeline.memory_cache import MemoryCache
    from xner_label.pipeline.stage import TaggingStage, additions
    from xner_label.settings.choices import TAGGERS
    from xner_label.stages.tagging.labelled_texts import read_labelled_texts
    from xner_label.stages.tagging.tag_map import parse_mapping

    kind = settings.tagger
    if labelled or (model and kind not in ("spacy", "gliner", "llm")):
        kind = "crf" if labelled or Path(model or "").is_file() else "transformers"
    settings = replace(
        settings,
        tagger=kind,
        tagger_model="" if labelled else model or settings.tagger_model,
        labels=labels or settings.labels,
        tagger_map=mapping or settings.tagger_map,
    )
    names = parse_mapping(settings.tagger_map)
    texts = read_labelled_texts(labelled, settings.labels, names, tell=say) if labelled else ()
    tagger = make_tagger(settings, cache=MemoryCache(), labelled=texts)
    if tagger is None:
        choices = "|".join(name for name in TAGGERS if name != "given")
        raise ConfigurationError(
            "no tagger is chosen, or there is nothing to make one of",
            hint=f"--tagger {choices} with --model, or --labelled FILE",
        )
    stage = TaggingStage(tagger)
    run_stage(
        input_path,
        output_path,
        lambda tasks: additions(stage, tasks, again=again),
        doing="tagging",
        strict=strict,
        as_json=as_json,
        stage=tagger,
    )
