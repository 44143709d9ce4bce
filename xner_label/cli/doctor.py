"""`xner-label doctor`: is everything there?"""

from __future__ import annotations

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import write_json
from xner_label.errors import CheckFailedError
from xner_label.settings.table import Settings


@click.command(name="doctor")
@with_settings("preset", "database_url", "project", "studio_url", "backend_url")
@json_option
def command(settings: Settings, as_json: bool) -> None:
    """Check versions, models, the database and Label Studio; name the remedy for what is missing."""
    from xner_label.reporting.diagnosis import diagnose

    diagnosis = diagnose(settings)
    if as_json:
        write_json({"healthy": not diagnosis.failed, "checks": diagnosis.checks})
    else:
        width = max(len(check.name) for check in diagnosis.checks)
        for check in diagnosis.checks:
            click.echo(f"{check.verdict:2}  {check.name:{width}}  {check.found}")
            if check.remedy:
                click.echo(f"{'':4}{'':{width}}  -> {check.remedy}")
    if diagnosis.failed:
        names = ", ".join(check.name for check in diagnosis.failed)
        raise CheckFailedError(f"put right: {names}", hint="each remedy is shown beside its check")
