"""The data of a benchmark: tasks with gold, from a file in any format that `import` reads."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec

from xner_label.entities import Entity, Task, Tokens, check_offsets, trimmed
from xner_label.errors import RecordError, UsageError
from xner_label.evaluation.signature import data_hash
from xner_label.evaluation.strict_scores import LabelledSpan
from xner_label.exchange.readers.formats import open_records
from xner_label.exchange.readers.interface import ReadOptions
from xner_label.projection.problem import build_instance
from xner_label.wording import counted


class Dataset(msgspec.Struct, frozen=True):
    """Tasks with gold, in the file's order.

    ``name`` heads the rows of results. ``digest`` is a hash of all that is in the tasks, gold included.
    ``without_gold`` counts tasks that nobody labelled, ``errors`` says what is wrong with bad records.
    """

    name: str
    tasks: tuple[Task, ...]
    digest: str
    without_gold: int
    errors: tuple[RecordError, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the gold, sorted."""
        return tuple(sorted({entity.label for task in self.tasks for entity in task.entities or ()}))


def read_dataset(argument: str, options: ReadOptions, *, split: str | None = None, limit: int = 0) -> Dataset:
    """Read ``PATH`` or ``NAME=PATH``; without a name the file's own, up to the first dot, is taken.

    ``split`` keeps the tasks of that split alone, ``limit`` the first so many (0: all). Raises UsageError for a
    file that can't be read or in which no task has gold.
    """
    path, name = _path_and_name(argument)
    tasks: list[Task] = []
    errors: list[RecordError] = []
    without_gold = 0
    with open_records(path, options) as (_, records):
        for number, record in records:
            if limit and len(tasks) >= limit:
                break
            if isinstance(record, RecordError):
                errors.append(record.in_file(path))
            elif split is None or record.split == split:
                if record.unlabelled or record.task.entities is None:
                    without_gold += 1
                    continue
                try:
                    tasks.append(_counted(record.task))
                except RecordError as error:
                    errors.append(error.at_line(number).in_file(path))
    if not any(task.entities for task in tasks):
        of_split = f" of the split {split!r}" if split else ""
        raise UsageError(
            f"{path} has no gold to judge by: none of its tasks{of_split} has entities"
            + (
                f"; {counted(len(errors), 'record is', 'records are')} bad, the first: {errors[0]}"
                if errors
                else ""
            ),
            hint="`entities` are what people settled; `xner-label export --gold` writes them",
        )
    return Dataset(name, tuple(tasks), data_hash(tasks), without_gold, tuple(errors))


def _path_and_name(argument: str) -> tuple[Path, str]:
    name, equals, path = argument.partition("=")
    if equals and name and not Path(argument).exists():
        return Path(path), name
    return Path(argument), Path(argument).name.partition(".")[0] or argument


def _counted(task: Task) -> Task:
    """The task with the tokens that its links count. Raises RecordError for one that isn't valid."""
    check_offsets(task.text, task.entities or (), "entities")
    instance, _ = build_instance(task)
    if task.alignment is None:
        return task
    tokens, source_tokens = tuple(instance.target.words()), tuple(instance.source.words())
    return msgspec.structs.replace(task, tokens=tokens, source_tokens=source_tokens)


def gold_spans(task: Task, labels: Collection[str] | None) -> set[LabelledSpan]:
    """The gold of a task, borders without white space; ``labels`` None: of every label."""
    return labelled_spans(task.text, task.entities or (), labels)


def labelled_spans(text: str, entities: Sequence[Entity], labels: Collection[str] | None) -> set[LabelledSpan]:
    """Entities as ``(start, end, label)`` in code points, borders without white space."""
    return {
        (*trimmed(text, entity.start, entity.end), entity.label)
        for entity in entities
        if labels is None or entity.label in labels
    }


def target_tokens(task: Task) -> Tokens:
    """The tokens of the text, those that links count where there are links."""
    return Tokens.of(task.text, task.tokens)
