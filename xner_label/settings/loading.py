"""Settings from flags, environment, file, preset and defaults, each value checked."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import Field
from pathlib import Path
from typing import Any, get_args, get_type_hints

from xner_label.errors import ConfigurationError
from xner_label.settings.choices import TAKING_WEIGHTS
from xner_label.settings.rules import Choice, holds_password, problem_of
from xner_label.settings.table import PRESETS, Settings, table

_TYPES = get_type_hints(Settings)
_TABLE = {entry.name: entry for entry in table()}


def load_settings(
    file: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any] | None = None
) -> Settings:
    """Combine flags, environment, file, preset and defaults.

    ``file`` is an ``xner-label.toml`` or a ``pyproject.toml`` with ``[tool.xner-label]``; None reads none.
    ``flags`` holds field names, each value a text or in its field's type; None values are taken as not given.
    Raises ConfigurationError for a file that can't be read or parsed, an unknown key, a value of the wrong type
    or against its rule, and a secret outside the environment.
    """
    values = _from_file(file) if file is not None else {}
    given = {name: _from_flag(name, value) for name, value in (flags or {}).items() if value is not None}
    for layer in (_from_environment(environment), given):
        if "projector" in layer and layer["projector"] not in TAKING_WEIGHTS:
            values.pop("projector_weights", None)  # they belong to the projector that was chosen before
        values |= layer
    projector = values.get("projector", Settings.projector)
    if values.get("projector_weights") and projector not in TAKING_WEIGHTS:
        raise ConfigurationError(
            f"the projector {projector!r} has no weights, and projector_weights names some",
            hint="leave one of them out",
        )
    preset = PRESETS[values.get("preset", Settings.preset)]
    return Settings(**{**preset, **values}, chosen=frozenset(values))


def parse_value(name: str, text: str, where: str) -> Any:
    """A value given as text, in the type of its field; lists have commas between their items.

    ``where`` begins the message. Raises ConfigurationError for another type and for a value against its rule.
    """
    kind = _TYPES[name]
    value: Any = text
    if get_args(kind):
        value = tuple(item.strip() for item in text.split(",") if item.strip())
    elif kind is not str:
        try:
            value = kind(text)
        except ValueError:
            wanted = {"int": "a whole number", "float": "a number"}[kind.__name__]
            raise ConfigurationError(f"{where}: {text!r} is not {wanted}", hint="correct the value") from None
    return ruled(name, value, where)


def ruled(name: str, value: Any, where: str) -> Any:
    """The value, if it follows the rule of its field. Raises ConfigurationError that begins with ``where``."""
    rule = _TABLE[name].metadata["rule"]
    problem = problem_of(rule, value)
    if problem:
        hint = f"choose one of {rule.described}" if isinstance(rule, Choice) else "correct the value"
        raise ConfigurationError(f"{where}: {problem}", hint=hint)
    return value


def refuse_password(name: str, value: Any, where: str) -> None:
    """Raise ConfigurationError where a URL holds a password, outside the environment."""
    entry = _TABLE[name]
    if entry.metadata["url"] and holds_password(value):
        raise ConfigurationError(
            f"{where} holds a password, which doesn't belong where others can read it",
            hint=f"set {_variables(entry)} instead",
        )


def _variables(entry: Field[Any]) -> str:
    """The environment variables of a secret, in words."""
    return " or ".join(f"{name} or {name}_FILE" for name in entry.metadata["env"])


def _from_flag(name: str, value: Any) -> Any:
    flag = f"--{name.replace('_', '-')}"
    refuse_password(name, value, flag)
    return parse_value(name, value, flag) if isinstance(value, str) else ruled(name, value, flag)


def _from_file(file: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"can't read {file}: {error}", hint="check the path, or run `xner-label init`"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{file} isn't valid TOML: {error}", hint="correct the line it names") from None
    if file.name == "pyproject.toml":
        document = document.get("tool", {}).get("xner-label", {})
    by_key = {entry.metadata["toml"]: entry for entry in table()}
    values: dict[str, Any] = {}
    for key, value in _flatten(document):
        entry = by_key.get(key)
        if entry is None:
            raise ConfigurationError(f"{file}: unknown setting {key!r}", hint="docs/settings.md lists them all")
        if entry.metadata["secret"]:
            raise ConfigurationError(
                f"{file}: {key} is a secret and doesn't belong in a file that gets shared",
                hint=f"set {_variables(entry)} instead",
            )
        checked = _checked(entry.name, value, f"{file}: {key}")
        refuse_password(entry.name, checked, f"{file}: {key}")
        values[entry.name] = ruled(entry.name, checked, f"{file}: {key}")
    return values


def _flatten(document: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    items: list[tuple[str, Any]] = []
    for key, value in document.items():
        if isinstance(value, Mapping):
            items += _flatten(value, f"{prefix}{key}.")
        else:
            items.append((prefix + key, value))
    return items


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """What the environment sets. An empty variable says nothing: compose files hold such."""
    values: dict[str, Any] = {}
    for entry in table():
        takes_file = entry.metadata["secret"] or entry.metadata["url"]
        for name in entry.metadata["env"]:
            where, text = name, environment.get(name)
            if not text and takes_file and environment.get(f"{name}_FILE"):
                where = f"{name}_FILE"
                text = _read_secret(where, environment[where])
            if text:
                values[entry.name] = parse_value(entry.name, text, where)
                break
    return values


def _read_secret(variable: str, path: str) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{variable}: the file it names isn't text", hint="check the path") from None
    except OSError as error:
        raise ConfigurationError(
            f"{variable}: can't read the file it names: {error.strerror}", hint="check the path"
        ) from None
    if not text:
        raise ConfigurationError(f"{variable}: the file it names is empty", hint="write the secret into it")
    return text


def _checked(name: str, value: Any, where: str) -> Any:
    """A value from TOML, checked against the type of its field."""
    kind = _TYPES[name]
    if get_args(kind):
        if not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
            raise ConfigurationError(f"{where}: expected a list of strings", hint='for example ["PER", "ORG"]')
        return tuple(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ConfigurationError(
            f"{where}: expected {kind.__name__}, found {type(value).__name__}", hint="correct the value"
        )
    return value
