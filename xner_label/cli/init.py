"""`xner-label init`: write a settings file."""

from __future__ import annotations

from pathlib import Path

import click

from xner_label.cli.options import json_option, settings_flags
from xner_label.cli.output import answer
from xner_label.settings.files import write_file
from xner_label.settings.table import FILE_NAME


@click.command(name="init")
@settings_flags("labels", "target_language", "preset", "database_url", "studio_url")
@json_option
def command(as_json: bool, **values: object) -> None:
    """Write xner-label.toml in this folder, unless it is there already."""
    file = Path(FILE_NAME)
    written = write_file(file, {name: value for name, value in values.items() if value is not None})
    answer(
        {"file": str(file), "written": written},
        f"wrote {file}; next: xner-label db upgrade" if written else f"{file} is already there and was left alone",
        as_json=as_json,
    )
