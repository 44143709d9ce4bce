"""Queries about what people settled: annotations, corrections and the gold they amount to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Literal

import msgspec
from sqlalchemy import ColumnElement, Subquery, func, select
from sqlalchemy.orm import Session, defer

from xner_label.entities import Entity
from xner_label.store.database import id_batches, insert_new
from xner_label.store.majority import majority
from xner_label.store.tables import Annotation, Correction, Decision, ExcludedTask, Project, Task


class Gold(msgspec.Struct, frozen=True):
    """A task as people settled it: they agree, or somebody decided. ``annotators`` is how many people answered,
    ``annotations`` the ids of the rows that say so, or that were decided between; ``people`` are those who
    say so (``import``: imported gold), or who decided."""

    task: Task
    entities: tuple[Entity, ...]
    annotators: int
    annotations: tuple[int, ...] = ()
    people: tuple[str, ...] = ()


class Version(msgspec.Struct, frozen=True):
    """What one person says about a task; ``annotations`` are the ids of the rows it stands in,
    ``studio_annotation`` Label Studio's number. ``annotator`` is ``import`` for gold that was imported."""

    annotator: str
    entities: tuple[Entity, ...]
    annotations: tuple[int, ...]
    studio_annotation: int | None


class Conflict(msgspec.Struct, frozen=True):
    """A task about which people say different things and nobody has decided; it is no gold."""

    task: Task
    versions: tuple[Version, ...]


class Decided(msgspec.Struct, frozen=True):
    """A task about which people say different things, and what settled it: ``how`` is ``star``, ``command`` or
    ``majority``; ``at`` is None for the latter, which no single moment decides."""

    task: Task
    how: Literal["command", "star", "majority"]
    by: str
    at: datetime | None
    reason: str | None
    entities: tuple[Entity, ...]


class GoldImport(msgspec.Struct, frozen=True):
    """How many tasks got their first imported gold, and how many got other gold than was imported before."""

    added: int
    corrected: int


def add_imported_gold(session: Session, gold: Mapping[int, Sequence[Entity]]) -> GoldImport:
    """Store entities that came with the import as gold, by task id; what is imported last counts.

    A task whose imported gold is the same already is left alone; earlier gold stays in the history.
    """
    before = _imported(session, list(gold))
    rows = [
        {"task_id": task_id, "origin": "import", "regions": [], "entities": msgspec.to_builtins(list(settled))}
        for task_id, settled in gold.items()
        if before.get(task_id) != _sorted(settled)
    ]
    insert_new(session, Annotation, rows)
    corrected = sum(row["task_id"] in before for row in rows)
    return GoldImport(len(rows) - corrected, corrected)


def _imported(session: Session, task_ids: Sequence[int]) -> dict[int, tuple[Entity, ...] | None]:
    """The gold imported last, by task id; None where it was withdrawn."""
    newest: dict[int, tuple[Entity, ...] | None] = {}
    for ids in id_batches(task_ids):
        query = (
            select(Annotation.task_id, Annotation.deleted, Annotation.entities)
            .where(Annotation.task_id.in_(ids), Annotation.origin == "import")
            .order_by(Annotation.id)
        )
        for task_id, withdrawn, entities in session.execute(query):
            newest[task_id] = None if withdrawn else _sorted(msgspec.convert(entities, list[Entity]))
    return newest


def _sorted(entities: Iterable[Entity]) -> tuple[Entity, ...]:
    return tuple(sorted(entities, key=_order))


def _states(project_id: int, *where: ColumnElement[bool]) -> Subquery:
    """Every state of every annotation of the project's tasks, ``age`` 1 for the newest one of an annotation."""
    newest_first = (Annotation.studio_updated_at.desc().nulls_last(), Annotation.id.desc())
    age = func.row_number().over(
        partition_by=(Annotation.task_id, Annotation.studio_annotation), order_by=newest_first
    )
    return (
        select(Annotation.id, Annotation.task_id, Annotation.skipped, Annotation.deleted, age.label("age"))
        .join(Task, Task.id == Annotation.task_id)
        .where(Task.project_id == project_id, *where)
        .subquery()
    )


def _usable(states: Subquery) -> ColumnElement[bool]:
    """The newest states that are answers."""
    return (states.c.age == 1) & ~states.c.deleted & ~states.c.skipped


def current_annotations(session: Session, project_id: int, *where: ColumnElement[bool]) -> list[Annotation]:
    """The newest state of every annotation that is neither deleted nor skipped, the oldest state first.

    ``where`` narrows the tasks. Label Studio's document, ``regions``, is read only where somebody looks at it.
    """
    states = _states(project_id, *where)
    query = (
        select(Annotation)
        .join(states, states.c.id == Annotation.id)
        .where(_usable(states))
        .order_by(Annotation.studio_updated_at.nulls_first(), Annotation.id)
        .options(defer(Annotation.regions))
    )
    return list(session.scalars(query))


