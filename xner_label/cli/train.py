"""`xner-label train`: a model from gold and silver."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from xner_label.cli.options import FiniteRange, json_option, with_settings
from xner_label.cli.output import answer, write_json
from xner_label.cli.progress import console_progress
from xner_label.errors import UsageError
from xner_label.settings.table import Settings
from xner_label.wording import counted

if TYPE_CHECKING:
    from xner_label.training.evaluation import SplitScores


@click.command(name="train")
@with_settings(
    *("database_url", "project", "training_folder", "min_silver_confidence", "max_error", "dev_share"),
    *("near_duplicates", "device", "dtype"),
)
@click.option("--model", "checkpoint", metavar="CHECKPOINT", help="Fine-tune this model [default: train a CRF]")
@click.option("--epochs", type=click.IntRange(1), help="Fine-tuning: passes over the gold [default: 10]")
@click.option("--silver-epochs", type=click.IntRange(0), help="Fine-tuning: passes over the silver [default: 2]")
@click.option(
    "--learning-rate",
    type=FiniteRange(min=0.0, min_open=True),
    help="Fine-tuning: peak of a linear decay [default: 5e-5, with adapters 5e-4]",
)
@click.option("--batch-size", type=click.IntRange(1), help="Fine-tuning: sentences a step [default: 16]")
@click.option("--accumulate", type=click.IntRange(1), help="Fine-tuning: parts of a step, to need less memory")
@click.option("--processes", type=click.IntRange(1), help="Fine-tuning: among so many processes, a GPU each")
@click.option(
    "--patience",
    type=click.IntRange(0),
    help="Fine-tuning: passes without a better F1 on dev before it ends; 0: never [default: 3]",
)
@click.option("--class-weights", type=click.Choice(["none", "balanced"]), help="Fine-tuning: let tags count alike")
@click.option("--lora-rank", type=click.IntRange(0), help="Fine-tuning: adapters of this rank, not all weights")
@click.option(
    "--fused", is_flag=True, default=None, help="Fine-tuning: read the source and its entities beside the text"
)
@click.option("--seed", type=int, help="Fine-tuning: a CRF needs no seed [default: 13]")
@click.option(
    "--if-new-gold",
    type=click.IntRange(1),
    metavar="N",
    help="Only where people have settled N tasks since the last run",
)
@click.option("--dry-run", is_flag=True, help="Only say what the run would learn from and be judged by")
@json_option
def command(
    settings: Settings,
    checkpoint: str | None,
    if_new_gold: int | None,
    dry_run: bool,
    as_json: bool,
    **fine_tuning: float | str | None,
) -> None:
    """Train a model on the silver, then on the gold, judge it on held-out gold and record the run.

    Only tasks of the splits pool and train are learned from. The new model isn't served until `promote`. Two
    trainings of a project never run at once; what a killed one left is removed.
    """
    from xner_label.checkpoints.devices import PlacementRequest
    from xner_label.store.database import open_store
    from xner_label.training.data import DataOptions, described
    from xner_label.training.fine_tuning_job import FineTuningOptions
    from xner_label.training.runs import TrainOptions, new_gold, preview, train

    data = DataOptions.of(settings)
    chosen = {name: value for name, value in fine_tuning.items() if value is not None}
    if chosen and checkpoint is None:
        raise UsageError(
            f"--{next(iter(chosen)).replace('_', '-')} is for fine-tuning", hint="name a checkpoint with --model"
        )
    options = TrainOptions(data, checkpoint, msgspec.convert(chosen, FineTuningOptions))
    with open_store(settings.database_url) as store:
        if dry_run:
            data_report = preview(store, settings.project, options)
            write_json(data_report) if as_json else click.echo(described(data_report))
            return
        if if_new_gold is not None and (settled := new_gold(store, settings.project, data)) < if_new_gold:
            answer(
                {"new_gold": settled},
                f"{counted(settled, 'task')} settled since the last run: not trained",
                as_json=as_json,
            )
            return
        where = PlacementRequest(settings.device, settings.dtype)
        with console_progress(announce=True) as progress:
            report = train(store, settings.project, Path(settings.training_folder), options, progress, where)
    if as_json:
        write_json(report)
        return
    click.echo(f"{report.version}: {report.data.gold} gold, {counted(report.data.silver, 'silver task')}")
    click.echo(f"\n{'split':<8}{'system':<24}{'tasks':>7}{'precision':>11}{'recall':>9}{'F1':>8}  95 % interval")
    click.echo("\n".join(_rows("dev", report.dev) + _rows("test", report.test)) or "no held-out gold to judge by")
    if report.text_alone is not None:
        click.echo(f"texts without a source are answered {report.text_alone.line}")
    if report.data.conflicts:
        count = counted(len(report.data.conflicts), "task, which is", "tasks, which are")
        click.echo(f"annotators disagree on {count} left out: `xner-label conflicts`", err=True)


def _rows(split: str, split_scores: SplitScores | None) -> list[str]:
    if split_scores is None:
        return []
    systems = {
        "silver alone": split_scores.silver,
        "model": split_scores.model,
        "model, text alone": split_scores.text_only,
    }
    return [
        f"{split:<8}{name:<24}{split_scores.tasks:>7}{scores.precision:>11.3f}{scores.recall:>9.3f}{scores.f1:>8.3f}"
        f"  {scores.ci95[0]:.3f} .. {scores.ci95[1]:.3f}"
        for name, scores in systems.items()
        if scores is not None
    ]
