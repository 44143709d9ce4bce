"""A simulation on files: reading them, and all runs side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from xner_label import __version__
from xner_label.entities import Task
from xner_label.errors import UsageError
from xner_label.jsonl import read_values
from xner_label.projection.loglinear.weights_file import Weights
from xner_label.simulation.loop import Run, Simulation
from xner_label.wording import counted

POOL_SPLIT, TEST_SPLIT = "train", "test"


class SplitTask(Task, frozen=True, omit_defaults=True, kw_only=True):
    """A task that says which part of a file it belongs to."""

    split: str | None = None


class SimulationReport(msgspec.Struct, frozen=True):
    """What was run on what, and the state of every loop at every step."""

    signature: str
    runs: list[Run]


class SimulationOptions(msgspec.Struct, frozen=True, kw_only=True):
    """``budgets``: numbers of sentences after which to learn and to judge, 0 for the start; ``names``: numbers of
    questions about names after each; ``minutes``: times after which to judge one queue of both; ``seeds``: how
    many draws of each strategy that draws; ``error``: how often a reviewer is wrong; ``text``: whether to train
    taggers of the text alone, which takes half of the time."""

    strategies: Sequence[str]
    budgets: Sequence[int]
    names: Sequence[int] = ()
    minutes: Sequence[int] = ()
    seeds: int = 1
    error: float = 0.0
    text: bool = True


def simulate_files(
    pool: Path,
    test: Path,
    options: SimulationOptions,
    weights: Path | None = None,
    progress: Callable[[Run], None] = lambda run: None,
) -> SimulationReport:
    """Run every strategy and seed on the same corpus. ``progress`` is told every state as it comes.

    Where POOL and TEST are one file, its tasks' ``split`` says which are which. Raises RecordError with the line
    of the first bad task, UsageError and ConfigurationError as :class:`Simulation` does.
    """
    pool_tasks, test_tasks = read_pool_and_test(pool, test)
    loaded = Weights.load(weights)
    simulation = Simulation(pool_tasks, test_tasks, loaded)
    runs: list[Run] = []
    for strategy in options.strategies:
        for seed in range(options.seeds):
            loop = simulation.run(
                strategy,
                options.budgets,
                names=options.names,
                seed=seed,
                error=options.error,
                text=options.text,
            )
            for run in loop:
                runs.append(run)
                progress(run)
    if options.minutes:
        for run in simulation.run_queue(options.minutes, error=options.error, text=options.text):
            runs.append(run)
            progress(run)
    return SimulationReport(f"xner-label/{__version__} {simulation.signature}", runs)


def read_pool_and_test(pool: Path, test: Path) -> tuple[list[SplitTask], list[SplitTask]]:
    """The tasks of both files; of one file by split. Raises UsageError where one of the splits isn't there."""
    if pool.resolve() != test.resolve():
        return list(read_values(pool, SplitTask)), list(read_values(test, SplitTask))
    tasks = list(read_values(pool, SplitTask))
    parts = [[task for task in tasks if task.split == split] for split in (POOL_SPLIT, TEST_SPLIT)]
    if tasks and not all(parts):
        raise UsageError(
            f"{pool} is pool and test set, and of its {counted(len(tasks), 'task')} {len(parts[0])} "
            f"have the split {POOL_SPLIT!r} and {len(parts[1])} {TEST_SPLIT!r}",
            hint="give each task a `split`, or name two files",
        )
    return parts[0], parts[1]
