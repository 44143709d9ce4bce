"""The review desk of a stored project: calibration, promises, estimates, a plan and a verdict.

Each function reads the store once and hands plain columns to :mod:`xner_label.confidence`, where everything is
decided. Nothing here changes a prediction.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import NamedTuple

import msgspec
import numpy as np
from sqlalchemy.orm import Session

from xner_label.confidence.anchoring import Anchoring, SliceCounts, anchoring
from xner_label.confidence.calibration import MIN_ENTITIES, Calibrated, Calibrator, calibrate
from xner_label.confidence.estimates import Estimates, TaskCounts, estimate
from xner_label.confidence.guarantee import Promise, outlook, promise, promises
from xner_label.confidence.quality import Band, Quality, bands, quality, quality_by
from xner_label.confidence.task_scores import MissedCalibrator, TaskScores, task_scores
from xner_label.errors import CheckFailedError, UsageError
from xner_label.evaluation.signature import data_hash, signature
from xner_label.projection.loglinear.columns import Bools, Floats, Ints
from xner_label.review.evidence import MOST_UNREAD, Evidence, read_evidence
from xner_label.store import corpus_states, projects
from xner_label.store.database import Store
from xner_label.wording import counted

# Audited sentences whose worth a promise tells beforehand.
MORE_SENTENCES = 50
_PLURALS = {"entity": "entities", "sentence": "sentences"}
_WRONG = {"entity": "wrong", "sentence": "wrong or lack an entity"}

# (start, end, label) of entities, by task id.
Accepted = dict[int, set[tuple[int, int, str]]]


class CalibrationReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a project's confidences are worth. ``raw``: the pipeline's own, ``calibrated``: ours, judged out of
    fold on the reviewed entities; ``audited``: the calibrated ones on the audit slice alone, which nobody
    selected; None where there is nothing to judge on. ``task_*``: the same of whole tasks, where right means that
    nothing was wrong and nothing missed; ``missed`` is what tells the latter. ``note`` says why nothing was
    calibrated, where that is so."""

    signature: str
    project: str
    version: str
    annotation_id: int
    calibrator: Calibrator
    raw: Quality | None
    calibrated: Quality | None
    audited: Quality | None
    per_label: dict[str, Quality]
    bands: list[Band]
    estimates: Estimates | None
    anchoring: Anchoring | None
    note: str | None
    missed: MissedCalibrator | None = None
    task_raw: Quality | None = None
    task_calibrated: Quality | None = None
    task_audited: Quality | None = None


class GuaranteeReport(msgspec.Struct, frozen=True, kw_only=True):
    """``promises`` for each label (or for all together, or for sentences); ``share`` of all entities
    (sentences) nobody reviewed that may be accepted, ``after_more``: that share after fifty more audited
    sentences, if as many are wrong as their confidences say."""

    signature: str
    project: str
    version: str
    promises: list[Promise]
    share: float
    after_more: float

    def lines(self) -> list[str]:
        """The promises in words, one a line, and what more audited sentences would bring."""
        lines = [_in_words(row) for row in self.promises]
        lines.append(
            f"{self.share:.0%} of what nobody reviewed is accepted; {MORE_SENTENCES} more audited sentences would "
            f"make that about {self.after_more:.0%}: `xner-label push --limit {MORE_SENTENCES} --audit-share 1`"
        )
        return lines

    @property
    def cuts(self) -> dict[str, float]:
        """The least confidence that is accepted, by label; labels without a promise are absent."""
        return {row.label: row.cut for row in self.promises if row.label is not None and row.cut is not None}


class View(NamedTuple):
    """A project as the desk sees it at one moment."""

    project: str
    project_id: int
    pipeline_id: int
    annotation_id: int
    evidence: Evidence
    calibrated: Calibrated
    scores: TaskScores

    @property
    def counts(self) -> TaskCounts:
        """The tasks as estimates want them."""
        return self.evidence.counts(self.calibrated.confidence)

    @property
    def signature(self) -> str:
        """What every number here depends on."""
        evidence = self.evidence
        data = data_hash([self.annotation_id, len(evidence.ids), len(evidence.signals.task)])
        return signature(data=data, version=evidence.version, answers=self.annotation_id)


def is_predicted(store: Store, name: str) -> bool:
    """Whether a project has predictions to look at."""
    with store.read() as session:
        return projects.get_project(session, name).pipeline is not None


