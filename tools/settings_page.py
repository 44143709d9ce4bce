"""Write docs/settings.md from the table of settings: ``python -m tools.settings_page`` in the checkout."""

from __future__ import annotations

from pathlib import Path

from xner_label.settings.table import FILE_NAME, PRESETS, default_of, table

PAGE = Path(__file__).resolve().parents[1] / "docs" / "settings.md"


def page() -> str:
    """The whole page, Markdown."""
    settings, secrets = (
        ["| key | environment | default | what |", "|---|---|---|---|"],
        [
            "| environment | what |",
            "|---|---|",
        ],
    )
    for entry in table():
        environment = ", ".join(f"`{name}`" for name in entry.metadata["env"])
        text = entry.metadata["help"]
        if entry.metadata["secret"]:
            files = ", ".join(f"`{name}_FILE`" for name in entry.metadata["env"])
            secrets.append(f"| {environment}, or {files} | {text} |")
        else:
            settings.append(
                f"| `{entry.metadata['toml']}` | {environment} | {_shown(default_of(entry))} | {text} |"
            )
    presets = ["| preset | what it sets |", "|---|---|"]
    for name, values in PRESETS.items():
        presets.append(f"| `{name}` | {', '.join(f'{key} = `{value}`' for key, value in values.items())} |")
    return f"""# Settings

*Written by `make docs` from the table in `xner_label/settings/table.py`.*

A value is taken from the command's flag, else from the environment, else from the file, else from the preset; else
it is the default. The file is `{FILE_NAME}` in the folder where the command runs, or `[tool.xner-label]` in its
`pyproject.toml`, or what `--config` names. A key with a dot belongs into a table: `studio.url` is `url` under
`[studio]`. An unknown key is an error.

{_lines(settings)}

## Secrets

They come from the environment, or from a file that the environment names, and are refused in `{FILE_NAME}`.

{_lines(secrets)}

## Presets

A preset changes defaults; whatever is set in the file, the environment or a flag still wins.

{_lines(presets)}
"""


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        value = ", ".join(map(str, value))
    return f"`{value}`" if value not in ("", None) else ""


def _lines(rows: list[str]) -> str:
    return "\n".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
