"""New text of a project against the text that people reviewed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec
import numpy as np
from sqlalchemy.orm import Session

from xner_label.confidence.drift import MOST_TASKS, DriftVerdict, TextSample, compare_texts
from xner_label.entities import Tokens
from xner_label.projection.loglinear.columns import Floats, Ints
from xner_label.review.desk import View, view
from xner_label.store import candidates, desk, projects
from xner_label.store.database import Store
from xner_label.word_forms import fold

# Text is new that came after all but so many of the reviewed tasks, and not in the same import: so much later.
_BEYOND = 20
_LATER = timedelta(hours=1)
# The newest answers that are held against those before: so many, and no more than a third.
_NEWEST_ANSWERS = 60
_SEED = 13


class DriftReport(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on the text that came ``since`` (UTC); None where there is none or nothing is reviewed."""

    signature: str
    project: str
    version: str
    since: datetime | None
    verdict: DriftVerdict


def drift_report(store: Store, name: str, *, since: datetime | None = None, keep: bool = True) -> DriftReport:
    """Compare the text that came ``since`` (None: an hour after all but 20 of the reviewed tasks) with what there
    was before. ``keep`` notes the verdict beside the newest calibration, for `status`. Raises UsageError where
    nothing is predicted."""
    with store.read() as session:
        seen = view(session, name, only=())
        report = drift_of(session, seen, since)
    if keep:
        with store.write() as session:
            desk.note_drift(session, seen.project_id, msgspec.to_builtins(report))
    return report


def drift_of(session: Session, seen: View, since: datetime | None = None) -> DriftReport:
    """The same of a project that was read; what people reviewed is enough."""
    version = seen.evidence.version
    labels = projects.get_project(session, seen.project).labels
    border = _border(session, seen, since)
    every = np.frombuffer(desk.predicted_ids(session, seen.project_id, version), np.int64)
    old, new = (every, every[:0]) if border is None else (every[every < border], every[every >= border])
    generator = np.random.default_rng(_SEED)
    # half of the old text tells which words are known, so that old and new text are asked the same
    drawn = [_draw(ids, count, generator) for ids, count in ((old, 2 * MOST_TASKS), (new, MOST_TASKS))]
    half = generator.permutation(drawn[0])
    words = _words(session, np.concatenate(drawn))
    known = set().union(*(words[task] for task in half[len(half) // 2 :].tolist()))
    before, after = (
        _sample(session, version, np.sort(ids), words, known, labels) for ids in (half[: len(half) // 2], drawn[1])
    )
    first = None if border is None else desk.created_at(session, border)
    return DriftReport(
        signature=seen.signature,
        project=seen.project,
        version=version,
        since=since or first,
        verdict=compare_texts(before, after, *_answers(seen)),
    )


def _border(session: Session, seen: View, since: datetime | None) -> int | None:
    """The first id of new text; None where nothing is reviewed, or no text is new."""
    if since is not None:
        return desk.first_task_since(session, seen.project_id, since)
    reviewed = np.sort(seen.evidence.ids[seen.evidence.reviewed])
    if len(reviewed) <= _BEYOND:
        return None
    came = desk.created_at(session, int(reviewed[-_BEYOND - 1]))
    return None if came is None else desk.first_task_since(session, seen.project_id, came + _LATER)


def _draw(ids: Ints, count: int, generator: np.random.Generator) -> Ints:
    return ids if len(ids) <= count else generator.choice(ids, count, replace=False)


def _words(session: Session, ids: Ints) -> dict[int, list[str]]:
    """The folded words of tasks, those with letters or digits."""
    return {
        task: [word for word in map(fold, Tokens.of(text, tokens).words()) if any(map(str.isalnum, word))]
        for task, (text, tokens) in candidates.texts_of(session, ids.tolist()).items()
    }


def _sample(
    session: Session,
    version: str,
    ids: Ints,
    words: dict[int, list[str]],
    known: set[str],
    labels: Sequence[str],
) -> TextSample:
    confidence = desk.confidences_of(session, version, ids.tolist())
    spans = desk.predicted_spans(session, version, ids.tolist())
    tasks = [task for task in ids.tolist() if task in confidence]
    return TextSample(
        np.array([confidence[task] for task in tasks], np.float64),
        np.array(
            [[sum(label == name for *_, label in spans[task]) for name in labels] for task in tasks], np.float64
        ).reshape(len(tasks), len(labels)),
        np.array([_share_unknown(words.get(task, ()), known) for task in tasks], np.float64),
    )


def _share_unknown(words: Iterable[str], known: set[str]) -> float:
    unknown = [word not in known for word in words]
    return sum(unknown) / max(len(unknown), 1)


def _answers(seen: View) -> tuple[Floats, Floats]:
    """Of answered tasks with entities, how much of what was shown was right less what was expected: the newest
    ones apart."""
    evidence, counts = seen.evidence, seen.counts
    rows = np.flatnonzero(evidence.reviewed & (counts.shown > 0))
    rows = rows[np.argsort(evidence.answered[rows], kind="stable")]
    surplus = (counts.right[rows] - counts.expected[rows]) / counts.shown[rows]
    newest = min(_NEWEST_ANSWERS, len(rows) // 3)
    return surplus[: len(rows) - newest], surplus[len(rows) - newest :]
