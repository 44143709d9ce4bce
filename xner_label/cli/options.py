"""Options that several commands share, and how a command gets its settings."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from xner_label.settings.files import find_file
from xner_label.settings.loading import load_settings
from xner_label.settings.table import Settings, default_of, table

F = TypeVar("F", bound=Callable[..., Any])

_TABLE = {entry.name: entry for entry in table()}


def with_settings(*flags: str) -> Callable[[F], F]:
    """Give a command ``settings``, with ``--config`` and one flag for each named setting."""

    def decorate(function: F) -> F:
        @wraps(function)
        def call(*args: Any, config: Path | None, **options: Any) -> Any:
            given = {name: options.pop(name) for name in flags}
            file = config if config is not None else find_file(Path.cwd())
            settings: Settings = load_settings(file, os.environ, given)
            return function(*args, settings=settings, **options)

        for name in reversed(flags):
            call = _flag(name)(call)
        call = click.option(
            "--config",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Settings file [default: ./xner-label.toml]",
        )(call)
        return call  # type: ignore[return-value]

    return decorate


def _flag(name: str) -> Callable[[F], F]:
    entry = _TABLE[name]
    shown = default_of(entry)
    text = entry.metadata["help"] + (f" [default: {shown}]" if shown not in ("", ()) else "")
    kind = int if entry.type == "int" else float if entry.type == "float" else str
    return click.option(f"--{name.replace('_', '-')}", name, type=kind, default=None, help=text)


json_option = click.option("--json", "as_json", is_flag=True, help="Write one JSON document to standard output")
input_argument = click.argument("input_path", metavar="[FILE|-]", default="-")
output_option = click.option("-o", "--output", "output_path", default="-", metavar="OUT|-", help="Where to write")


def comma_separated(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    """Callback of an option whose value is a list."""
    if value is None:
        return None
    return tuple(part.strip() for part in value.split(",") if part.strip())


labels_option = click.option(
    "--labels", callback=comma_separated, metavar="A,B,...", help="Only these labels [default: all]"
)
