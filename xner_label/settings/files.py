"""The settings file: finding it, writing a new one, changing values in it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from xner_label.errors import ConfigurationError, UsageError
from xner_label.jsonl import open_output
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
    file = folder / FILE_NAME
    if file.is_file():
        return file
    shared = folder / "pyproject.toml"
    if shared.is_file() and "[tool.xner-label" in shared.read_text(encoding="utf-8", errors="replace"):
        return shared
    return None


def set_values(file: Path, values: Mapping[str, str]) -> None:
    """Set fields of Settings, by name, in a settings file; it is made where it doesn't exist.

    Comments, the other keys, line ends, a byte order mark, permissions and a symbolic link stay as they are.
    Raises ConfigurationError, leaving the file alone, where it can't be read or written, or where the result
    wouldn't be a settings file that says what it should.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    keys = {entry.name: entry.metadata["toml"] for entry in table()}
    try:
        before = file.read_bytes().decode() if file.exists() else ""
        mark = "\ufeff" if before.startswith("\ufeff") else ""  # as editors of Windows write it
        before = before.removeprefix(mark)
        document = tomlkit.parse(before)
        root = ("tool", "xner-label") if file.name == "pyproject.toml" else ()
        for name, value in values.items():
            _set(document, [*root, *keys[name].split(".")], value)
        after = tomlkit.dumps(document)
        if "\r\n" in before:
            after = after.replace("\r\n", "\n").replace("\n", "\r\n")
        _require(after, file.name, values)
        with open_output(file) as stream:
            stream.write(f"{mark}{after}".encode())
    except (OSError, UsageError) as error:
        problem = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigurationError(f"can't change {file}: {problem}", hint="check the folder") from None
    except (TOMLKitError, UnicodeDecodeError, TypeError, ValueError) as error:
        raise ConfigurationError(f"can't change {file}: {error}", hint="correct the file first") from None


def _set(table: MutableMapping[str, Any], keys: Sequence[str], value: str) -> None:
    """Set a value by its path, making tables on the way. Raises TypeError where something else stands there."""
    import tomlkit

    *path, last = keys
    for key in path:
        if key not in table:
            table[key] = tomlkit.table(is_super_table=key == "tool")
        table = table[key]
        if not isinstance(table, MutableMapping):
            raise TypeError(f"{key} is no table")
    table[last] = value


def _require(text: str, name: str, values: Mapping[str, str]) -> None:
    """Raise ConfigurationError unless the text is a settings file with these values."""
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / name
        draft.write_bytes(text.encode())
        loaded = load_settings(draft, {})
    for field, value in values.items():
        if getattr(loaded, field) != value:
            raise ConfigurationError(f"can't set {field} to {value!r}", hint=f"write it into {name} yourself")
