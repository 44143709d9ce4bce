"""``xner-label simulate``: the loop of review, with known entities playing the people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from xner_label.cli.options import FiniteRange, comma_separated, json_option
from xner_label.cli.output import write_json
from xner_label.errors import UsageError

if TYPE_CHECKING:
    from xner_label.simulation.loop import Run

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_HEAD = (
    f"{'strategy':<16}{'seed':>5}{'budget':>7}{'names':>6}{'tokens':>8}{'min':>7}{'pool':>8}{'rest':>8}{'test':>8}"
    f"{'text':>8}{'gold':>8}{'AUROC':>8}{'at cut':>8}{'ECE':>7}"
)


@click.command()
@click.argument("pool", type=_FILE)
@click.argument("test", type=_FILE)
@click.option("--strategy", "strategies", multiple=True, default=("least-confident",), show_default=True)
@click.option(
    "--budgets",
    callback=comma_separated,
    default="0,50,100,200",
    show_default=True,
    metavar="N,...",
    help="Sentences reviewed, after which everything is learned from and judged",
)
@click.option("--names", callback=comma_separated, metavar="N,...", help="Questions about names after each budget")
@click.option(
    "--minutes",
    callback=comma_separated,
    metavar="N,...",
    help="Minutes of one queue of sentences and names, after which the same is done",
)
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Draws of each strategy")
@click.option(
    "--reviewer-error",
    type=FiniteRange(0.0, 1.0),
    default=0.0,
    show_default=True,
    help="How often an answer is wrong",
)
@click.option("--weights", type=_FILE, help="Projector weights [default: the shipped ones]")
@click.option("--plot", "file", type=click.Path(dir_okay=False, path_type=Path), help="Draw the curves into it")
@click.option("--no-text", is_flag=True, help="Train no tagger of the text alone: half of the time")
@json_option
def command(
    pool: Path,
    test: Path,
    strategies: tuple[str, ...],
    budgets: tuple[str, ...],
    names: tuple[str, ...] | None,
    seeds: int,
    minutes: tuple[str, ...] | None,
    reviewer_error: float,
    weights: Path | None,
    file: Path | None,
    no_text: bool,
    as_json: bool,
) -> None:
    """Review POOL as people would, by each STRATEGY, and judge what it is worth on TEST.

    Both hold tasks as for `xner-label project` with gold in "entities", which plays the people. They may be the
    same file: then the tasks whose "split" is "train" are the pool, those with "test" the test set. --json gives
    everything with intervals, and what the same answers are worth without spreading.
    """
    from xner_label.simulation.files import SimulationOptions, simulate_files

    options = SimulationOptions(
        strategies=strategies,
        budgets=_numbers("--budgets", budgets),
        names=_numbers("--names", names or ()),
        minutes=_numbers("--minutes", minutes or ()),
        seeds=seeds,
        error=reviewer_error,
        text=not no_text,
    )
    lines = iter([_HEAD])

    def tell(run: Run) -> None:
        for line in (*lines, _line(run)):  # the head with the first
            click.echo(line)

    report = simulate_files(pool, test, options, weights, progress=lambda run: None if as_json else tell(run))
    if file is not None:
        from xner_label.simulation.curves import plot_curves

        plot_curves({"": report.runs}, file)
    if as_json:
        write_json(report)


def _numbers(flag: str, values: tuple[str, ...]) -> list[int]:
    try:
        numbers = [int(value) for value in values]
    except ValueError:
        numbers = [-1]
    if any(number < 0 for number in numbers):
        raise UsageError(f"{flag} takes whole numbers, 0 or more", hint=f"for example {flag} 0,100,200")
    return numbers


def _line(run: Run) -> str:
    scores = (
        run.pool_f1,
        run.rest_f1,
        run.test_f1,
        run.text_f1,
        run.gold_only_text_f1,
        run.auroc,
        run.auroc_at_cut,
    )
    shown = "".join(f"{'-':>8}" if score is None else f"{score:>8.4f}" for score in scores)
    ece = f"{'-':>7}" if run.ece is None else f"{run.ece:>7.3f}"
    head = f"{run.strategy:<16}{run.seed:>5}{run.budget:>7}{run.names:>6}{run.tokens:>8}{run.minutes:>7.1f}"
    return f"{head}{shown}{ece}"
