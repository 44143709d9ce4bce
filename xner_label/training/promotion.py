"""The promotion gate: a model run is served only if it isn't worse than the one that is.

Both are judged on the same tasks: held-out gold that neither has learned from, never the test split. The
difference of their F1 is resampled over tasks, in pairs (paired bootstrap, Efron & Tibshirani 1993; for NLP: Koehn
2004). The new run is refused when it is worse in most resamples, or, for some type of entity, worse by more than a
margin: a type may waver a little where it is rare, but none may be given up for the others. The same goes for the
answers of each annotator: whoever answers wrongly what is learned from often answers what is held out, too, and a
run that learned it is better there and worse on what all others say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from xner_label.checkpoints.devices import ANYWHERE, PlacementRequest
from xner_label.entities import Entity, text_hash
from xner_label.errors import CheckFailedError, PartialError, UsageError
from xner_label.evaluation.metrics import f1_score, resampled_sums
from xner_label.store import projects, runs
from xner_label.store.database import Store
from xner_label.store.tables import ModelRun
from xner_label.training.data import DataOptions, collect_dev
from xner_label.training.evaluation import entities_by, span_counts, without_projection
from xner_label.training.model import NerModel
from xner_label.training.run_files import trained_on
from xner_label.training.runs import load_model
from xner_label.training.sentences import GoldSentence
from xner_label.wording import counted

# A run is refused when it is worse than the served one in more than this share of the resamples.
MAX_WORSE = 0.9
# By how much F1 a single type, or the answers of one annotator, may be worse.
MARGIN = 0.02
# There may be many annotators, of whom one is worse off by chance: only what is beyond doubt counts, and only of
# whom so many gold entities are known.
MAX_WORSE_FOR_ANNOTATOR = 0.99
MIN_ENTITIES_OF_ANNOTATOR = 10
_RESAMPLES = 2_000
_SEED = 13

# Gold with the answers of the new and of the served run.
_Answers = Sequence[tuple[GoldSentence, Sequence[Entity], Sequence[Entity]]]


class PartComparison(msgspec.Struct, frozen=True):
    """Two runs on the ``entities`` gold entities of one type or annotator: F1 of the new and of the served one,
    and the share of resamples in which the new one is worse by more than the margin."""

    entities: int
    f1: float
    served_f1: float
    worse: float


class Comparison(msgspec.Struct, frozen=True):
    """Two runs on the same ``tasks`` gold tasks. ``difference`` is new minus old F1, ``ci95`` its interval,
    ``worse`` the share of resamples in which the new run has the lower F1; ``per_type`` the same by label,
    ``per_annotator`` by who gave the answers (where it isn't the same for all), ``text_alone`` the same without
    the tasks' projections (None where they have none)."""

    tasks: int
    f1: float
    served_f1: float
    difference: float
    ci95: tuple[float, float]
    worse: float
    per_type: dict[str, PartComparison] = msgspec.field(default_factory=dict)
    per_annotator: dict[str, PartComparison] = msgspec.field(default_factory=dict)
    text_alone: Comparison | None = None


class PromotionReport(msgspec.Struct, frozen=True):
    """What happened. ``previous`` is the version served before; ``comparison`` is None where the gate had
    nothing to compare."""

    version: str
    previous: str | None
    promoted: bool
    reason: str
    comparison: Comparison | None = None


def promote(
    store: Store,
    project: str,
    folder: Path,
    version: str | None = None,
    *,
    force_reason: str | None = None,
    by: str | None = None,
    data: DataOptions | None = None,
    where: PlacementRequest = ANYWHERE,
) -> PromotionReport:
    """Serve a run of the models' ``folder``, the newest when ``version`` is None. ``where`` is where checkpoints
    are compared.

    The first promotion of a project is free, ``force_reason`` overrides the gate; both are recorded, with who
    said so (``by``). Raises UsageError when there is no such run, ConfigurationError when it can't be opened
    (forced or not), CheckFailedError when the gate says no or has no gold to judge by, PartialError when another
    run was promoted while this one was compared with its predecessor.
    """
    with store.read() as session:
        project_id = projects.get_project(session, project).id
        run = _wanted(session, project_id, version)
        served = runs.promoted_run(session, project_id)
    if served is not None and served.id == run.id:
        return PromotionReport(run.version, served.version, False, "it is the one that is served")
    if force_reason is not None or served is None:
        load_model(run, folder, where)  # a run that can't be opened must not be served
    comparison = None
    if force_reason is not None:
        reason = f"forced: {force_reason}"
    elif served is None:
        reason = "first promotion"
    else:
        with store.read() as session:
            gold = collect_dev(session, project, data)
        comparison = compare_runs(run, served, gold, folder, where)
        reason = _verdict(run, served, comparison)
    with store.write() as session:
        projects.lock_project(session, project_id)
        # the comparison takes minutes, in which somebody may have promoted another run
        served_now = runs.promoted_run(session, project_id)
        if force_reason is None and _version(served_now) != _version(served):
            raise PartialError(
                f"{_version(served_now)} was promoted meanwhile; {run.version} wasn't compared with it",
                hint="run `xner-label promote` again",
            )
        runs.promote(session, run, reason, by)
    return PromotionReport(run.version, _version(served_now), True, reason, comparison)


def _version(run: ModelRun | None) -> str | None:
    return None if run is None else run.version


def compare_runs(
    run: ModelRun,
    served: ModelRun,
    gold: Sequence[GoldSentence],
    folder: Path,
    where: PlacementRequest = ANYWHERE,
) -> Comparison:
    """Judge two runs of the models' ``folder`` on the gold that neither has learned from.

    Raises CheckFailedError when none is left.
    """
    seen = trained_on(run, folder) | trained_on(served, folder)
    fresh = [item for item in gold if text_hash(item.sentence.text) not in seen]
    if not any(item.entities for item in fresh):
        raise CheckFailedError(
            f"no held-out gold with an entity to compare {run.version} with {served.version} on",
            hint="review tasks of a dev split, or promote with --force and a reason",
        )
    models = [load_model(each, folder, where) for each in (run, served)]
    comparison = _compare(models, fresh)
    if all(item.sentence.silver is None for item in fresh):
        return comparison
    text_alone = _compare(models, [without_projection(item) for item in fresh])
    return msgspec.structs.replace(comparison, text_alone=text_alone)


def _compare(models: Sequence[NerModel], fresh: Sequence[GoldSentence]) -> Comparison:
    answers = list(zip(fresh, *(entities_by(model, fresh) for model in models), strict=True))
    _, f1, served_f1, differences = _resampled(answers)
    low, high = np.quantile(differences, [0.025, 0.975])
    labels = sorted({entity.label for item in fresh for entity in item.entities})
    annotators = sorted({name for item in fresh for name in item.people})
    by_annotator = {name: [answer for answer in answers if name in answer[0].people] for name in annotators}
    return Comparison(
        len(fresh),
        f1,
        served_f1,
        f1 - served_f1,
        (float(low), float(high)),
        float(np.mean(differences < 0)),
        {label: _part(answers, label) for label in labels},
        {name: _part(part) for name, part in by_annotator.items() if len(annotators) > 1},
    )


def _part(answers: _Answers, label: str | None = None) -> PartComparison:
    size, f1, served_f1, differences = _resampled(answers, label)
    return PartComparison(size, f1, served_f1, float(np.mean(differences < -MARGIN)))


def _resampled(answers: _Answers, label: str | None = None) -> tuple[int, float, float, NDArray[np.float64]]:
    """Gold entities (of one label), F1 of the new and of the served run, and the difference in each resample."""
    counts = np.array(
        [[*span_counts(item, new, label), *span_counts(item, old, label)] for item, new, old in answers],
        dtype=np.float64,
    )
    totals = counts.sum(axis=0)
    sums = resampled_sums(counts, _RESAMPLES, _SEED)
    differences = f1_score(*sums[:, :3].T) - f1_score(*sums[:, 3:].T)
    return int(totals[2]), float(f1_score(*totals[:3])), float(f1_score(*totals[3:])), differences


def _wanted(session: Session, project_id: int, version: str | None) -> ModelRun:
    candidates = runs.model_runs(session, project_id)
    if not candidates:
        raise UsageError("the project has no model run", hint="run `xner-label train` first")
    if version is None:
        return candidates[-1]
    for run in candidates:
        if run.version == version:
            return run
    newest = ", ".join(run.version for run in candidates[-3:])
    raise UsageError(f"the project has no model run {version!r}", hint=f"the newest are {newest}")


def _verdict(run: ModelRun, served: ModelRun, comparison: Comparison) -> str:
    summary = _summary(served, comparison)
    _refuse_if_worse(run, comparison, summary)
    if comparison.text_alone is not None:
        from_text = f"from texts alone {_summary(served, comparison.text_alone)}"
        _refuse_if_worse(run, comparison.text_alone, from_text)
        summary = f"{summary}; {from_text}"
    return summary


def _summary(served: ModelRun, comparison: Comparison) -> str:
    low, high = comparison.ci95
    return (
        f"F1 {comparison.f1:.3f} against {comparison.served_f1:.3f} of {served.version} "
        f"on {counted(comparison.tasks, 'task')} "
        f"(difference {comparison.difference:+.3f}, 95 % interval {low:+.3f} .. {high:+.3f})"
    )


def _refuse_if_worse(run: ModelRun, comparison: Comparison, summary: str) -> None:
    if comparison.worse > MAX_WORSE:
        raise CheckFailedError(
            f"{run.version} is worse: {summary}",
            hint="review more tasks and train again, or promote with --force and a reason",
        )
    if given_up := _worse_parts(comparison.per_type):
        raise CheckFailedError(
            f"{run.version} is worse by more than {MARGIN} on {given_up}; overall {summary}",
            hint="look at the answers about this type, or promote with --force and a reason",
        )
    if contradicted := _worse_parts(comparison.per_annotator, MAX_WORSE_FOR_ANNOTATOR, MIN_ENTITIES_OF_ANNOTATOR):
        raise CheckFailedError(
            f"{run.version} is worse by more than {MARGIN} on the answers by {contradicted}; overall {summary}",
            hint="`xner-label runs diff` says whose answers it has learned from since: look at those; "
            "or promote with --force and a reason",
        )


def _worse_parts(parts: Mapping[str, PartComparison], most: float = MAX_WORSE, entities: int = 1) -> str:
    """The parts on which the new run is worse, in words; empty for none."""
    return ", ".join(
        f"{name} {part.f1:.3f} against {part.served_f1:.3f}"
        for name, part in parts.items()
        if part.worse > most and part.entities >= entities
    )
