"""Whether what is stored holds together: offsets, texts, hashes, rows that refer to each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from xner_label.entities import text_hash
from xner_label.store.database import Store
from xner_label.store.tables import Annotation, Prediction, ProjectedEntity, ReviewItem, Task

# Rows in memory at a time, and rows that a report names of each problem.
_ROWS, _NAMED = 2_000, 5


class StoreCheck(msgspec.Struct, frozen=True):
    """``checked``: rows by table; ``problems``: how often each; ``examples``: the first rows that have it."""

    checked: dict[str, int]
    problems: dict[str, int]
    examples: dict[str, list[str]]


def check_store(store: Store) -> StoreCheck:
    """Look at every task, projected entity, annotation and review item, some at a time; nothing is changed."""
    checked: Counter[str] = Counter()
    problems: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    with store.read() as session:
        for table, query, judge in _CHECKS:
            for row in _pages(session, query):
                checked[table] += 1
                for problem in judge(row):
                    problems[problem] += 1
                    if problems[problem] <= _NAMED:
                        examples.setdefault(problem, []).append(f"{table} {row[0]}")
        if session.get_bind().dialect.name == "sqlite":  # PostgreSQL lets none come into being
            for row in session.execute(text("PRAGMA foreign_key_check")):
                problem = f"a row refers to one of {row[2]} that isn't there"
                problems[problem] += 1
                if problems[problem] <= _NAMED:
                    examples.setdefault(problem, []).append(f"{row[0]} {row[1]}")
    return StoreCheck(dict(checked), dict(problems), examples)


def _pages(session: Session, query: Any) -> Iterator[Any]:
    """The rows of a query whose first column is a primary key, by key."""
    key = query.selected_columns[0]
    last = -1
    while rows := session.execute(query.where(key > last).order_by(key).limit(_ROWS)).all():
        yield from rows
        last = rows[-1][0]


def _of_task(row: Any) -> Iterator[str]:
    if text_hash(row.text) != row.text_hash:
        yield "a text isn't the one that was hashed"
    length = len(row.source or "")
    for entity in row.source_entities or ():
        if not 0 <= entity["start"] < entity["end"] <= length:
            yield "a source entity lies outside its source"


def _of_entity(row: Any) -> Iterator[str]:
    if row.whole[row.start : row.end] != row.part:
        yield "a projected entity isn't what stands at its place"


def _of_annotation(row: Any) -> Iterator[str]:
    for entity in row.entities:
        if not 0 <= entity["start"] < entity["end"] <= len(row.text):
            yield "an entity that people gave lies outside its text"


def _of_item(row: Any) -> Iterator[str]:
    if row.predicted_task not in (None, row.task_id):
        yield "a task shows the prediction of another"


_CHECKS: tuple[tuple[str, Any, Callable[[Any], Iterator[str]]], ...] = (
    ("tasks", select(Task.id, Task.text, Task.text_hash, Task.source, Task.source_entities), _of_task),
    (
        "projected_entities",
        select(
            ProjectedEntity.id,
            ProjectedEntity.start,
            ProjectedEntity.end,
            ProjectedEntity.text.label("part"),
            Task.text.label("whole"),
        )
        .join(Prediction, Prediction.id == ProjectedEntity.prediction_id)
        .join(Task, Task.id == Prediction.task_id),
        _of_entity,
    ),
    (
        "annotations",
        select(Annotation.id, Annotation.entities, Task.text).join(Task, Task.id == Annotation.task_id),
        _of_annotation,
    ),
    (
        "review_items",
        select(ReviewItem.id, ReviewItem.task_id, Prediction.task_id.label("predicted_task")).outerjoin(
            Prediction, Prediction.id == ReviewItem.prediction_id
        ),
        _of_item,
    ),
)
