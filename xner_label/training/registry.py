"""The registry of model runs: what there is, what made each run, how two differ, and the way back."""

from __future__ import annotations

import getpass
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy.orm import Session

from xner_label.checkpoints.devices import ANYWHERE, PlacementRequest
from xner_label.errors import UsageError
from xner_label.store import projects, runs
from xner_label.store.database import Store
from xner_label.store.tables import Annotation, ModelRun
from xner_label.training.run_files import hash_of_files, run_folder
from xner_label.training.runs import load_model


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A run in one line. ``f1`` and ``ci95`` are those of the model as it is served, on the gold that the gate
    looks at (None without any)."""

    version: str
    kind: str
    created: str
    gold: int
    silver: int
    f1: float | None
    ci95: tuple[float, float] | None
    served: bool


class LearnedFrom(msgspec.Struct, frozen=True):
    """How many annotations of one ``annotator`` (``import``: imported gold), made on one ``date`` (UTC), a run has
    learned from."""

    annotator: str
    date: str
    annotations: int


class PromotionRecord(msgspec.Struct, frozen=True):
    """When a run became the served one, by whom and why."""

    at: str
    by: str | None
    reason: str


class RunDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the registry knows of a run. ``artefact`` is the SHA-256 of its files; ``files`` says
    whether they are there and still the same: whole, changed or missing."""

    run: RunSummary
    artefact: str | None
    files: str
    config: dict[str, Any]
    metrics: dict[str, Any]
    learned_from: list[LearnedFrom]
    promotions: list[PromotionRecord]


class RunDifference(msgspec.Struct, frozen=True, kw_only=True):
    """Two runs compared as they were recorded. ``changed``: what of their data, options and code differs, by
    dotted name, old and new; ``f1``: by split and system; ``annotations``: how many the new one has learned from
    that the old one has not, and the other way round."""

    old: str
    new: str
    changed: dict[str, tuple[Any, Any]]
    f1: dict[str, tuple[float | None, float | None]]
    annotations_added: list[LearnedFrom]
    annotations_gone: list[LearnedFrom]


def list_runs(store: Store, project: str) -> list[RunSummary]:
    """The runs of a project, oldest first. Raises UsageError when there is no such project."""
    with store.read() as session:
        project_id = projects.get_project(session, project).id
        served = runs.promoted_run(session, project_id)
        return [
            _summary(run, served is not None and served.id == run.id)
            for run in runs.model_runs(session, project_id)
        ]


def show_run(store: Store, project: str, folder: Path, version: str) -> RunDetails:
    """What the registry knows of a run. Raises UsageError when there is no such project or run."""
    with store.read() as session:
        run, served = _run(session, project, version)
        learned = learned_from(runs.annotations_of(session, run))
        promotions = [
            PromotionRecord(f"{row.created_at:%Y-%m-%d %H:%M:%S}", row.promoted_by, row.reason)
            for row, promoted in runs.promotions_of(session, run.project_id)
            if promoted == version
        ]
    return RunDetails(
        run=_summary(run, served),
        artefact=run.artefact,
        files=_state_of_files(run, folder),
        config=run.config,
        metrics=run.metrics,
        learned_from=learned,
        promotions=promotions,
    )


def diff_runs(store: Store, project: str, old: str, new: str) -> RunDifference:
    """How two runs differ. Raises UsageError when there is no such project or run."""
    with store.read() as session:
        before, after = (_run(session, project, version)[0] for version in (old, new))
        rows = [{row.id: row for row in runs.annotations_of(session, run)} for run in (before, after)]
    facts = [_flat({**run.config, "artefact": run.artefact}) for run in (before, after)]
    names = dict.fromkeys([*facts[0], *facts[1]])
    scores = [_f1_by_system(run) for run in (before, after)]
    return RunDifference(
        old=old,
        new=new,
        changed={
            name: (facts[0].get(name), facts[1].get(name))
            for name in names
            if facts[0].get(name) != facts[1].get(name)
        },
        f1={name: (scores[0].get(name), scores[1].get(name)) for name in dict.fromkeys([*scores[0], *scores[1]])},
        annotations_added=learned_from([row for key, row in rows[1].items() if key not in rows[0]]),
        annotations_gone=learned_from([row for key, row in rows[0].items() if key not in rows[1]]),
    )