def reviewed_texts(session: Session, project_id: int) -> dict[str, str]:
    """The texts of the tasks that somebody has answered, by external id."""
    states = _states(project_id)
    answered = select(states.c.task_id).where(_usable(states))
    rows = session.execute(select(Task.external_id, Task.text).where(Task.id.in_(answered))).all()
    return {external_id: text for external_id, text in rows}  # noqa: C416 - rows aren't pairs to the type checker


def skipped_task_ids(session: Session, project_id: int, *where: ColumnElement[bool]) -> set[int]:
    """Ids of the tasks that somebody skipped, whatever else people said; ``where`` narrows the tasks."""
    states = _states(project_id, *where)
    query = select(states.c.task_id).where(states.c.age == 1, states.c.skipped, ~states.c.deleted)
    return set(session.scalars(query))


def gold_of(session: Session, project_id: int, *where: ColumnElement[bool]) -> list[Gold]:
    """The gold of a project, in task order; ``where`` narrows the tasks.

    A person's newer annotation replaces their older one; the annotation that is marked as ground truth counts
    alone; where people disagree there is no gold until somebody decides, or a majority where the project lets it.
    Tasks that are set aside have none.
    """
    return [
        Gold(
            answered.task,
            answered.standing[0].entities,
            len(answered.people),
            answered.standing[0].annotations,
            answered.agreeing,
        )
        for answered in _settled(session, project_id, *where)
        if len(answered.standing) == 1
    ]


def conflicts_of(session: Session, project_id: int, *where: ColumnElement[bool]) -> list[Conflict]:
    """The tasks about which people disagree, in task order; ``where`` narrows the tasks."""
    return [
        Conflict(answered.task, answered.standing)
        for answered in _settled(session, project_id, _may_be_disputed(project_id), *where)
        if len(answered.standing) > 1
    ]


def answers_of(session: Session, project_id: int) -> list[dict[str, tuple[Entity, ...]]]:
    """What each person says about each task that several of them answered."""
    told = []
    for answered in _settled(session, project_id, _may_be_disputed(project_id)):
        said = {_person(row): _entities_of(row) for row in answered.people if row.origin == "studio"}
        if len(said) > 1:
            told.append(said)
    return told


def decisions_of(session: Session, project_id: int) -> list[Decided]:
    """The tasks about which people say different things and something settled it, in task order."""
    return [
        decided
        for answered in _settled(session, project_id, _may_be_disputed(project_id))
        if len(answered.standing) == 1 and (decided := _decided(answered)) is not None
    ]


def _decided(answered: _Answered) -> Decided | None:
    standing, decision = answered.standing[0], answered.decision
    if len({_entities_of(row) for row in answered.people}) < 2:
        return None
    by_id = {row.id: row for row in answered.people}
    starred = [by_id[row] for row in standing.annotations if row in by_id and by_id[row].ground_truth]
    if starred:
        row = starred[-1]
        by = row.ground_truth_by or row.annotator or "somebody"
        return Decided(answered.task, "star", by, row.studio_updated_at, None, standing.entities)
    if decision is not None:
        return Decided(
            answered.task, "command", decision.decided_by, decision.created_at, decision.reason, standing.entities
        )
    return Decided(answered.task, "majority", standing.annotator, None, None, standing.entities)


def add_decision(
    session: Session, conflict: Conflict, version: Version, decided_by: str, reason: str | None
) -> None:
    """Record that one of the versions is right, by whom and why."""
    session.add(
        Decision(
            task_id=conflict.task.id,
            entities=msgspec.to_builtins(list(version.entities)),
            annotations=sorted({row for other in conflict.versions for row in other.annotations}),
            decided_by=decided_by,
            reason=reason,
        )
    )


class _Answered(msgspec.Struct, frozen=True):
    """A task with the newest annotation of each person, the versions of it that stand against each other (one: it
    is settled), and the decision about it, if any."""

    task: Task
    people: list[Annotation]
    standing: tuple[Version, ...]
    decision: Decision | None

    @property
    def agreeing(self) -> tuple[str, ...]:
        """Whose answer the first version is; who decided for it, where nobody gave it."""
        version = self.standing[0]
        said = [_person(row) for row in self.people if _entities_of(row) == version.entities]
        return tuple(said) or (version.annotator,)


def _may_be_disputed(project_id: int) -> ColumnElement[bool]:
    """Tasks with several answers or a decision: few of them all."""
    answered = _answer_counts(project_id)
    one_answer = (answered.c.answers == 1) & answered.c.task_id.not_in(select(Decision.task_id))
    return Task.id.in_(select(answered.c.task_id).where(~one_answer))


