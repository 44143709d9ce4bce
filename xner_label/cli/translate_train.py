"""``xner-label translate-train``: labelled source texts in, training data of the target language out."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

import click

from xner_label.cli.options import input_argument, json_option, output_option, with_settings
from xner_label.cli.output import run_stream, say, say_error
from xner_label.errors import ConfigurationError
from xner_label.pipeline.completeness import FILTERS
from xner_label.progress import Progress
from xner_label.settings.table import Settings
from xner_label.wording import counted

if TYPE_CHECKING:
    from xner_label.pipeline.json_stream import StreamSummary
    from xner_label.pipeline.pipeline import Pipeline

# Without models: shown in the help.
_METHODS = ("markers", "xml", "projection")


@click.command(name="translate-train")
@input_argument
@output_option
@with_settings(
    *("translator", "marker_model", "translator_beams", "target_language", "source_language"),
    *("projector", "projector_weights", "aligner", "aligner_model", "labels", "device", "dtype"),
    helps={"labels": "Only these labels [default: the settings' where they name some, else all]"},
)
@click.option(
    "--model", help="Checkpoint that translates: a folder or a fetched hub name [default: the settings']"
)
@click.option(
    "--method",
    type=click.Choice(_METHODS),
    default="markers",
    help="How entities get into the translation: brackets or tags around them that the model carries over, or "
    "projected onto it with links [default: markers]",
)
@click.option(
    "--filter",
    "filters",
    type=click.Choice([*FILTERS, "none"]),
    multiple=True,
    help="Leave out texts that aren't complete; several times for several [default: counts, and with projection "
    "aligned and contiguous]",
)
@click.option("--strict", is_flag=True, help="Stop at the first bad line, leaving no output file")
@json_option
def command(
    input_path: str,
    output_path: str,
    settings: Settings,
    model: str | None,
    method: str,
    filters: tuple[str, ...],
    strict: bool,
    as_json: bool,
) -> None:
    """Translate labelled texts of the source language into the target language, entities and all.

    A line has "text" and "entities", and perhaps an "id". A line of the output has the translation as "text", the
    "entities" in it with their confidence, the "source" with its "source_entities", and the "pipeline" that made
    it: silver, which `xner-label import --silver` takes and `xner-label train` learns from. A text is left out
    when an entity was lost on the way; how many, and why, is said at the end.

    Translations are kept in the models' cache: stopped at any moment, the same call goes on where it was. A bad
    line is left out and named on standard error; the command then ends with code 5.
    """
    from dataclasses import replace
    from pathlib import Path

    from xner_label.pipeline.assembly import make_back_translator, make_marker_translator
    from xner_label.pipeline.folder_cache import FolderCache
    from xner_label.pipeline.json_stream import silver_stream
    from xner_label.pipeline.translate_train import DEFAULT_FILTERS, TranslateTrain

    if model:
        kind = "transformers" if settings.translator == "given" else settings.translator
        settings = replace(settings, translator=kind, translator_model=model)
    cache = FolderCache(Path(settings.model_cache).expanduser() / "translations")
    chosen = tuple(name for name in filters if name != "none") if filters else DEFAULT_FILTERS[method]
    pipeline = _pipeline(settings, chosen) if method == "projection" else None
    if method == "projection":
        translator = None if settings.translator == "given" else make_back_translator(settings, cache=cache)
    else:
        translator = make_marker_translator(settings, cache=cache)
    if translator is None:
        raise ConfigurationError(
            "no translator is chosen",
            hint="name a checkpoint with --model, or one trained for markers in the settings",
        )
    made = TranslateTrain(translator, method, chosen, pipeline)

    def run(source: IO[bytes], sink: IO[bytes], progress: Progress) -> StreamSummary:
        labels = settings.labels if "labels" in settings.chosen else None
        summary = silver_stream(
            source, sink, made, labels=labels, strict=strict, report=say_error, progress=progress
        )
        reasons = ", ".join(f"{name} {count}" for name, count in made.dropped.most_common())
        say(
            f"{counted(summary.predicted, 'text')} written, {summary.incomplete} left out"
            f"{f' ({reasons})' if reasons else ''}"
        )
        if made.markers["marked"]:
            lost = ", ".join(
                f"{made.markers[name]} {name}" for name in ("lost", "doubled", "unpaired", "unmarkable")
            )
            say(f"{made.markers['carried']} of {made.markers['marked']} markers came back; {lost}")
        return summary

    def losses() -> dict[str, Any]:
        return {"dropped": made.dropped, "markers": made.markers, "pipeline": made.signature}

    run_stream(input_path, output_path, run, doing="translating", as_json=as_json, extra=losses)


def _pipeline(settings: Settings, filters: tuple[str, ...]) -> Pipeline:
    """What projects: the settings' projector over the links of their aligner."""
    from xner_label.pipeline.assembly import assemble_projector, make_aligner
    from xner_label.pipeline.memory_cache import MemoryCache
    from xner_label.pipeline.pipeline import Pipeline

    cache = MemoryCache()
    aligner = make_aligner(settings, cache=cache)
    projector = assemble_projector(settings, cache=cache)
    return Pipeline(projector, aligner=aligner, min_confidence=None, filters=filters)
