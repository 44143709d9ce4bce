"""``xner-label fit-projector``: learn the default projector's weights from gold."""

from __future__ import annotations

from pathlib import Path

import click

from xner_label.cli.options import json_option, output_option
from xner_label.cli.output import answer, require_file, require_other_file, say
from xner_label.cli.progress import console_progress


@click.command()
@click.argument(
    "gold",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="GOLD...",
)
@output_option
@click.option("--from-scratch", is_flag=True, help="Forget the shipped weights instead of adapting them")
@click.option("--corpus", is_flag=True, help="Fit corpus mode as well: minutes; each file is a corpus")
@json_option
def command(gold: tuple[Path, ...], output_path: str, from_scratch: bool, corpus: bool, as_json: bool) -> None:
    """Fit the default projector's weights on files of tasks whose "entities" people have settled.

    Each task is as for `xner-label project`. A few dozen sentences adapt the shipped weights to a language; the
    same files give the same weights.
    """
    from xner_label.jsonl import open_output
    from xner_label.projection.fitting.files import fit_files

    require_file(output_path, as_json=as_json)
    require_other_file(output_path, gold)
    with console_progress() as progress:
        progress.begin("fitting")
        weights = fit_files(gold, from_scratch=from_scratch, corpus=corpus)
    with open_output(output_path) as sink:
        sink.write(weights.dump())
    words = f"weights {weights.digest}, fitted on {weights.fitted_on}; default cut {weights.cut:g}"
    if output_path == "-":
        say(words)
    else:
        document = {"weights": output_path, "digest": weights.digest, "cut": weights.cut}
        answer(document, words, as_json=as_json)