def _answer_counts(project_id: int) -> Subquery:
    """How many answers each task has that isn't set aside."""
    states = _states(project_id, Task.id.not_in(select(ExcludedTask.task_id)))
    return (
        select(states.c.task_id, func.count().label("answers"))
        .where(_usable(states))
        .group_by(states.c.task_id)
        .subquery()
    )


def _settled(session: Session, project_id: int, *where: ColumnElement[bool]) -> Iterator[_Answered]:
    """Each answered task, in task order."""
    by_task: dict[int, list[Annotation]] = {}
    for row in current_annotations(session, project_id, *where):
        by_task.setdefault(row.task_id, []).append(row)
    decisions = {
        row.task_id: row
        for row in session.scalars(
            select(Decision)
            .join(Task, Task.id == Decision.task_id)
            .where(Task.project_id == project_id, *where)
            .order_by(Decision.id)
        )
    }
    by_majority = session.scalar(select(Project.majority).where(Project.id == project_id)) or False
    for ids in id_batches(sorted(by_task)):
        query = select(Task).where(Task.id.in_(ids), Task.id.not_in(select(ExcludedTask.task_id)))
        for task in session.scalars(query.order_by(Task.id)):
            people, decision = _of_each_person(by_task[task.id]), decisions.get(task.id)
            standing = _standing(people, decision)
            if by_majority and len(standing) > 1 and decision is None:
                standing = _outvoted(people) or standing
            yield _Answered(task, people, standing, decision)


def _outvoted(people: Sequence[Annotation]) -> tuple[Version, ...] | None:
    """What the majority says, as the only version; None where there is none."""
    entities = majority([_entities_of(row) for row in people])
    if entities is None:
        return None
    return (Version(", ".join(map(_person, people)), entities, tuple(row.id for row in people), None),)


def _entities_of(row: Annotation) -> tuple[Entity, ...]:
    return _sorted(msgspec.convert(row.entities, list[Entity]))


def _of_each_person(rows: Iterable[Annotation]) -> list[Annotation]:
    """The newest annotation of each person; one whose author isn't known is a person of its own."""
    newest: dict[str, Annotation] = {}
    for row in rows:
        person = _person(row)
        newest.pop(person, None)
        newest[person] = row
    return list(newest.values())


def _person(row: Annotation) -> str:
    if row.origin == "import":
        return row.origin
    return row.annotator or f"annotation {row.studio_annotation}"


def _standing(people: Sequence[Annotation], decision: Decision | None) -> tuple[Version, ...]:
    """The different versions among what counts, the newest last."""
    decided = [] if decision is None else decision.annotations
    truth = [row for row in people if row.ground_truth and row.id not in decided]
    counting = truth[-1:] or [row for row in people if row.id not in decided]
    versions: dict[tuple[Entity, ...], Version] = {}
    if decision is not None and not truth:
        entities = _sorted(msgspec.convert(decision.entities, list[Entity]))
        versions[entities] = Version(decision.decided_by, entities, tuple(decided), None)
    for row in counting:
        entities = _entities_of(row)
        before = versions.get(entities)
        versions[entities] = Version(
            _person(row) if before is None else f"{before.annotator}, {_person(row)}",
            entities,
            (row.id,) if before is None else (*before.annotations, row.id),
            row.studio_annotation if before is None else before.studio_annotation,
        )
    return tuple(versions.values())


def _order(entity: Entity) -> tuple[int, int, str]:
    return entity.start, entity.end, entity.label


class GoldCounts(msgspec.Struct, frozen=True):
    """How many tasks are settled, and about how many people disagree."""

    tasks: int
    conflicts: int


def count_gold(session: Session, project_id: int) -> GoldCounts:
    """How much gold a project has; reads those tasks alone that have several answers or a decision."""
    answered = _answer_counts(project_id)
    one_answer = (answered.c.answers == 1) & answered.c.task_id.not_in(select(Decision.task_id))
    settled = session.scalar(select(func.count()).select_from(answered).where(one_answer)) or 0
    versions = [len(task.standing) for task in _settled(session, project_id, _may_be_disputed(project_id))]
    conflicts = sum(count > 1 for count in versions)
    return GoldCounts(settled + len(versions) - conflicts, conflicts)


def count_corrections(session: Session, project_id: int) -> dict[str, int]:
    """Number of corrections by kind, over the current annotations."""
    states = _states(project_id)
    query = (
        select(Correction.kind, func.count())
        .join(states, states.c.id == Correction.annotation_id)
        .where(_usable(states))
        .group_by(Correction.kind)
        .order_by(Correction.kind)
    )
    return dict(session.execute(query).all())


def acceptance(corrections: Mapping[str, int]) -> float | None:
    """Share of the shown entities that people left as they were; None where none were shown."""
    shown = sum(count for kind, count in corrections.items() if kind != "added")
    return corrections.get("kept", 0) / shown if shown else None
