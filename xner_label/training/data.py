"""What a model learns from: gold that people settled, silver that a pipeline projected and nobody has reviewed.

Gold wins: a reviewed task is never silver. Training sees the splits of ``TRAINABLE`` alone; the gold of every
other split is held out to judge by, and so is any training task with the same text as a held-out one. A project
without such gold gives up a fixed share of its own, chosen by the hash of the text, so that every run holds out
the same tasks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from typing import TypeVar

import msgspec
from sqlalchemy.orm import Session

from xner_label import entities
from xner_label.entities import Entity, Tokens
from xner_label.review.desk import accept, view
from xner_label.settings.table import Settings
from xner_label.store import predictions, projects, set_aside, tables, tasks
from xner_label.store.gold import Gold, conflicts_of, gold_of, skipped_task_ids
from xner_label.training.near_duplicates import NearDuplicates
from xner_label.training.rules import MergeRules, Rule, is_settled, table
from xner_label.training.sentences import GoldSentence, Sentence
from xner_label.wording import counted

TRAINABLE = frozenset({"pool", "train"})
# What of the gold isn't held out: silver that was imported is learned from, too.
_LEARNED = TRAINABLE | {tasks.TRANSLATED}
TEST = "test"
# Texts are hashed into so many buckets, and a share of these is held out.
_BUCKETS = 10_000

_Item = TypeVar("_Item")


class DataOptions(msgspec.Struct, frozen=True):
    """Which data a run uses.

    ``rules``: what becomes of each kind. ``max_error``: silver entities that can't be accepted where at most this
    share of them may be wrong are doubtful, too (1: no such promise is asked for). ``dev_share``: share of the
    gold that is held out when no other split than test has any. ``near_duplicates``: share of runs of letters
    (Jaccard) from which a text counts as one that is held out; 1: equal texts only. ``pipeline``: the name of the
    pipeline version whose predictions are the silver, the current one when None.
    """

    rules: MergeRules = MergeRules()
    max_error: float = 1.0
    dev_share: float = 0.2
    near_duplicates: float = 0.8
    pipeline: str | None = None

    @classmethod
    def of(cls, settings: Settings) -> DataOptions:
        """As the settings say."""
        return cls(
            rules=MergeRules.of(settings),
            max_error=settings.max_error,
            dev_share=settings.dev_share,
            near_duplicates=settings.near_duplicates,
        )


class DataReport(msgspec.Struct):
    """What was used and what was left out, in tasks unless it says entities.

    ``conflicts`` are ids of tasks whose annotators disagree: they are left out until somebody decides.
    ``doubtful_entities`` are projected ones that the rules don't trust, ``settled_by_name`` those that an answer
    about their name settled, in ``partly_reviewed`` tasks; ``empty`` are gold tasks without an entity. ``rules``
    is the table that all of this follows. ``translated`` of the ``silver`` tasks are labelled source texts that
    were translated, labels and all (`import --silver`).
    """

    gold: int = 0
    gold_entities: int = 0
    empty: int = 0
    silver: int = 0
    translated: int = 0
    silver_entities: int = 0
    doubtful_entities: int = 0
    settled_by_name: int = 0
    partly_reviewed: int = 0
    unused_silver: int = 0
    foreign_entities: int = 0
    skipped: int = 0
    unpredicted: int = 0
    same_text_as_held_out: int = 0
    nearly_held_out: int = 0
    dev: int = 0
    dev_is_share: bool = False
    test: int = 0
    conflicts: list[str] = []
    pipeline: str | None = None
    rules: list[Rule] = []


def described(report: DataReport) -> str:
    """The report for people, a line for each kind of data."""
    share = " (a share of the reviewed tasks)" if report.dev_is_share else ""
    lines = [f"{rule.data:<34}{rule.becomes:<45}{rule.setting or ''}".rstrip() for rule in report.rules]
    return "\n".join(
        [
            f"gold           {counted(report.gold, 'task')} ({report.empty} empty), "
            f"{counted(report.gold_entities, 'entity')}",
            f"silver         {counted(report.silver, 'task')}, {counted(report.silver_entities, 'entity')}, "
            f"{report.doubtful_entities} doubtful ones; {report.settled_by_name} settled by name "
            f"in {counted(report.partly_reviewed, 'task')}; {counted(report.translated, 'translated task')}",
            f"judged by      {report.dev} dev{share}, {counted(report.test, 'test task')}",
            f"left out       {report.skipped} skipped, {report.unpredicted} without a prediction, "
            f"{report.unused_silver} silver, "
            f"{report.same_text_as_held_out} with the text of a held-out task, {report.nearly_held_out} nearly so",
            f"conflicts      {', '.join(report.conflicts) or 'none'}",
            f"pipeline       {report.pipeline or 'none: run `xner-label predict`'}",
            *(["", *lines] if lines else []),
        ]
    )


class TrainingData(msgspec.Struct, frozen=True):
    """Everything a run learns from and is judged by. ``labels`` is the project's label set, ``annotations`` the
    ids of the rows that the learned gold stands in."""

    labels: tuple[str, ...]
    gold: Sequence[GoldSentence]
    silver: Sequence[Sentence]
    dev: Sequence[GoldSentence]
    test: Sequence[GoldSentence]
    report: DataReport
    annotations: Sequence[int] = ()


def collect(session: Session, project: str, options: DataOptions | None = None) -> TrainingData:
    """Read a project's data. Raises UsageError when there is no such project."""
    options = options or DataOptions()
    row = projects.get_project(session, project)
    labels = tuple(row.labels)
    pipeline = options.pipeline or _current(row)
    projected = projections_of(session, tasks.task_ids(session, row.id, tasks.is_target_text()), pipeline)
    projected |= _translated(session, row.id)
    report = DataReport(pipeline=pipeline, rules=table(options.rules))
    accepted = None
    if options.max_error < 1.0:
        _, accepted = accept(view(session, project, most=None), options.max_error)

    gold = {item.task.id: item for item in gold_of(session, row.id)}
    held_out, report.dev_is_share = _held_out(gold, options)
    hidden = {item.task.text_hash for item in held_out.values()}
    near = NearDuplicates([item.task.text for item in held_out.values()], options.near_duplicates)
    disputed = {item.task.id for item in conflicts_of(session, row.id)}
    skipped = skipped_task_ids(session, row.id) - gold.keys()

    learned: list[GoldSentence] = []
    annotations: list[int] = []
    silver: list[Sentence] = []
    for task in tasks.iterate_tasks(session, row.id, set_aside.not_excluded()):
        if task.split not in _LEARNED or task.id in held_out:
            continue
        if task.text_hash in hidden:
            report.same_text_as_held_out += 1
        elif near.has(task.text):
            report.nearly_held_out += 1
        elif task.id in gold:
            learned.append(_with_fitting_tokens(_gold_sentence(gold[task.id], projected, labels, report)))
            report.gold_entities += len(learned[-1].entities)
            report.empty += not gold[task.id].entities
            annotations += gold[task.id].annotations
        elif task.id in disputed:
            report.conflicts.append(task.external_id)
        elif task.id in skipped:
            report.skipped += 1
        elif task.id not in projected:
            report.unpredicted += 1
        elif options.rules.silver == "none" or (accepted is not None and task.split == tasks.TRANSLATED):
            report.unused_silver += 1
        else:
            sentence = to_sentence(task, projected)
            report.translated += task.split == tasks.TRANSLATED
            silver.append(sentence if accepted is None else _only(sentence, accepted.get(task.id, set())))
            _count_silver(silver[-1], options, report)
    judged = [_gold_sentence(item, projected, labels, report) for item in held_out.values()]
    is_test = [item.task.split == TEST for item in held_out.values()]
    data = TrainingData(
        labels,
        learned,
        silver,
        _where(judged, is_test, False),
        _where(judged, is_test, True),
        report,
        annotations,
    )
    report.gold, report.silver = len(learned), len(silver)
    report.dev, report.test = len(data.dev), len(data.test)
    return data


