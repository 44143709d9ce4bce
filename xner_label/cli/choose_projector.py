"""``xner-label choose-projector``: which projector suits a language, on a little gold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from xner_label.cli.options import json_option
from xner_label.cli.output import answer, say
from xner_label.cli.progress import console_progress
from xner_label.wording import counted

if TYPE_CHECKING:
    from xner_label.benchmark.choosing import Choice


@click.command()
@click.argument("gold", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Settings file to write the choice to [default: ./xner-label.toml]",
)
@click.option(
    "--weights-output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("projector-weights.json"),
    show_default=True,
    help="Where weights adapted to the gold go, if they are chosen",
)
@click.option("--dry-run", is_flag=True, help="Compare only, write nothing")
@json_option
def command(gold: Path, config: Path | None, weights_output: Path, dry_run: bool, as_json: bool) -> None:
    """Compare all projectors on GOLD and write the choice to the settings.

    GOLD holds tasks as for `xner-label project` whose "entities" people have settled. The default stays unless
    another projector is better beyond chance.
    """
    from xner_label.benchmark.choosing import ADAPTED, choose_projector
    from xner_label.jsonl import open_output
    from xner_label.settings.files import find_file, set_values
    from xner_label.settings.table import FILE_NAME

    with console_progress() as progress:
        progress.begin("comparing projectors")
        choice = choose_projector(gold)
    values = {"projector": "default" if choice.chosen == ADAPTED else choice.chosen, "projector_weights": ""}
    file = config or find_file(Path.cwd()) or Path(FILE_NAME)
    if not dry_run:
        if choice.weights is not None:
            values["projector_weights"] = str(weights_output)
            with open_output(weights_output) as sink:
                sink.write(choice.weights.dump())
        set_values(file, values)
    document = {
        "chosen": choice.chosen,
        "contenders": choice.contenders,
        "left_out": choice.left_out,
        "tasks": choice.tasks,
        "entities": choice.entities,
        "unjudged": choice.unjudged,
    }
    if choice.unjudged:
        lacking = "task left out: it lacks", "tasks left out: they lack"
        say(f"{counted(choice.unjudged, *lacking)} source, source_entities or entities")
    answer(document, _table(choice), as_json=as_json)
    if not dry_run:
        say(f"wrote projector = {values['projector']!r} to {file}")


def _table(choice: Choice) -> str:
    lines = [
        f"{'projector':<22}{'F1':>7}{'95 % interval':>17}{'P':>7}{'R':>7}{'over default':>14}{'interval':>19}"
    ]
    for contender in choice.contenders:
        interval = f"{contender.ci95[0]:.3f} .. {contender.ci95[1]:.3f}"
        paired = f"{contender.over_default_ci95[0]:+.3f} .. {contender.over_default_ci95[1]:+.3f}"
        lines.append(
            f"{contender.name:<22}{contender.f1:>7.3f}{interval:>17}{contender.precision:>7.3f}{contender.recall:>7.3f}"
            f"{contender.over_default:>+14.3f}{paired:>19}"
        )
    lines += [f"{name}: left out, {reason}" for name, reason in choice.left_out.items()]
    lines.append(
        f"chosen on {counted(choice.tasks, 'task')} with {counted(choice.entities, 'entity')}: {choice.chosen}"
    )
    return "\n".join(lines)