def view(
    session: Session,
    name: str,
    version: str | None = None,
    *,
    most: int | None = MOST_UNREAD,
    beside: Collection[int] = (),
    only: Collection[int] | None = None,
) -> View:
    """Read a project as its current pipeline sees it, or as another ``version`` does.

    Of more than ``most`` tasks that nobody reviewed a sample is read and stands for all, and those whose ids are
    ``beside``; or of these only those of ``only``. Raises UsageError where nothing is predicted.
    """
    project = projects.get_project(session, name)
    if project.pipeline is None:
        raise UsageError("nothing is predicted yet", hint="run `xner-label predict` first")
    evidence = read_evidence(
        session, project.id, version or project.pipeline.name, most=most, beside=beside, only=only
    )
    newest = corpus_states.newest_annotation(session, project.id)
    calibrated = calibrate(evidence.signals, evidence.audited_entities)
    scores = task_scores(evidence.task_signals(calibrated.confidence))
    return View(project.name, project.id, project.pipeline.id, newest, evidence, calibrated, scores)


def score_of_tasks(session: Session, project_id: int, version: str, task_ids: Collection[int]) -> dict[int, float]:
    """P(nothing is wrong and nothing missed) of tasks by their ids, as far as a version predicted them; empty
    where too few are reviewed to tell better than the pipeline does."""
    evidence = read_evidence(session, project_id, version, only=task_ids)
    calibrated = calibrate(evidence.signals, evidence.audited_entities)
    scores = task_scores(evidence.task_signals(calibrated.confidence))
    if not (calibrated.calibrator.fitted and scores.calibrator.fitted):
        return {}
    return dict(zip(evidence.ids.tolist(), scores.whole.tolist(), strict=True))


def calibration_report(seen: View) -> CalibrationReport:
    """Judge a project's confidences."""
    evidence, confidence = seen.evidence, seen.calibrated.confidence
    signals = evidence.signals
    rows = np.flatnonzero(signals.reviewed)
    drawn = np.flatnonzero(evidence.audited_entities)
    label = signals.label[rows]
    groups = {name: label == place for place, name in enumerate(evidence.labels)}

    def judged(values: Floats, which: Ints) -> Quality | None:
        if not len(which):
            return None
        shown = np.ones(len(which), bool)
        return quality(values[which], signals.right[which], signals.task[which], shown)

    read, whole = evidence.reviewed, evidence.whole

    def of_tasks(values: Floats, which: Bools) -> Quality | None:
        places = np.flatnonzero(which)
        return quality(values[which], whole[which], places, np.ones(len(places), bool)) if len(places) else None

    enough, fitted = seen.calibrated.calibrator.fitted, seen.scores.calibrator.fitted
    missing = MIN_ENTITIES - len(rows)
    return CalibrationReport(
        signature=seen.signature,
        project=seen.project,
        version=evidence.version,
        annotation_id=seen.annotation_id,
        calibrator=seen.calibrated.calibrator,
        raw=judged(signals.confidence, rows),
        calibrated=judged(confidence, rows) if enough else None,
        audited=judged(confidence, drawn) if enough else None,
        per_label=quality_by(
            groups, confidence[rows], signals.right[rows], signals.task[rows], np.ones(len(rows), bool)
        ),
        bands=bands(confidence[rows], signals.right[rows]),
        estimates=estimate(seen.counts),
        anchoring=_anchoring(seen),
        missed=seen.scores.calibrator,
        task_raw=of_tasks(evidence.confidence, read),
        task_calibrated=of_tasks(seen.scores.whole, read & fitted),
        task_audited=of_tasks(seen.scores.whole, read & evidence.audited & fitted),
        note=None
        if enough
        else f"{counted(len(rows), 'predicted entity is', 'predicted entities are')} reviewed, "
        f"{missing} more are needed to calibrate confidences",
    )


def _anchoring(seen: View) -> Anchoring | None:
    evidence, counts = seen.evidence, seen.counts
    drawn = evidence.audited & evidence.reviewed

    def side(which: Bools) -> SliceCounts:
        return SliceCounts(
            counts.shown[which], counts.right[which], evidence.tokens[which], evidence.seconds[which]
        )

    return anchoring(side(drawn & ~evidence.blind), side(drawn & evidence.blind))


def guarantee(
    store: Store, name: str, max_error: float, *, level: float = 0.95, per: str = "entity", together: bool = False
) -> GuaranteeReport:
    """What can be accepted unseen. ``per``: "entity" or "sentence" (nothing in it is wrong or missed);
    ``together`` makes one promise for all labels instead of one for each."""
    with store.read() as session:
        seen = view(session, name, most=None)
    return guarantee_report(seen, max_error, level=level, per=per, together=together)


