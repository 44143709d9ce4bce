"""Queries about what people settled: annotations, corrections and the gold they amount to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
from sqlalchemy import ColumnElement, Subquery, func, select
from sqlalchemy.orm import Session, defer

from xner_label.entities import Entity
from xner_label.store.database import id_batches, insert_new
from xner_label.store.tables import Annotation, Correction, Decision, ExcludedTask, Task


class Gold(msgspec.Struct, frozen=True):
    """A task as people settled it: they agree, or somebody decided. ``annotators`` is how many people answered,
    ``annotations`` the ids of the rows that say so, or that were decided between."""

    task: Task
    entities: tuple[Entity, ...]
    annotators: int
    annotations: tuple[int, ...] = ()


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


def _imported(session: Session, task_ids: Sequence[int]) -> dict[int, tuple[Entity, ...]]:
    """The gold imported last, by task id."""
    newest: dict[int, tuple[Entity, ...]] = {}
    for ids in id_batches(task_ids):
        query = (
            select(Annotation.task_id, Annotation.entities)
            .where(Annotation.task_id.in_(ids), Annotation.origin == "import")
            .order_by(Annotation.id)
        )
        for task_id, entities in session.execute(query):
            newest[task_id] = _sorted(msgspec.convert(entities, list[Entity]))
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


def skipped_task_ids(session: Session, project_id: int, *where: ColumnElement[bool]) -> set[int]:
    """Ids of the tasks that somebody skipped, whatever else people said; ``where`` narrows the tasks."""
    states = _states(project_id, *where)
    query = select(states.c.task_id).where(states.c.age == 1, states.c.skipped, ~states.c.deleted)
    return set(session.scalars(query))


def gold_of(session: Session, project_id: int, *where: ColumnElement[bool]) -> list[Gold]:
    """The gold of a project, in task order; ``where`` narrows the tasks.

    A person's newer annotation replaces their older one; the annotation that is marked as ground truth counts
    alone; where people disagree there is no gold until somebody decides. Tasks that are set aside have none.
    """
    return [
        Gold(task, versions[0].entities, people, versions[0].annotations)
        for task, versions, people in _settled(session, project_id, *where)
        if len(versions) == 1
    ]


def conflicts_of(session: Session, project_id: int, *where: ColumnElement[bool]) -> list[Conflict]:
    """The tasks about which people disagree, in task order; ``where`` narrows the tasks."""
    return [
        Conflict(task, versions)
        for task, versions, _ in _settled(session, project_id, *where)
        if len(versions) > 1
    ]


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


def _settled(
    session: Session, project_id: int, *where: ColumnElement[bool]
) -> Iterator[tuple[Task, tuple[Version, ...], int]]:
    """Each answered task, the versions of it that stand against each other (one: it is settled), and how many
    people answered."""
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
    for ids in id_batches(sorted(by_task)):
        query = select(Task).where(Task.id.in_(ids), Task.id.not_in(select(ExcludedTask.task_id)))
        for task in session.scalars(query.order_by(Task.id)):
            people = _of_each_person(by_task[task.id])
            yield task, _standing(people, decisions.get(task.id)), len(people)


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
        entities = _sorted(msgspec.convert(row.entities, list[Entity]))
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
    states = _states(project_id, Task.id.not_in(select(ExcludedTask.task_id)))
    answered = (
        select(states.c.task_id, func.count().label("answers"))
        .where(_usable(states))
        .group_by(states.c.task_id)
        .subquery()
    )
    decided = select(Decision.task_id)
    one_answer = (answered.c.answers == 1) & answered.c.task_id.not_in(decided)
    settled = session.scalar(select(func.count()).select_from(answered).where(one_answer)) or 0
    others = select(answered.c.task_id).where(~one_answer)
    versions = [len(different) for _, different, _ in _settled(session, project_id, Task.id.in_(others))]
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
