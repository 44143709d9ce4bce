"""`xner-label init`: write a settings file."""

from __future__ import annotations

from pathlib import Path

import click

from xner_label.cli.options import settings_flags
from xner_label.settings.files import write_file
from xner_label.settings.table import FILE_NAME


@click.command(name="init")
@settings_flags("labels", "target_language", "preset", "database_url", "studio_url")
def command(**values: object) -> None:
    """Write xner-label.toml in this folder, unless it is there already."""
    file = Path(FILE_NAME)
    if write_file(file, {name: value for name, value in values.items() if value is not None}):
        click.echo(f"wrote {file}; next: xner-label db upgrade", err=True)
    else:
        click.echo(f"{file} is already there and was left alone", err=True)
