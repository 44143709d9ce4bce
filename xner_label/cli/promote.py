"""`xner-label promote`: serve a model run, if it isn't worse than the one that is served."""

from __future__ import annotations

from pathlib import Path

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import answer, say
from xner_label.cli.progress import console_progress
from xner_label.errors import UsageError
from xner_label.settings.table import Settings
from xner_label.wording import counted


@click.command(name="promote")
@with_settings("database_url", "project", "training_folder", "dev_share", "device", "dtype")
@click.option("--run", "version", metavar="VERSION", help="The run to serve [default: the newest]")
@click.option("--force", is_flag=True, help="Serve it whatever the gate says; needs --reason")
@click.option("--reason", help="Why the gate is overridden; recorded")
@click.option("--by", metavar="WHO", help="Who says so; recorded [default: the system's user]")
@click.option(
    "--predict/--no-predict", "predicts", default=True, help="Let it predict all tasks at once [default]"
)
@json_option
def command(
    settings: Settings,
    version: str | None,
    force: bool,
    reason: str | None,
    by: str | None,
    predicts: bool,
    as_json: bool,
) -> None:
    """Make a model run the one that is served.

    It is compared with the one served now on gold that neither has learned from; a run that is worse there, or by
    more than .02 on one type of entity, is refused with exit code 6. The ML backend takes over a promoted run
    without a restart. What waits in Label Studio gets its predictions with the next `push`.
    """
    from xner_label.checkpoints.devices import PlacementRequest
    from xner_label.predicting.with_model import predict_with_model
    from xner_label.store.database import open_store
    from xner_label.training.data import DataOptions
    from xner_label.training.promotion import promote
    from xner_label.training.registry import current_user

    if force != (reason is not None):
        raise UsageError("--force and --reason belong together", hint="say why the gate is overridden")
    folder, where = Path(settings.training_folder), PlacementRequest(settings.device, settings.dtype)
    with open_store(settings.database_url) as store:
        report = promote(
            store,
            settings.project,
            folder,
            version,
            force_reason=reason,
            by=by or current_user(),
            data=DataOptions(dev_share=settings.dev_share),
            where=where,
        )
        state = "promoted" if report.promoted else "unchanged"
        answer(report, f"{report.version}: {state}, {report.reason}", as_json=as_json)
        if report.promoted and predicts:
            with console_progress() as progress:
                made = predict_with_model(
                    store, settings.project, folder, progress, where=where, without_source=settings.without_source
                )
            say(
                f"{counted(made.predicted, 'task')} predicted; `xner-label push` brings this to "
                f"what waits for review"
            )
