"""Tasks whose target entities are known: what weights are fitted on and judged by."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from xner_label.entities import Task
from xner_label.jsonl import read_checked
from xner_label.projection.problem import Instance, build_instance


class Example(NamedTuple):
    """An instance and its gold entities as ``(first, last, label)``, half-open ranges of target tokens."""

    instance: Instance
    gold: tuple[tuple[int, int, str], ...]


def read_example(task: Task) -> Example:
    """A task with gold ``entities`` as an example. Entities whose borders lie inside a token are left out.

    Raises RecordError for what isn't a valid task.
    """
    instance, _ = build_instance(task)
    gold = []
    for entity in task.entities or ():
        first, last, fits = instance.target.covering(entity.start, entity.end)
        if fits:
            gold.append((first, last, entity.label))
    return Example(instance, tuple(gold))


def read_examples(path: Path) -> list[Example]:
    """The examples of a JSON Lines file. Raises RecordError for the first bad line."""
    return list(read_checked(path, Task, read_example))