def collect_dev(session: Session, project: str, options: DataOptions | None = None) -> list[GoldSentence]:
    """The gold that ``collect`` holds out as dev, without reading what is learned from.

    Raises UsageError when there is no such project.
    """
    options = options or DataOptions()
    row = projects.get_project(session, project)
    gold = {item.task.id: item for item in gold_of(session, row.id)}
    dev = {key: item for key, item in _held_out(gold, options)[0].items() if item.task.split != TEST}
    projected = projections_of(session, list(dev), options.pipeline or _current(row))
    labels = tuple(row.labels)
    return [_gold_sentence(item, projected, labels, DataReport()) for item in dev.values()]


def count_new_gold(
    session: Session, project: str, known: Collection[int], options: DataOptions | None = None
) -> int:
    """How many tasks that training may learn from have gold that isn't in the annotations ``known``.

    Raises UsageError when there is no such project.
    """
    options = options or DataOptions()
    gold = {item.task.id: item for item in gold_of(session, projects.get_project(session, project).id)}
    held_out, _ = _held_out(gold, options)
    return sum(
        item.task.split in TRAINABLE and key not in held_out and not set(known).issuperset(item.annotations)
        for key, item in gold.items()
    )


def _held_out(gold: Mapping[int, Gold], options: DataOptions) -> tuple[dict[int, Gold], bool]:
    """The gold to judge by, by task id, and whether a share of the trainable splits is part of it."""
    held_out = {key: item for key, item in gold.items() if item.task.split not in _LEARNED}
    if options.dev_share <= 0 or any(item.task.split != TEST for item in held_out.values()):
        return held_out, False
    share = {key: item for key, item in gold.items() if _falls_in_share(item.task, options.dev_share)}
    return held_out | share, bool(share)