def rollback(
    store: Store,
    project: str,
    folder: Path,
    reason: str,
    by: str | None = None,
    where: PlacementRequest = ANYWHERE,
) -> tuple[str, str]:
    """Serve the run again that was served before the present one. Returns the versions before and after.

    Raises UsageError where none was, ConfigurationError when its files are missing or damaged.
    """
    with store.read() as session:
        project_id = projects.get_project(session, project).id
        present, earlier = _present_and_earlier(session, project_id)
    load_model(earlier, folder, where)
    with store.write() as session:
        projects.lock_project(session, project_id)
        if _present_and_earlier(session, project_id)[0].id != present.id:
            raise UsageError(
                "another run was promoted meanwhile", hint="look at `xner-label runs list`, then run again"
            )
        runs.promote(session, earlier, f"rollback from {present.version}: {reason}", by or current_user())
    return present.version, earlier.version


def current_user() -> str | None:
    """Who runs this process, as the system calls them."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return None


def learned_from(annotations: list[Annotation]) -> list[LearnedFrom]:
    """Annotations counted by annotator and date, in this order."""
    counted = Counter(
        (
            row.annotator or (row.origin if row.origin == "import" else f"annotation {row.studio_annotation}"),
            f"{row.studio_updated_at or row.created_at:%Y-%m-%d}",
        )
        for row in annotations
    )
    return [LearnedFrom(*key, count) for key, count in sorted(counted.items())]


def _present_and_earlier(session: Session, project_id: int) -> tuple[ModelRun, ModelRun]:
    """The served run and the one served before it.

    A rollback goes back in what was promoted by the gate or by force: two in a row go back two steps.
    """
    stack: list[str] = []
    for promotion, version in runs.promotions_of(session, project_id):
        if promotion.reason.startswith("rollback from ") and stack:
            stack.pop()
        if not stack or stack[-1] != version:
            stack.append(version)
    if len(stack) < 2:
        raise UsageError("no run was served before the present one", hint="`xner-label runs list` names them")
    present, earlier = (runs.find_run(session, project_id, version) for version in reversed(stack[-2:]))
    assert present is not None
    assert earlier is not None
    return present, earlier


def _run(session: Session, project: str, version: str) -> tuple[ModelRun, bool]:
    project_id = projects.get_project(session, project).id
    run = runs.find_run(session, project_id, version)
    if run is None:
        raise UsageError(f"the project has no model run {version!r}", hint="`xner-label runs list` names them")
    served = runs.promoted_run(session, project_id)
    return run, served is not None and served.id == run.id


def _summary(run: ModelRun, served: bool) -> RunSummary:
    scores = ((run.metrics or {}).get("dev") or {}).get("model") or {}
    return RunSummary(
        version=run.version,
        kind=run.kind,
        created=f"{run.created_at:%Y-%m-%d %H:%M:%S}",
        gold=run.gold_tasks,
        silver=run.silver_tasks,
        f1=scores.get("f1"),
        ci95=tuple(scores["ci95"]) if scores else None,
        served=served,
    )


def _state_of_files(run: ModelRun, folder: Path) -> str:
    files = run_folder(run, folder)
    if not files.is_dir():
        return "missing"
    return "changed" if run.artefact is not None and hash_of_files(files) != run.artefact else "whole"


def _f1_by_system(run: ModelRun) -> dict[str, float | None]:
    return {
        f"{split} {system}": values["f1"]
        for split in ("dev", "test")
        if (scores := (run.metrics or {}).get(split))
        for system, values in scores.items()
        if isinstance(values, dict)
    }


def _flat(document: dict[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in document.items():
        name = f"{before}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat
