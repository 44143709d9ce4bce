"""The settings file: finding it, writing a new one, changing values in it."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xner_label.errors import ConfigurationError, UsageError
from xner_label.settings.loading import load_settings
from xner_label.settings.table import FILE_NAME, default_of, table


def write_file(file: Path, values: Mapping[str, Any]) -> bool:
    """Write a settings file with these fields and the defaults of what every project decides.

    Returns False, and changes nothing, when the file exists. Raises UsageError when it can't be written.
    """
    named = {entry.name: entry for entry in table()}
    shown = {name: default_of(named[name]) for name in ("labels", "preset", "target_language", "studio_url")}
    sections: dict[str, list[str]] = {}
    for name, value in {**shown, **values}.items():
        section, _, key = named[name].metadata["toml"].rpartition(".")
        # a JSON string or list of strings is TOML too
        text = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
        sections.setdefault(section, []).append(f"# {named[name].metadata['help']}\n{key} = {text}")
    blocks = [
        (f"[{section}]\n" if section else "") + "\n".join(lines) for section, lines in sorted(sections.items())
    ]
    try:
        with open(file, "x", encoding="utf-8") as stream:
            stream.write(
                "# Settings of XNER-Label. Secrets stay in the environment.\n" + "\n\n".join(blocks) + "\n"
            )
    except FileExistsError:
        return False
    except OSError as error:
        raise UsageError(f"can't write {file}: {error.strerror}", hint="check the folder") from None
    return True


def find_file(folder: Path) -> Path | None:
    """The settings file of a folder: ``xner-label.toml``, else a ``pyproject.toml`` that holds our table."""
    own = folder / FILE_NAME
    if own.is_file():
        return own
    shared = folder / "pyproject.toml"
    if shared.is_file() and "[tool.xner-label" in shared.read_text(encoding="utf-8", errors="replace"):
        return shared
    return None


_HEADER = re.compile(r"^\s*\[([^\[\]]+)\]\s*(?:#.*)?$")


def set_values(file: Path, values: Mapping[str, str]) -> None:
    """Set fields of Settings, by name, in a settings file; it is made where it doesn't exist.

    Comments and the other keys stay as they are. Raises ConfigurationError, leaving the file alone, where the
    result wouldn't be a settings file that says what it should, or can't be written.
    """
    keys = {entry.name: entry.metadata["toml"] for entry in table()}
    try:
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        for name, value in values.items():
            section, _, key = keys[name].rpartition(".")
            if file.name == "pyproject.toml":
                section = f"tool.xner-label.{section}".rstrip(".")
            _set(lines, section, key, json.dumps(value, ensure_ascii=False))  # a JSON string is TOML too
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=f".{file.name}.") as folder:
            draft = Path(folder) / file.name
            draft.write_text("\n".join(lines) + "\n", encoding="utf-8")
            found = load_settings(draft, {})
            for name, value in values.items():
                if getattr(found, name) != value:
                    raise ConfigurationError(
                        f"can't set {keys[name]} in {file}",
                        hint=f"write {keys[name]} = {json.dumps(value)} yourself",
                    )
            os.replace(draft, file)
    except OSError as error:
        raise ConfigurationError(f"can't change {file}: {error.strerror}", hint="check the folder") from None


def _set(lines: list[str], section: str, key: str, value: str) -> None:
    """Replace the key's line in its section, or add it at the section's beginning, or add both."""
    current = ""
    start = 0 if not section else -1
    for number, line in enumerate(lines):
        header = _HEADER.match(line)
        if header:
            current = header.group(1).strip()
            start = number + 1 if current == section else start
        elif current == section and re.match(rf"\s*{re.escape(key)}\s*=", line):
            lines[number] = f"{key} = {value}"
            return
    if start < 0:
        lines += ["", f"[{section}]"] if lines else [f"[{section}]"]
        start = len(lines)
    lines.insert(start, f"{key} = {value}")
