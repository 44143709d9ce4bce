"""Which projector suits a language, judged on a little gold.

All projectors that the gold's fields allow are compared by strict F1, each at its own cut, on the same tasks. No
projector is best for every language (Politov et al. 2025), but a little gold is noisy: the default stays unless
another one is better in the paired bootstrap, with both drawn on the same tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from xner_label.entities import Task
from xner_label.errors import UsageError
from xner_label.evaluation.metrics import Floats, f1_score, resampled_sums
from xner_label.jsonl import read_checked
from xner_label.projection.fitting.examples import Example, read_example
from xner_label.projection.fitting.sentence_weights import FOLDS, MIN_MENTIONS, fit_weights, fold_of
from xner_label.projection.loglinear.projector import LogLinearProjector
from xner_label.projection.loglinear.weights_file import Weights
from xner_label.projection.problem import CorpusProjector, Instance, Projection, Projector, project_all
from xner_label.projection.projectors import make_projector, models_asked
from xner_label.settings.choices import PROJECTORS

DEFAULT = "default"
ADAPTED = "default, adapted"
RESAMPLES, SEED, LEVEL = 1000, 13, 0.95


class Contender(msgspec.Struct, frozen=True):
    """One projector on the gold. ``over_default``: its F1 less the default's; intervals are of 95 %."""

    name: str
    f1: float
    precision: float
    recall: float
    ci95: tuple[float, float]
    over_default: float
    over_default_ci95: tuple[float, float]


class Choice(msgspec.Struct, frozen=True):
    """The comparison, best first. ``left_out`` says why a projector isn't in it, ``unjudged`` counts the tasks
    that lack what any projector needs, ``weights`` belong to ADAPTED."""

    chosen: str
    contenders: list[Contender]
    left_out: dict[str, str]
    tasks: int
    entities: int
    unjudged: int
    weights: Weights | None = None


def choose_projector(path: Path) -> Choice:
    """Compare all projectors on a file of tasks with gold ``entities``.

    "default, adapted" are the shipped weights adapted to the gold, judged on tasks that they weren't adapted to.
    Tasks that lack source, source entities or gold are left out. Raises RecordError for a bad line, UsageError for
    gold that no projector can be judged by.
    """
    read = list(read_checked(path, Task, lambda task: read_example(task) if _can_judge(task) else None))
    examples = [example for example in read if example is not None]
    entities = sum(len(example.gold) for example in examples)
    instances = [example.instance for example in examples]
    mentions = sum(len(instance.mentions) for instance in instances)
    if not (entities and mentions):
        raise UsageError(
            f"{path} has no gold to judge projectors by: of {len(read)} tasks {len(examples)} have source, "
            f"source_entities and entities, with {mentions} source entities and {entities} settled ones in all",
            hint="`xner-label tag` adds source entities; `entities` are what people settled",
        )
    counts: dict[str, Floats] = {}
    left_out: dict[str, str] = {}
    for name in PROJECTORS:
        if models_asked(name):
            left_out[name] = "needs a translation model"
            continue
        projector = make_projector(name)
        missing = [field for field in sorted(projector.needs) if not _have(instances, field)]
        if missing:
            left_out[name] = f"needs {missing[0]}"
            continue
        counts[name] = _counts(examples, _kept(projector, instances))
    if mentions >= 2 * MIN_MENTIONS:
        counts[ADAPTED] = _counts(examples, _adapted(examples))
    else:
        left_out[ADAPTED] = f"{mentions} source entities are too few to adapt weights to"
    contenders = sorted(
        (_contender(name, table, counts[DEFAULT]) for name, table in counts.items()),
        key=lambda contender: -contender.f1,
    )
    if not any(contender.f1 for contender in contenders):
        raise UsageError(
            f"no projector gets a single one of the {entities} entities in {path} right",
            hint="check that source entities and entities have the same labels and belong together",
        )
    better = [contender.name for contender in contenders if contender.over_default_ci95[0] > 0.0]
    chosen = better[0] if better else DEFAULT
    weights = fit_weights([examples], path.name, start=Weights.load()) if chosen == ADAPTED else None
    return Choice(chosen, contenders, left_out, len(examples), entities, len(read) - len(examples), weights)


def _can_judge(task: Task) -> bool:
    """Whether there is something to project, and somebody said what should come out."""
    return task.source is not None and task.source_entities is not None and task.entities is not None


def _have(instances: Sequence[Instance], field: str) -> bool:
    """Whether all instances with mentions have the field."""
    attribute = {"alignment": "links"}.get(field, field)
    return all(getattr(instance, attribute) is not None for instance in instances if instance.mentions)


def _kept(projector: Projector | CorpusProjector, instances: Sequence[Instance]) -> list[list[Projection]]:
    return [
        [projection for projection in projections if projection.confidence >= projector.cut]
        for projections in project_all(projector, instances)
    ]


def _adapted(examples: Sequence[Example]) -> list[list[Projection]]:
    """Cross-validated: every task is judged by weights adapted to the other folds."""
    folds = fold_of(len(examples))
    shipped = Weights.load()
    results: list[list[Projection]] = []
    for fold in range(FOLDS):
        rest = [example for example, place in zip(examples, folds, strict=True) if place != fold]
        judged = [example.instance for example, place in zip(examples, folds, strict=True) if place == fold]
        results += _kept(LogLinearProjector(fit_weights([rest], "", start=shipped)), judged)
    return results


def _counts(examples: Sequence[Example], projected: Sequence[Sequence[Projection]]) -> Floats:
    """Per task: right, predicted, gold; shape (tasks, 3)."""
    return np.array(
        [
            (
                sum((p.first, p.last, p.label) in example.gold for p in projections),
                len(projections),
                len(example.gold),
            )
            for example, projections in zip(examples, projected, strict=True)
        ],
        np.float64,
    )


def _contender(name: str, table: Floats, default: Floats) -> Contender:
    drawn = f1_score(*resampled_sums(table, RESAMPLES, SEED).T)
    difference = drawn - f1_score(*resampled_sums(default, RESAMPLES, SEED).T)
    right, predicted, gold = table.sum(axis=0)
    f1 = float(f1_score(right, predicted, gold))
    return Contender(
        name,
        f1,
        float(right / max(predicted, 1.0)),
        float(right / gold),
        _interval(drawn),
        f1 - float(f1_score(*default.sum(axis=0))),
        _interval(difference),
    )


def _interval(values: Floats) -> tuple[float, float]:
    low, high = np.quantile(values, [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0])
    return float(low), float(high)