def _current(project: tables.Project) -> str | None:
    return None if project.pipeline is None else project.pipeline.name


def projections_of(
    session: Session, task_ids: Sequence[int], version: str | None
) -> dict[int, tuple[entities.ProjectedEntity, ...]]:
    """The entities that a pipeline version projected, by task id; empty where none has run."""
    if version is None:
        return {}
    predicted = predictions.of_tasks(session, task_ids, version)
    return {task_id: predictions.projected_entities(prediction) for task_id, prediction in predicted.items()}


def _translated(session: Session, project_id: int) -> dict[int, tuple[entities.ProjectedEntity, ...]]:
    """The entities of translated source texts, by task id, by whatever made each last."""
    ids = tasks.task_ids(session, project_id, tables.Task.split == tasks.TRANSLATED)
    latest = predictions.latest_of_tasks(session, ids)
    return {task_id: predictions.projected_entities(prediction) for task_id, prediction in latest.items()}


def to_sentence(task: tables.Task, projected: Mapping[int, Sequence[entities.ProjectedEntity]]) -> Sentence:
    """A stored task as a model sees it, with its projection if there is one."""
    tokens = Tokens.of(task.text, task.tokens)
    silver = projected.get(task.id)
    return Sentence(
        task.id,
        task.external_id,
        tokens,
        None if silver is None else tuple(silver),
        task.source,
        tuple(msgspec.convert(task.source_entities or (), list[Entity])),
        task.translator_id is not None,
    )


def _gold_sentence(
    gold: Gold,
    projected: Mapping[int, Sequence[entities.ProjectedEntity]],
    labels: Collection[str],
    report: DataReport,
) -> GoldSentence:
    known = tuple(entity for entity in gold.entities if entity.label in labels)
    report.foreign_entities += len(gold.entities) - len(known)
    return GoldSentence(to_sentence(gold.task, projected), known, gold.people)


def _only(sentence: Sentence, accepted: Set[tuple[int, int, str]]) -> Sentence:
    """A silver sentence in which entities that aren't accepted have no confidence, so that they are unknown
    text."""
    silver = tuple(
        entity
        if (entity.start, entity.end, entity.label) in accepted
        else msgspec.structs.replace(entity, confidence=0.0, provenance=msgspec.UNSET)
        for entity in sentence.silver or ()
    )
    return msgspec.structs.replace(sentence, silver=silver)


def _with_fitting_tokens(item: GoldSentence) -> GoldSentence:
    """What is learned from has its tokens cut where people saw a name begin or end inside one.

    What is judged on keeps its tokens: a cut would give the border away.
    """
    borders = (border for entity in item.entities for border in (entity.start, entity.end))
    tokens = item.sentence.tokens.cut_at(borders)
    return msgspec.structs.replace(item, sentence=msgspec.structs.replace(item.sentence, tokens=tokens))


def _count_silver(sentence: Sentence, options: DataOptions, report: DataReport) -> None:
    doubtful = sum(map(options.rules.is_doubtful, sentence.silver or ()))
    settled = sum(map(is_settled, sentence.silver or ()))
    report.settled_by_name += settled
    report.partly_reviewed += settled > 0
    report.doubtful_entities += doubtful
    report.silver_entities += len(sentence.silver or ()) - doubtful


def _falls_in_share(task: tables.Task, share: float) -> bool:
    return task.split in TRAINABLE and int(task.text_hash[:8], 16) % _BUCKETS < share * _BUCKETS


def _where(items: Sequence[_Item], flags: Sequence[bool], wanted: bool) -> list[_Item]:
    return [item for item, flag in zip(items, flags, strict=True) if flag is wanted]
