"""Write docs/settings.md from the table of settings: ``python -m tools.settings_page`` in the checkout."""

from __future__ import annotations

from pathlib import Path

from xner_label.settings.rules import Rule
from xner_label.settings.table import FILE_NAME, PRESETS, shown_default, table

PAGE = Path(__file__).resolve().parents[1] / "docs" / "settings.md"


def page() -> str:
    """The whole page, Markdown."""
    settings, secrets = (
        ["| key | environment | default | what | values |", "|---|---|---|---|---|"],
        [
            "| environment | what |",
            "|---|---|",
        ],
    )
    for entry in table():
        environment = ", ".join(f"`{name}`" for name in entry.metadata["env"])
        files = ", ".join(f"`{name}_FILE`" for name in entry.metadata["env"])
        text = entry.metadata["help"]
        if entry.metadata["secret"]:
            secrets.append(f"| {environment}, or {files} | {text} |")
        else:
            if entry.metadata["url"]:
                secrets.append(f"| {environment}, or {files} | {text}, where it holds a password |")
            default, values = _code(shown_default(entry)), _described(entry.metadata["rule"])
            settings.append(f"| `{entry.metadata['toml']}` | {environment} | {default} | {text} | {values} |")
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

They come from the environment, or from a file that the environment names; in `{FILE_NAME}` they are refused. An
empty variable counts as not set.

{_lines(secrets)}

## Presets

A preset changes defaults; whatever is set in the file, the environment or a flag still wins.

{_lines(presets)}
"""


def _code(text: str) -> str:
    return f"`{text}`" if text and " " not in text else text


def _described(rule: Rule | None) -> str:
    return "" if rule is None else rule.described.replace("|", "\\|")


def _lines(rows: list[str]) -> str:
    return "\n".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
