"""Running a whole grid, or saying what it would take."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from xner_label.benchmark.data import Dataset
from xner_label.benchmark.grid import Cell, Grid, Pending, Result, Runner, cells_of
from xner_label.benchmark.kept import Kept
from xner_label.benchmark.methods import TRANSFER
from xner_label.benchmark.report import LeftOut, Report, build_report
from xner_label.benchmark.weaknesses import Probe
from xner_label.errors import UsageError
from xner_label.progress import Progress, duration
from xner_label.settings.choices import CHECKPOINT_TRANSLATORS
from xner_label.settings.table import Settings

# Kinds of stages that run a checkpoint; a tagger of the target language has none.
_RUN_CHECKPOINTS = frozenset({"", "gliner", "mt-encoder", "simalign", "simalign-package", *CHECKPOINT_TRANSLATORS})
_LANGUAGE = re.compile(r"[a-z]{2,3}([_-][A-Za-z]{4})?")


class StageWork(msgspec.Struct, frozen=True):
    """What a stage has left to do on a dataset; ``seconds`` by its speed so far, or on a few texts that it was
    tried on (None: it wasn't)."""

    data: str
    stage: str
    texts: int
    seconds: float | None


class NeededModel(msgspec.Struct, frozen=True):
    """A checkpoint that a stage needs: whether it is here, and the gigabytes that fetching it brings, if known."""

    name: str
    here: bool
    gigabytes: float | None


class Plan(msgspec.Struct, frozen=True):
    """What a benchmark would do: ``methods`` rows to compute, ``kept`` ones that are there, the stages' work, the
    checkpoints that are needed, and what is left out as things are."""

    methods: int
    kept: int
    work: list[StageWork]
    models: list[NeededModel]
    left_out: list[LeftOut]


def run_benchmark(
    grid: Grid,
    datasets: Sequence[Dataset],
    settings: Settings,
    kept: Kept,
    progress: Progress,
    *,
    probe: bool = False,
) -> Report:
    """Run every cell on every dataset; ``probe`` adds what the best of them on each dataset is weak at.

    Systems that can't be run are left out with the reason. Raises UsageError where that is all of them, or two
    datasets have one name.
    """
    results: dict[str, tuple[Dataset, Sequence[Result]]] = {}
    probes: list[Probe] = []
    cells = list(cells_of(grid))
    for dataset, runner in _runners(grid, datasets, settings, kept, progress):
        done: list[Result] = []
        took: list[float] = []  # seconds of the rows that weren't kept
        for cell in cells:
            left = _left(sum(took), len(took), len(cells) - len(done))
            runner.place = f"row {len(done) + 1} of {len(cells)}{left}"
            begun = time.monotonic()
            done.append(runner.run(cell))
            if runner.computed:
                took.append(time.monotonic() - begun)
        results[dataset.name] = (dataset, done)
        best = _best(done) if probe else None
        weakest = None if best is None else runner.probe(best)
        probes += [weakest] if weakest is not None else []
    report = msgspec.structs.replace(build_report(grid, results), probes=probes)
    if all(row.published for row in report.rows):
        reason = report.left_out[0].reason if report.left_out else "a method needs --target-taggers"
        raise UsageError(
            f"nothing can be measured: {reason}", hint="see --translators, --taggers, --aligners, --target-taggers"
        )
    return report


def _left(seconds: float, rows: int, rest: int) -> str:
    """How long the rest takes if it goes on as it did, in words; empty before the first row is there."""
    return f", {duration(seconds / rows * rest)} left" if rows else ""


def _best(results: Sequence[Result]) -> Cell | None:
    """The system with the highest F1 among those that project, as it is."""
    scored = [
        (result.outcome.scores.f1, result.cell)
        for result in results
        if result.outcome is not None and result.cell.as_it_is and result.cell.method != TRANSFER
    ]
    return max(scored, key=lambda pair: pair[0])[1] if scored else None


def plan_benchmark(
    grid: Grid, datasets: Sequence[Dataset], settings: Settings, kept: Kept, progress: Progress
) -> Plan:
    """What :func:`run_benchmark` would do; stages of unknown speed are tried on a few texts."""
    work: dict[tuple[str, str], StageWork] = {}
    left_out: list[LeftOut] = []
    count: Counter[str] = Counter()
    cells = list(cells_of(grid))
    for dataset, runner in _runners(grid, datasets, settings, kept, progress):
        for cell in cells:
            pending = runner.pending(cell)
            if pending.left_out:
                left_out.append(LeftOut(dataset.name, str(cell), pending.left_out))
                continue
            count["methods" if pending.method else "kept"] += 1
            for stage in _work(dataset, pending):
                work.setdefault((stage.data, stage.stage), stage)
    return Plan(count["methods"], count["kept"], list(work.values()), _models(grid, settings), left_out)


def _models(grid: Grid, settings: Settings) -> list[NeededModel]:
    """The checkpoints that the grid's stages need, each once; files, pipelines and endpoints are none."""
    from xner_label.checkpoints.hub import MODELS, folder_of

    named: dict[str, None] = {}
    for role, choices in (
        ("translator", grid.translators),
        ("tagger", grid.taggers),
        ("aligner", grid.aligners),
        ("", grid.target_taggers),
    ):
        for choice in choices:
            model = choice.model or (getattr(settings, f"{role}_model") if role else "")
            if model and choice.kind in _RUN_CHECKPOINTS and not Path(model).is_file():
                named[model] = None
    return [
        NeededModel(name, folder_of(name) is not None, MODELS[name].gigabytes if name in MODELS else None)
        for name in named
    ]


def _work(dataset: Dataset, pending: Pending) -> Iterator[StageWork]:
    for role, (texts, speed) in pending.texts.items():
        choice = getattr(pending.cell, role.replace("-", "_"))
        yield StageWork(dataset.name, f"{role} {choice}", texts, None if speed is None else texts * speed)


def _runners(
    grid: Grid, datasets: Sequence[Dataset], settings: Settings, kept: Kept, progress: Progress
) -> Iterator[tuple[Dataset, Runner]]:
    """Each dataset with its runner; a dataset whose name is a language code is in that language."""
    twice = [name for name, times in Counter(dataset.name for dataset in datasets).items() if times > 1]
    if twice:
        raise UsageError(
            f"two datasets are called {twice[0]!r}", hint="name them: NAME=PATH, for example lug=FILE"
        )
    for dataset in datasets:
        language = dataset.name if _LANGUAGE.fullmatch(dataset.name) else settings.target_language
        yield dataset, Runner(grid, dataset, replace(settings, target_language=language), kept, progress)
