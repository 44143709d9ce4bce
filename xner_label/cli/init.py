"""`xner-label init`: write a settings file."""

from __future__ import annotations

from pathlib import Path

import click

from xner_label.settings.files import write_file
from xner_label.settings.table import FILE_NAME, PRESETS


@click.command(name="init")
@click.option("--labels", help="Label set, comma-separated [default: PER,ORG,LOC,DATE]")
@click.option("--target-language", help="ISO 639 code of the language to annotate")
@click.option("--preset", type=click.Choice(list(PRESETS)), help="Pipeline preset [default: offline]")
@click.option("--database-url", help="SQLAlchemy URL of the store [default: sqlite:///xner-label.db]")
@click.option("--studio-url", help="Address of Label Studio [default: http://127.0.0.1:8080]")
def command(labels: str | None, **values: str | None) -> None:
    """Write xner-label.toml in this folder, unless it is there already."""
    file = Path(FILE_NAME)
    chosen: dict[str, object] = {name: value for name, value in values.items() if value is not None}
    if labels is not None:
        chosen["labels"] = tuple(item.strip() for item in labels.split(",") if item.strip())
    if write_file(file, chosen):
        click.echo(f"wrote {file}; next: xner-label db upgrade", err=True)
    else:
        click.echo(f"{file} is already there and was left alone", err=True)
