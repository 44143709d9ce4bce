"""`xner-label predict`: run the pipeline over the stored tasks, or over files of any size."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xner_label.cli.options import READ_FORMATS, FiniteRange, json_option, with_settings
from xner_label.cli.output import answer, require_other_file, say, say_usage
from xner_label.cli.progress import console_progress, count_lines
from xner_label.errors import PartialError, UsageError
from xner_label.settings.table import Settings
from xner_label.wording import counted

if TYPE_CHECKING:
    from xner_label.bulk.options import RayCluster
    from xner_label.predicting.predictor import PredictReport
    from xner_label.predicting.with_model import ModelPredictReport

_PART_FORMATS = ("jsonl", "jsonl.gz", "jsonl.zst", "parquet")


@click.command(name="predict")
@click.argument("input_paths", metavar="[FILE]...", nargs=-1, type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "-o",
    "--output",
    "output_path",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Where the predictions of files go, a part for each batch",
)
@click.option("--into-store", is_flag=True, help="Put records and predictions of files into the project instead")
@click.option(
    "--format",
    "input_format",
    type=click.Choice(READ_FORMATS),
    help="Format of the files [default: what each says itself]",
)
@click.option(
    "--encoding", metavar="NAME", help="Encoding of the files [default: UTF-8, or the byte order mark's]"
)
@click.option(
    "--part-format",
    type=click.Choice(_PART_FORMATS),
    default="jsonl",
    show_default=True,
    help="Format of the parts",
)
@click.option(
    "--part-size",
    type=click.IntRange(min=1),
    default=5_000,
    show_default=True,
    help="Records of a part: what an interruption may cost",
)
@click.option(
    "--engine",
    type=click.Choice(["embedded", "ray"]),
    default="embedded",
    show_default=True,
    help="What files are predicted on: this process, or Ray (extra `ray`)",
)
@click.option("--address", default="", help="Ray cluster, for instance auto [default: one of its own]")
@click.option("--actors", type=click.IntRange(min=1), default=1, show_default=True, help="Pipelines that Ray runs")
@click.option("--gpus", type=FiniteRange(min=0), default=0.0, show_default=True, help="GPUs of each of them")
@with_settings(
    *("database_url", "project", "preset", "translator", "tagger", "aligner", "projector", "training_folder"),
)
@click.option("--limit", type=click.IntRange(min=1), help="Only so many tasks, each projected on its own")
@click.option("--split", help="Only tasks of this split, each projected on its own")
@click.option(
    "--again",
    multiple=True,
    type=click.Choice(["translator", "tagger"]),
    help="Let this stage work also where tasks brought a source or source entities along",
)
@click.option("--with-model", is_flag=True, help="Predict with the promoted model instead of the pipeline")
@json_option
def command(
    settings: Settings,
    input_paths: tuple[Path, ...],
    output_path: Path | None,
    into_store: bool,
    input_format: str | None,
    encoding: str | None,
    part_format: str,
    part_size: int,
    engine: str,
    address: str,
    actors: int,
    gpus: float,
    limit: int | None,
    split: str | None,
    again: tuple[str, ...],
    with_model: bool,
    as_json: bool,
) -> None:
    """Translate, tag, align and project every task that this pipeline hasn't predicted yet.

    What a task brings along (source, source entities, links) is used as it is, unless a stage works --again: what
    it brought is set aside, and importing it once more brings it back. Another translator or tagger does its stage
    anew by itself, where the one before did it. Interrupt it freely: it goes on
    where it stopped. What --limit and --split choose is there for a look: it becomes what `push` sends only
    where nothing else was predicted before.

    With FILEs it works without a store: their records (as `import` takes them; gzip, Zstandard and Parquet too)
    are predicted batch by batch, each on its own, into the parts of a FOLDER, and what can't be into its
    _rejected.jsonl, with reasons. Run again it makes only the parts that are missing, whatever stopped it; its
    _manifest.json is there once all of them are. Links come with the tasks, or from an aligner that needs no
    training. With --into-store records and predictions go into the project, batch by batch, and nothing is
    stored or predicted twice; -o then names the file for what can't be predicted.
    """
    if input_paths or output_path is not None or into_store:
        if limit is not None or split is not None or again or with_model:
            raise UsageError(
                "files are predicted whole, by the pipeline",
                hint="leave --limit, --split, --again and --with-model out",
            )
        parts = output_path is not None and not into_store
        if not input_paths or not (parts or into_store) or (parts and str(output_path) == "-"):
            raise UsageError(
                "predicting files needs FILEs and a folder, or the store",
                hint="xner-label predict FILE... -o FOLDER, or xner-label predict FILE... --into-store",
            )
        cluster = None
        if engine == "ray":
            from xner_label.bulk.options import RayCluster

            cluster = RayCluster(address, actors, gpus)
        input_paths = _each_once(input_paths)
        options = {
            "format": input_format,
            "encoding": encoding,
            "part_format": part_format,
            "part_size": part_size,
        }
        if output_path is None or not parts:
            _predict_into_store(settings, input_paths, output_path, options, cluster, as_json)
        else:
            _predict_files(settings, input_paths, output_path, options, cluster, as_json)
        return
    if engine != "embedded":
        raise UsageError("Ray predicts files", hint="xner-label predict FILE... -o FOLDER --engine ray")
    if with_model and (limit is not None or split is not None or again):
        raise UsageError("the model predicts all tasks", hint="leave --limit, --split and --again out")
    if with_model:
        _predict_with_model(settings, as_json)
        return
    from xner_label.pipeline.checking import require_stages
    from xner_label.predicting.predictor import Predictor
    from xner_label.store.database import open_store
    from xner_label.store.labels import agreed

    require_stages(settings)
    with open_store(settings.database_url) as store, console_progress(announce=True) as progress:
        report = Predictor(store, agreed(store, settings)).predict_project(
            progress, limit=limit, split=split, again=again
        )
    answer(report, _words(report) + _evidence(report) + _learned(report), as_json=as_json)
    say_usage(report.usage)
    if report.predicted:
        _look_at_new_text(settings)
    for reason, count in report.left_out.items():
        say(f"{counted(count, 'task')} left out: {reason}")
    if report.left_out:
        raise PartialError(
            "some tasks have no prediction", hint="complete them and run `xner-label predict` again"
        )


def _look_at_new_text(settings: Settings) -> None:
    """Say so where what was predicted isn't like the text that people reviewed."""
    from xner_label.review.desk import is_predicted
    from xner_label.review.drift import drift_report
    from xner_label.store.database import open_store

    with open_store(settings.database_url) as store:
        if not is_predicted(store, settings.project):
            return
        verdict = drift_report(store, settings.project).verdict
    if verdict.action in ("retrain", "recalibrate"):
        say(f"{verdict.line}: see `xner-label drift`")