def guarantee_report(
    seen: View, max_error: float, *, level: float = 0.95, per: str = "entity", together: bool = False
) -> GuaranteeReport:
    """The same of a project that was read."""
    evidence = seen.evidence
    signals, confidence = evidence.signals, seen.calibrated.confidence
    audited, unread = evidence.audited_entities, evidence.unread
    drawn = int((evidence.audited & evidence.reviewed).sum())
    factor = (drawn + MORE_SENTENCES) / max(drawn, 1)
    promised = partial(promise, max_error=max_error, level=level, stands_for=evidence.stands_for)
    if per == "sentence":
        sure, whole = seen.scores.whole, evidence.whole
        known, rest = seen.counts.audited, ~evidence.reviewed
        made = [promised(sure[known], whole[known], sure[rest], unit=per)]
        pairs = [(sure[known], sure[rest])]
    elif together:
        made = [promised(confidence[audited], signals.right[audited], confidence[unread])]
        pairs = [(confidence[audited], confidence[unread])]
    else:
        made = promises(
            signals.label[audited],
            confidence[audited],
            signals.right[audited],
            signals.label[unread],
            confidence[unread],
            evidence.labels,
            max_error=max_error,
            level=level,
            stands_for=evidence.stands_for,
        )
        pairs = [
            (confidence[audited & (signals.label == place)], confidence[unread & (signals.label == place)])
            for place in range(len(evidence.labels))
        ]
    made = [msgspec.structs.replace(row, open=round(row.open * evidence.stands_for)) for row in made]
    total = max(sum(row.open for row in made), 1)
    more = evidence.stands_for * sum(
        outlook(known, rest, factor, max_error=max_error, level=level) * len(rest) for known, rest in pairs
    )
    share = sum(row.share * row.open for row in made) / total
    return GuaranteeReport(
        signature=seen.signature,
        project=seen.project,
        version=evidence.version,
        promises=made,
        share=share,
        after_more=max(more / total, share),
    )


def _in_words(row: Promise) -> str:
    what = row.label or ("sentences" if row.unit == "sentence" else "all labels")
    if row.cut is None:
        missing = f" ({row.more} are missing)" if row.more else ""
        return f"{what}: no promise: {row.reason}{missing}"
    return (
        f"{what}: at most {row.max_error:.0%} of the {_PLURALS[row.unit]} from "
        f"{row.cut:.3f} on are {_WRONG[row.unit]}, {row.level:.0%} sure ({row.wrong} of {row.above} audited ones "
        f"were, give or take {row.deviation:.1%}); that is {row.share:.0%} of {row.open}"
    )


def acceptance(
    store: Store, name: str, max_error: float, *, level: float = 0.95, per: str = "entity", together: bool = False
) -> tuple[GuaranteeReport, Accepted]:
    """What may be accepted unseen, see :func:`accept`."""
    with store.read() as session:
        seen = view(session, name, most=None)
    return accept(seen, max_error, level=level, per=per, together=together)


def accept(
    seen: View, max_error: float, *, level: float = 0.95, per: str = "entity", together: bool = False
) -> tuple[GuaranteeReport, Accepted]:
    """The promises, and what they allow to be accepted. Raises CheckFailedError where they allow nothing."""
    report = guarantee_report(seen, max_error, level=level, per=per, together=together)
    if all(row.cut is None for row in report.promises):
        raise CheckFailedError(
            f"nothing can be promised at {max_error:.0%}: " + "; ".join(map(_in_words, report.promises)),
            hint=report.lines()[-1],
        )
    return report, accepted_regions(seen, report)


def accepted_regions(seen: View, report: GuaranteeReport) -> Accepted:
    """What may be accepted of tasks nobody reviewed: (start, end, label) of entities by task id. With a promise
    for sentences only accepted tasks are in it."""
    evidence = seen.evidence
    signals, confidence = evidence.signals, seen.calibrated.confidence
    accepted = evidence.unread
    tasks: Ints = np.zeros(0, np.int64)
    single = report.promises[0] if len(report.promises) == 1 and report.promises[0].label is None else None
    if single is not None and single.unit == "sentence":
        sure = seen.scores.whole
        inside = ~evidence.reviewed & (single.cut is not None) & (sure >= (single.cut or 0.0))
        accepted &= inside[signals.task]
        tasks = np.flatnonzero(inside)
    elif single is not None:
        accepted &= (single.cut is not None) & (confidence >= (single.cut or 0.0))
    else:
        cut = np.array([report.cuts.get(name, 2.0) for name in evidence.labels] or [2.0])
        accepted &= confidence >= cut[signals.label] if len(signals.label) else accepted
    regions: Accepted = {int(evidence.ids[task]): set() for task in tasks}
    for row in np.flatnonzero(accepted).tolist():
        start, end = evidence.span[row].tolist()
        task_id = int(evidence.ids[signals.task[row]])
        regions.setdefault(task_id, set()).add((start, end, evidence.labels[signals.label[row]]))
    return regions
