"""Changing single values of a settings file without touching the rest of it."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from xner_label.errors import ConfigurationError
from xner_label.settings import load_settings, table

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