def _each_once(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    """The files in order, without those that were named before."""
    files: dict[str, Path] = {}
    for path in paths:
        if files.setdefault(os.path.abspath(path), path) is not path:
            say(f"{path} was given more than once: it is read once")
    return tuple(files.values())


def _predict_files(
    settings: Settings,
    files: tuple[Path, ...],
    output: Path,
    options: dict[str, Any],
    cluster: RayCluster | None,
    as_json: bool,
) -> None:
    from xner_label.bulk.options import BulkOptions
    from xner_label.bulk.prediction import predict_files

    with console_progress(announce=True) as progress:
        report = predict_files(
            settings, files, output, BulkOptions(**options), progress, cluster=cluster, records=_count(files)
        )
    words = (
        f"{counted(report.predicted, 'record')} predicted in {counted(report.parts, 'part')}, "
        f"{report.made} of them made now"
    )
    answer(report, words, as_json=as_json)
    if report.rejected:
        raise PartialError(
            f"{counted(report.rejected, 'record has', 'records have')} no prediction",
            hint=f"see {output / '_rejected.jsonl'}; correct them and run the same command again",
        )


def _predict_into_store(
    settings: Settings,
    files: tuple[Path, ...],
    rejected: Path | None,
    options: dict[str, Any],
    cluster: RayCluster | None,
    as_json: bool,
) -> None:
    from xner_label.bulk.options import BulkOptions
    from xner_label.bulk.prediction import predict_files_into_store
    from xner_label.store.database import open_store
    from xner_label.store.labels import agreed

    if rejected is not None:
        require_other_file(rejected, files)
    with open_store(settings.database_url) as store:
        settings = agreed(store, settings)
    with console_progress(announce=True) as progress:
        report = predict_files_into_store(
            *(settings, files, BulkOptions(**options), progress),
            rejected=rejected,
            cluster=cluster,
            records=_count(files),
        )
    have = counted(report.predicted, "record has a prediction", "records have predictions")
    words = f"{report.version}: {have} in project {report.project!r}"
    answer(report, words, as_json=as_json)
    if report.rejected:
        where = f"see {rejected}" if rejected else "name a file with -o to see why"
        raise PartialError(
            f"{counted(report.rejected, 'record has', 'records have')} no prediction",
            hint=f"{where}; correct them and run the same command again",
        )


def _count(files: tuple[Path, ...]) -> int | None:
    """How many records there are, where lines tell."""
    counts = [count_lines(path) if path.suffix in (".jsonl", ".txt") else None for path in files]
    return None if None in counts else sum(count or 0 for count in counts)


def _predict_with_model(settings: Settings, as_json: bool) -> None:
    from xner_label.checkpoints.devices import PlacementRequest
    from xner_label.predicting.with_model import predict_with_model
    from xner_label.store.database import open_store

    where = PlacementRequest(settings.device, settings.dtype)
    with open_store(settings.database_url) as store, console_progress(announce=True) as progress:
        report = predict_with_model(
            store,
            settings.project,
            Path(settings.training_folder),
            progress,
            where=where,
            without_source=settings.without_source,
        )
    answer(report, _words(report), as_json=as_json)


def _learned(report: PredictReport) -> str:
    learned = report.learned
    if learned is None:
        return ""
    names = f" and {counted(learned.names, 'name')}" if learned.names else ""
    return (
        f"\n{counted(learned.corrections, 'correction')} in {counted(learned.answers, 'answer')}{names} changed "
        f"{counted(learned.entities, 'entity')} in {counted(learned.tasks, 'task')} nobody has opened"
    )


def _evidence(report: PredictReport) -> str:
    lines = {
        "": "",
        "counted": "\nthe table of evidence was made anew, taggers and weights stay",
        "learned": "\ntaggers, weights and the table of evidence were made anew: all tasks are predicted again",
    }
    kept = counted(
        report.unchanged,
        "task is what it was: it keeps its answer",
        "tasks is what it was: they keep their answers",
    )
    kept = f"\nthe evidence of {kept}"
    return lines[report.evidence] + (kept if report.unchanged else "")


def _words(report: PredictReport | ModelPredictReport) -> str:
    return (
        f"{report.version}: {counted(report.predicted, 'task')} predicted with "
        f"{counted(report.entities, 'entity')}, "
        f"{report.known} already predicted"
    )
