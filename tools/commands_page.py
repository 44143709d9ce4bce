"""Write docs/commands.md from the command line itself: ``python -m tools.commands_page`` in the checkout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from xner_label.cli.main import COMMANDS, cli

PAGE = Path(__file__).resolve().parents[1] / "docs" / "commands.md"


def page() -> str:
    """The whole page, Markdown."""
    sections = [_section(name, command) for name, command in commands()]
    index = "\n".join(f"| [`{name}`](#xner-label-{name}) | {text} |" for name, text in COMMANDS.items())
    return f"""# Commands

*Written by `make docs` from the command line itself.*

Results go to standard output, as text or, with `--json`, as one JSON document; whatever else there is to say goes
to standard error. [Exit codes](exit-codes.md) are the same for all commands. A flag that names a setting wins over
the environment, which wins over the [settings file](settings.md).

| command | what it does |
|---|---|
{index}

{"".join(sections).rstrip()}
"""


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command by its whole name, groups before what is in them."""
    root = click.Context(cli, info_name="xner-label")
    for name in cli.list_commands(root):
        command = cli.get_command(root, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", subcommand) for inner, subcommand in command.commands.items())


def _section(name: str, command: click.Command) -> str:
    context = click.Context(
        command,
        info_name=f"xner-label {name}",
        terminal_width=100,
        max_content_width=100,
        **cli.context_settings,
    )
    level = "##" if " " not in name else "###"
    return f"{level} xner-label {name}\n\n```text\n{command.get_help(context)}\n```\n\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
