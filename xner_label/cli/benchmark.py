"""``xner-label benchmark``: systems side by side on a language's own gold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from xner_label.cli.options import READ_FORMATS, comma_separated, json_option, with_settings
from xner_label.cli.output import answer, report_partial, say, write_json
from xner_label.cli.progress import console_progress
from xner_label.errors import UsageError
from xner_label.settings.table import Settings
from xner_label.wording import counted

if TYPE_CHECKING:
    from xner_label.benchmark.grid import Grid
    from xner_label.benchmark.run import Plan

_CHOICES = "A,B,..."


@click.command()
@click.argument("data", nargs=-1, required=True, metavar="[NAME=]FILE...")
@click.option(
    "--methods",
    callback=comma_separated,
    metavar=_CHOICES,
    help="Projectors, sums of scores, transfer; @greedy, @=, @>= behind one choose the matching "
    "[default: all that run without a translation model]",
)
@click.option("--translators", callback=comma_separated, metavar=_CHOICES, help="[default: given]")
@click.option("--taggers", callback=comma_separated, metavar=_CHOICES, help="Source taggers [default: given]")
@click.option("--aligners", callback=comma_separated, metavar=_CHOICES, help="[default: given]")
@click.option(
    "--target-taggers",
    callback=comma_separated,
    metavar=_CHOICES,
    help="Models that tag the text itself: for transfer and the ner scores",
)
@click.option(
    "--labelled", metavar="FILE", help='Labelled source texts for the CRF: JSON Lines with "text" and "entities"'
)
@click.option(
    "--noise",
    callback=comma_separated,
    metavar="drop=P,shuffle=P",
    help="Further rows with a share of the links dropped, or put on random words",
)
@click.option(
    "--reviews",
    callback=comma_separated,
    metavar="N,...",
    help="Further rows of ours after people reviewed so many sentences (gold of half of the tasks plays them)",
)
@click.option(
    "--languages",
    callback=comma_separated,
    metavar=_CHOICES,
    help="Languages of a known dataset; of files, those that are called so [default: all]",
)
@click.option(
    "--data-folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder that holds the published files of known datasets [default: they are fetched from the hub]",
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many tasks of each file")
@click.option("--split", help="Only the tasks of this split")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(READ_FORMATS, case_sensitive=False),
    help="Format of the files [default: what they say]",
)
@click.option("--encoding", metavar="NAME", help="Encoding of the files [default: UTF-8]")
@click.option(
    "--columns",
    callback=comma_separated,
    metavar="A,B,...",
    help="Names of columns without a header, as for `import`",
)
@click.option("--tag-names", callback=comma_separated, metavar="A,B,...", help="Names of numbered tags, from 0")
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where results are kept between runs [default: benchmark in the models' cache]",
)
@click.option(
    "--dry-run", is_flag=True, help="Say what would be computed, and how long it takes where that is known"
)
@click.option("--probe", is_flag=True, help="Say which names, constructions and words are lost, and where")
@click.option("--write-config", is_flag=True, help="Write the advice to the settings file")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write FILE.json, FILE.md and FILE.html",
)
@with_settings(
    *("labels", "projector_weights", "translator_model", "marker_model", "llm_url"),
    *("source_language", "target_language", "device", "dtype"),
)
@json_option
def command(
    data: tuple[str, ...],
    settings: Settings,
    languages: tuple[str, ...] | None,
    data_folder: Path | None,
    limit: int | None,
    split: str | None,
    file_format: str | None,
    encoding: str | None,
    columns: tuple[str, ...] | None,
    tag_names: tuple[str, ...] | None,
    cache: Path | None,
    dry_run: bool,
    probe: bool,
    write_config: bool,
    output: Path | None,
    as_json: bool,
    **choices: object,
) -> None:
    """Compare systems on files of gold: strict F1 with intervals, paired differences, errors by stage, costs.

    A FILE holds tasks with "entities" that people settled, in any format that `import` reads. A stage is `given`
    (what the tasks bring), or KIND:MODEL: transformers:NAME, crf:FILE, eflomal, simalign:NAME. A FILE that is
    called by a language's code (lug=FILE) is in that language; published figures stand beside its rows. In place
    of a FILE, masakhaner2, wikiann and uner are known by name, with --languages.

    What a stage or method gave is kept by content: run again with one more method, and only that is computed;
    stopped at any moment, the same call goes on. Bad records are left out and named (exit 5).
    """
    from xner_label.benchmark.data import read_dataset
    from xner_label.benchmark.kept import Kept
    from xner_label.benchmark.known_data import KNOWN, find_data
    from xner_label.benchmark.page import render, require_template_engine
    from xner_label.benchmark.run import plan_benchmark, run_benchmark
    from xner_label.benchmark.table import markdown
    from xner_label.exchange.readers.interface import ReadOptions

    if output is not None:
        require_template_engine()
    grid = _grid(settings, choices)
    options = ReadOptions(format=file_format, encoding=encoding, columns=columns or (), tag_names=tag_names or ())
    kept = Kept(cache or Path(settings.model_cache).expanduser() / "benchmark")
    with console_progress(announce=True) as progress:
        progress.begin("reading", None)
        known = {argument for argument in data if argument in KNOWN and not Path(argument).exists()}
        sources = find_data(data, languages or (), split=split, folder=data_folder)
        # A known dataset's file is one part of it; the tasks in it say nothing of parts.
        datasets = [
            read_dataset(source, options, split=split if source in data else None, limit=limit or 0)
            for source in sources
        ]
        if languages and not known:
            datasets = [dataset for dataset in datasets if dataset.name in languages]
            if not datasets:
                raise UsageError("no file is called by one of --languages", hint="name them: lug=FILE")
        if dry_run:
            plan = plan_benchmark(grid, datasets, settings, kept, progress)
        else:
            report = run_benchmark(grid, datasets, settings, kept, progress, probe=probe)
    if dry_run:
        answer(plan, _planned(plan), as_json=as_json)
        return
    for dataset in datasets:
        if dataset.without_gold:
            say(f"{dataset.name}: {counted(dataset.without_gold, 'task')} without gold left out")
    if output is not None:
        _write(output, report, {".md": markdown(report), ".html": render(report)})
    if as_json:
        write_json(report)
    else:
        click.echo(markdown(report), nl=False)
    if write_config:
        if report.advice is None:
            raise UsageError("there is no advice to write", hint="compare a method that the settings can name")
        from xner_label.settings.files import find_file, set_values
        from xner_label.settings.table import FILE_NAME

        file = click.get_current_context().params["config"] or find_file(Path.cwd()) or Path(FILE_NAME)
        set_values(file, report.advice.settings)
        say(
            f"wrote {', '.join(f'{name} = {value!r}' for name, value in report.advice.settings.items())} to {file}"
        )
    errors = [error for dataset in datasets for error in dataset.errors]
    report_partial(errors[:10], len(errors))


def _grid(settings: Settings, choices: dict[str, object]) -> Grid:
    from xner_label.benchmark import methods as by_name
    from xner_label.benchmark.grid import Grid
    from xner_label.benchmark.noise import parse_noise
    from xner_label.benchmark.stages import StageChoice, parse_choice
    from xner_label.stages.tagging.labelled_texts import read_labelled_texts
    from xner_label.stages.tagging.tag_map import parse_mapping

    def named(option: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        value = choices[option]
        return value if isinstance(value, tuple) and value else default

    targets = tuple(StageChoice("", model) for model in named("target_taggers"))
    methods = named("methods", by_name.ALWAYS + (by_name.WITH_TARGET_TAGGER if targets else ()))
    labelled: tuple[tuple[str, list[object]], ...] = ()
    if choices["labelled"]:
        mapping = parse_mapping(settings.tagger_map)
        labelled = tuple(read_labelled_texts(str(choices["labelled"]), settings.labels, mapping, tell=say))  # type: ignore[arg-type]
    return Grid(
        methods=tuple(dict.fromkeys(map(by_name.check_method, methods))),
        translators=tuple(parse_choice("translator", text) for text in named("translators", ("given",))),
        taggers=tuple(parse_choice("tagger", text) for text in named("taggers", ("given",))),
        aligners=tuple(parse_choice("aligner", text) for text in named("aligners", ("given",))),
        target_taggers=targets,
        noise=tuple(parse_noise(text) for text in named("noise")),
        reviews=tuple(sorted(set(_reviews(named("reviews"))))),
        labels=settings.labels if "labels" in settings.chosen else None,
        labelled=labelled,  # type: ignore[arg-type]
    )


def _reviews(values: tuple[str, ...]) -> list[int]:
    if not all(value.isdecimal() and int(value) for value in values):
        raise UsageError("--reviews takes whole numbers above 0", hint="for example --reviews 50,200")
    return [int(value) for value in values]


def _planned(plan: Plan) -> str:
    lines = [f"{counted(plan.methods, 'row')} to compute, {plan.kept} kept from earlier runs"]
    for work in plan.work:
        time = "time unknown: it wasn't tried" if work.seconds is None else f"about {work.seconds:.0f} s"
        lines.append(f"{work.data}: {work.stage} on {counted(work.texts, 'text')}, {time}")
    if any(work.seconds is None for work in plan.work):
        lines.append("a run with --limit 50 gives a first look, and the speed of every stage")
    for model in plan.models:
        size = f"about {model.gigabytes:g} GB" if model.gigabytes else "size unknown"
        lines.append(
            f"{model.name}: " + ("here" if model.here else f"to be fetched, {size}: xner-label models pull")
        )
    lines += [f"{item.data}: {item.system} left out, {item.reason}" for item in plan.left_out]
    return "\n".join(lines)


def _write(output: Path, report: object, texts: dict[str, str]) -> None:
    """The JSON document under the name that was given, the others beside it."""
    import msgspec

    from xner_label.jsonl import open_output

    base = output.with_suffix("") if output.suffix in (".json", ".md", ".html") else output
    documents = {".json": msgspec.json.format(msgspec.json.encode(report), indent=2)}
    for suffix, content in (*documents.items(), *((name, text.encode()) for name, text in texts.items())):
        with open_output(base.with_name(base.name + suffix)) as stream:
            stream.write(content)
