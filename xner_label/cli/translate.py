"""``xner-label translate``: tasks in, tasks with a source out, line by line."""

from __future__ import annotations

import click

from xner_label.cli.options import input_argument, json_option, output_option, with_settings
from xner_label.cli.output import run_stage
from xner_label.errors import ConfigurationError
from xner_label.settings.table import Settings


@click.command()
@input_argument
@output_option
@with_settings(
    "translator", "llm_url", "target_language", "source_language", "translator_beams", "device", "dtype"
)
@click.option(
    "--model",
    help="Checkpoint (folder or fetched hub name) or language model [default: the settings']",
)
@click.option("--again", is_flag=True, help="Translate tasks that have a source, too")
@click.option("--strict", is_flag=True, help="Stop at the first bad line, leaving no output file")
@json_option
def command(
    input_path: str,
    output_path: str,
    settings: Settings,
    model: str | None,
    again: bool,
    strict: bool,
    as_json: bool,
) -> None:
    """Translate each task into the source language (JSON Lines in, the same lines with "source" out).

    The text is in --target-language, the language that is annotated; the translation in --source-language, the
    language of the tagger. Added are "source" and "source_score", the mean log-probability of a subtoken. A task
    that has a source keeps it. A bad line is left out and named on standard error; the command then ends with
    code 5.
    """
    from dataclasses import replace

    from xner_label.pipeline.assembly import make_translator
    from xner_label.pipeline.memory_cache import MemoryCache
    from xner_label.pipeline.stage import TranslationStage, additions
    from xner_label.settings.choices import TRANSLATORS

    if model:
        kind = "transformers" if settings.translator == "given" else settings.translator
        settings = replace(settings, translator=kind, translator_model=model)
    translator = make_translator(settings, cache=MemoryCache())
    if translator is None:
        choices = "|".join(name for name in TRANSLATORS if name != "given")
        raise ConfigurationError(
            "no translator is chosen", hint=f"--translator {choices} with --model, or a preset that translates"
        )
    stage = TranslationStage(translator)
    run_stage(
        input_path,
        output_path,
        lambda tasks: additions(stage, tasks, again=again),
        doing="translating",
        strict=strict,
        as_json=as_json,
        stage=translator,
    )
