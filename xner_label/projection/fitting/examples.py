"""Tasks whose target entities are known: what weights are fitted on and judged by."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec

from xner_label.entities import Task
from xner_label.errors import RecordError
from xner_label.jsonl import decode_line, numbered_lines, open_input
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
    """The examples of a JSON Lines file. Raises RecordError with the line number at the first bad line."""
    decoder = msgspec.json.Decoder(Task)
    examples = []
    with open_input(path) as stream:
        for number, line in numbered_lines(stream):
            try:
                examples.append(read_example(decode_line(line, decoder)))
            except RecordError as error:
                error.line = number
                raise
    return examples
