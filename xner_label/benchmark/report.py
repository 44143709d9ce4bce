"""The results of a grid as one document: rows, averages, advice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np

from xner_label.benchmark.advice import Advice, advise
from xner_label.benchmark.data import Dataset
from xner_label.benchmark.grid import Grid, Result
from xner_label.benchmark.kept import Cost
from xner_label.benchmark.outcome import LEVEL, RESAMPLES, SEED, Outcome, difference, interval, mean_resampled
from xner_label.benchmark.published import published_figures
from xner_label.benchmark.weaknesses import Probe
from xner_label.evaluation.signature import data_hash, signature
from xner_label.evaluation.strict_scores import Scores
from xner_label.review.error_sources import ErrorSources

# Whether a row judges the whole pipeline, or the projection of source entities that people gave.
Kind = Literal["extrinsic", "intrinsic", "published"]


class Difference(msgspec.Struct, frozen=True):
    """F1 less that of the best row of the same data and kind, with the paired bootstrap's interval."""

    f1: float
    ci95: tuple[float, float]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row: a method on a dataset. Published ones have neither interval nor precision, recall, n and seconds.

    ``system`` names method and stages in one line. ``seconds`` and ``mib`` are the method's own, ``stages`` what
    the stages before it took, whenever that was. ``failed`` tasks count as without entities. ``remark`` says on
    what a published figure was measured.
    """

    data: str
    method: str
    system: str
    f1: float
    ci95: tuple[float, float] | None = None
    precision: float | None = None
    recall: float | None = None
    n: int | None = None
    seconds: float | None = None
    published: bool = False
    kind: Kind
    translator: str | None = None
    tagger: str | None = None
    aligner: str | None = None
    target_tagger: str | None = None
    noise: str | None = None
    reviews: int | None = None
    to_best: Difference | None = None
    per_label: dict[str, Scores] = {}
    mib: float | None = None
    stages: dict[str, Cost] = {}
    failed: int = 0
    errors: ErrorSources | None = None
    signature: str | None = None
    remark: str = ""


class Average(msgspec.Struct, frozen=True):
    """A system's mean F1 over all datasets, each counting the same."""

    system: str
    kind: Kind
    f1: float
    ci95: tuple[float, float]


class LeftOut(msgspec.Struct, frozen=True):
    """A system that wasn't measured, and why."""

    data: str
    system: str
    reason: str


class Report(msgspec.Struct, frozen=True):
    """Everything that a benchmark says. Rows of a dataset are in order: measured before published, best first."""

    signature: str
    rows: list[Row]
    averages: list[Average]
    left_out: list[LeftOut]
    advice: Advice | None
    probes: list[Probe] = []


def build_report(grid: Grid, results: Mapping[str, tuple[Dataset, Sequence[Result]]]) -> Report:
    """The document of results by dataset's name."""
    rows: list[Row] = []
    left_out: list[LeftOut] = []
    for name, (dataset, of_dataset) in results.items():
        rows += _rows(dataset, of_dataset)
        left_out += [
            LeftOut(name, str(result.cell), result.left_out) for result in of_dataset if result.outcome is None
        ]
        rows += [
            Row(
                data=name,
                method=figure.system.name,
                system=figure.system.name,
                f1=figure.f1,
                published=True,
                kind="published",
                remark=figure.system.setup,
            )
            for figure in published_figures(name)
        ]
    return Report(
        signature(
            data=data_hash([dataset.digest for dataset, _ in results.values()]),
            labels="all" if grid.labels is None else ",".join(grid.labels),
            resamples=RESAMPLES,
            seed=SEED,
            level=LEVEL,
        ),
        rows,
        _averages(results),
        left_out,
        advise([of_dataset for _, of_dataset in results.values()], is_intrinsic(results)),
    )


def is_intrinsic(results: Mapping[str, tuple[Dataset, Sequence[Result]]]) -> bool:
    """Whether people gave every source entity that any dataset brings."""
    return all(_given_by_people(dataset) for dataset, _ in results.values())


def _given_by_people(dataset: Dataset) -> bool:
    given = [entity for task in dataset.tasks for entity in task.source_entities or ()]
    return bool(given) and all(entity.score is None for entity in given)


def _kind(dataset: Dataset, result: Result) -> Kind:
    given = result.cell.tagger is not None and result.cell.tagger.kind == "given"
    return "intrinsic" if given and _given_by_people(dataset) else "extrinsic"


def _rows(dataset: Dataset, results: Sequence[Result]) -> list[Row]:
    measured = [(result, result.outcome) for result in results if result.outcome is not None]
    best: dict[Kind, Outcome] = {}
    for result, outcome in measured:
        kind = _kind(dataset, result)
        if result.cell.as_it_is and (kind not in best or outcome.scores.f1 > best[kind].scores.f1):
            best[kind] = outcome
    rows = []
    for result, outcome in measured:
        cell, kind = result.cell, _kind(dataset, result)
        to_best = Difference(outcome.scores.f1 - best[kind].scores.f1, difference(outcome, best[kind]))
        rows.append(
            Row(
                data=dataset.name,
                method=cell.method,
                system=str(cell),
                f1=outcome.scores.f1,
                ci95=outcome.ci95,
                precision=outcome.scores.precision,
                recall=outcome.scores.recall,
                n=outcome.n,
                seconds=outcome.cost.seconds,
                kind=kind,
                translator=_named(cell.translator),
                tagger=_named(cell.tagger),
                aligner=_named(cell.aligner),
                target_tagger=_named(cell.target_tagger),
                noise=_named(cell.noise),
                reviews=cell.reviews,
                to_best=to_best,
                per_label=outcome.per_label,
                mib=outcome.cost.mib,
                stages=result.stages,
                failed=outcome.failed,
                errors=outcome.errors,
                signature=outcome.signature,
            )
        )
    return sorted(rows, key=lambda row: (row.kind, row.noise is not None, row.reviews is not None, -row.f1))


def _named(choice: object) -> str | None:
    return None if choice is None else str(choice)


def _averages(results: Mapping[str, tuple[Dataset, Sequence[Result]]]) -> list[Average]:
    """Of the systems that were measured on every one of several datasets."""
    if len(results) < 2:
        return []
    outcomes: dict[tuple[str, Kind], list[Outcome]] = {}
    for dataset, of_dataset in results.values():
        for result in of_dataset:
            if result.outcome is not None:
                outcomes.setdefault((str(result.cell), _kind(dataset, result)), []).append(result.outcome)
    averages = [
        Average(
            system,
            kind,
            float(np.mean([outcome.scores.f1 for outcome in of_system])),
            interval(mean_resampled(of_system)),
        )
        for (system, kind), of_system in outcomes.items()
        if len(of_system) == len(results)
    ]
    return sorted(averages, key=lambda average: (average.kind, -average.f1))
