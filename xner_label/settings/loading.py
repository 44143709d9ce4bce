"""Settings from flags, environment, file, preset and defaults, each value checked."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

from xner_label.errors import ConfigurationError
from xner_label.settings.table import PRESETS, Settings, table

_TYPES = get_type_hints(Settings)


def load_settings(
    file: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any] | None = None
) -> Settings:
    """Combine flags, environment, file, preset and defaults.

    ``file`` is an ``xner-label.toml`` or a ``pyproject.toml`` with ``[tool.xner-label]``; None reads none.
    ``flags`` holds field names; None values are taken as not given. Raises ConfigurationError for a file that
    can't be read or parsed, an unknown key, a value of the wrong type, a secret in the file and an unknown preset.
    """
    values = _from_file(file) if file is not None else {}
    values |= _from_environment(environment)
    values |= {name: value for name, value in (flags or {}).items() if value is not None}
    preset = values.get("preset", Settings.preset)
    if preset not in PRESETS:
        raise ConfigurationError(f"unknown preset {preset!r}", hint=f"choose one of {', '.join(PRESETS)}")
    return Settings(**{**PRESETS[preset], **values})


def _from_file(file: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
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
            names = " or ".join(entry.metadata["env"])
            raise ConfigurationError(
                f"{file}: {key} is a secret and doesn't belong in a file that gets shared",
                hint=f"set {names} instead",
            )
        values[entry.name] = _checked(entry.name, value, f"{file}: {key}")
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
    values: dict[str, Any] = {}
    for entry in table():
        for name in entry.metadata["env"]:
            text = environment.get(name)
            if text is None and entry.metadata["secret"] and f"{name}_FILE" in environment:
                text = _read_secret(name + "_FILE", environment[f"{name}_FILE"])
            if text:
                values[entry.name] = _parsed(entry.name, text, name)
                break
    return values


def _read_secret(variable: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigurationError(
            f"{variable}: can't read the file it names: {error.strerror}", hint="check the path"
        ) from None


def _parsed(name: str, text: str, where: str) -> Any:
    """A value given as text, in the type of its field."""
    kind = _TYPES[name]
    if kind is str:
        return text
    if get_args(kind):
        return tuple(item.strip() for item in text.split(",") if item.strip())
    try:
        return kind(text)
    except ValueError:
        raise ConfigurationError(f"{where}: {text!r} is not a {kind.__name__}", hint="correct the value") from None


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
