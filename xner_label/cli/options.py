"""Options that several commands share, and how a command gets its settings."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import click

from xner_label.errors import ConfigurationError
from xner_label.logs import configure_logging, logs_json, run_id
from xner_label.settings.files import find_file
from xner_label.settings.loading import load_settings, parse_value, refuse_password
from xner_label.settings.rules import Choice, Names, Range
from xner_label.settings.table import Settings, shown_default, table
from xner_label.tracing import PARENT_VARIABLE, span, start_tracing

F = TypeVar("F", bound=Callable[..., Any])

# Shorter spellings of flags.
_ALSO = {"projector_weights": ("--weights",)}
# The formats of files that `import` and others read; `xner_label.exchange.readers.formats` has them in full.
READ_FORMATS = (
    *("jsonl", "csv", "text", "conll", "hf", "label-studio"),
    *("doccano", "prodigy", "webanno", "brat", "spacy"),
)
_TABLE = {entry.name: entry for entry in table()}


def settings_flags(*names: str, helps: Mapping[str, str] = MappingProxyType({})) -> Callable[[F], F]:
    """One flag for each named setting; None where it isn't given. ``helps`` replaces the table's words."""

    def decorate(function: F) -> F:
        for name in reversed(names):
            function = _flag(name, helps.get(name))(function)
        return function

    return decorate


def with_settings(*flags: str, helps: Mapping[str, str] = MappingProxyType({})) -> Callable[[F], F]:
    """Give a command ``settings``, with ``--config`` and one flag for each named setting."""

    def decorate(function: F) -> F:
        @wraps(function)
        def call(*args: Any, config: Path | None, **options: Any) -> Any:
            flag_values = {name: options.pop(name) for name in flags}
            if flag_values.get("log_format") is None:
                flag_values["log_format"] = click.get_current_context().find_root().params.get("log_format")
            file = config if config is not None else find_file(Path.cwd())
            settings: Settings = load_settings(file, os.environ, flag_values)
            if (settings.log_format == "json") != logs_json():
                configure_logging(settings.log_format)
            with traced_command(settings.trace_endpoint):
                return function(*args, settings=settings, **options)

        call = settings_flags(*flags, helps=helps)(call)
        call = click.option(
            "--config",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Settings file [default: ./xner-label.toml]",
        )(call)
        return call  # type: ignore[return-value]

    return decorate


@contextmanager
def traced_command(endpoint: str) -> Iterator[None]:
    """A span for the running command, where traces are wanted; what goes on for long has spans of its own."""
    context = click.get_current_context()
    names = [context.info_name or ""]
    while context.parent is not None and context.parent.parent is not None:
        context = context.parent
        names.insert(0, context.info_name or "")
    name = " ".join(names)
    start_tracing({"serve": "backend", "worker": "worker"}.get(name, "cli"), endpoint)
    if name in ("serve", "worker"):
        yield
        return
    with span(f"xner-label {name}", parent=os.environ.get(PARENT_VARIABLE), run=run_id()):
        yield


def is_flag(name: str) -> bool:
    """Whether the running command was given this flag on its command line."""
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.COMMANDLINE


def _flag(name: str, text: str | None = None) -> Callable[[F], F]:
    """The option for a setting: its choices, range and default are the table's."""
    entry = _TABLE[name]
    shown = shown_default(entry)
    text = text or entry.metadata["help"] + (f"  [default: {shown}]" if shown else "")
    flags = [f"--{name.replace('_', '-')}", *_ALSO.get(name, ())]
    return click.option(*flags, name, type=_click_type(name), default=None, help=text)


def _click_type(name: str) -> click.ParamType[Any]:
    rule = _TABLE[name].metadata["rule"]
    if isinstance(rule, Choice) and not (rule.joinable or rule.summable):
        return click.Choice([choice for choice in rule.names if choice])
    if isinstance(rule, Range):
        numbers = click.IntRange if _TABLE[name].type == "int" else FiniteRange
        return numbers(rule.minimum, rule.maximum)  # type: ignore[arg-type]
    return _SettingType(name)


class FiniteRange(click.FloatRange):
    """A number within borders; nan lies within any, and what is infinite has no use."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no number to reckon with", param, ctx)
        return number


class _SettingType(click.ParamType[Any]):
    """A text or list, read and checked as one in the environment is."""

    name = "setting"

    def __init__(self, setting: str) -> None:
        self._setting = setting

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        rule = _TABLE[self._setting].metadata["rule"]
        if isinstance(rule, Choice):
            return f"[{'|'.join(rule.names)}|{'0.5*A+0.1*B' if rule.summable else 'A+B'}]"
        return "A,B,..." if isinstance(rule, Names) else self._setting.rpartition("_")[2].upper()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            refuse_password(self._setting, value, "it")
            return parse_value(self._setting, value, "it") if isinstance(value, str) else value
        except ConfigurationError as error:
            self.fail(str(error).removeprefix("it: "), param, ctx)


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


labels_option = click.option("--labels", type=_SettingType("labels"), help="Only these labels [default: all]")
