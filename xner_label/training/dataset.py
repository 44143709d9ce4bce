"""The data of a run as files: exactly what `train` would learn from and be judged by, for other tools."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from xner_label.entities import Entity
from xner_label.errors import UsageError
from xner_label.exchange.exported import ExportedTask, ExportReport, SilverEntity
from xner_label.exchange.writers import WRITERS
from xner_label.new_folder import new_folder
from xner_label.store.database import Store
from xner_label.training.data import DataOptions, DataReport, collect
from xner_label.training.sentences import GoldSentence, Sentence

_SUFFIXES = {"conll": ".conll", "label-studio": ".json", "webanno": ".tsv", "spacy": ".spacy"}


class DatasetReport(msgspec.Struct, frozen=True):
    """What a dataset holds, why other tasks are left out (``data``), and the ``files`` written, by part."""

    data: DataReport
    files: dict[str, ExportReport]


def make_dataset(
    store: Store, project: str, options: DataOptions, output: Path | None = None, format: str = "jsonl"
) -> DatasetReport:
    """Count what a project offers to training; with ``output`` write it, a file for each part that isn't empty.

    ``gold`` and ``silver`` are learned from, ``dev`` and ``test`` judged by. Silver keeps its confidences in JSON
    Lines; entities that training takes for unknown text are left out. The folder is whole or absent. Raises
    UsageError for an unknown project, or where ``output`` is there already.
    """
    with store.read() as session:
        data = collect(session, project, options)
    if output is None:
        return DatasetReport(data.report, {})
    if output.exists():
        raise UsageError(f"{output} is there already", hint="choose a new folder")
    parts: dict[str, list[ExportedTask]] = {
        "gold": [_of_gold(item, "train") for item in data.gold],
        "silver": [_of_silver(item, data.labels, options) for item in data.silver],
        "dev": [_of_gold(item, "dev") for item in data.dev],
        "test": [_of_gold(item, "test") for item in data.test],
    }
    with new_folder(output) as folder:
        files = dict(_written(parts, folder, format))
    return DatasetReport(data.report, files)


def _written(
    parts: dict[str, list[ExportedTask]], folder: Path, format: str
) -> Iterator[tuple[str, ExportReport]]:
    for name, tasks in parts.items():
        if tasks:
            report = ExportReport(len(tasks), sum(len(task.entities) for task in tasks))
            with open(folder / f"{name}{_SUFFIXES.get(format, '.jsonl')}", "wb") as stream:
                stream.writelines(WRITERS[format](tasks, report))
            yield name, report


def _of_gold(item: GoldSentence, split: str) -> ExportedTask:
    return _exported(item.sentence, item.entities, split, "gold")


def _of_silver(sentence: Sentence, labels: Sequence[str], options: DataOptions) -> ExportedTask:
    kept = [
        SilverEntity(
            entity.start,
            entity.end,
            entity.label,
            entity.score,
            confidence=entity.confidence,
            settled_by_name=entity.provenance.answer if entity.provenance else None,
        )
        for entity in sentence.silver or ()
        if entity.label in labels and not options.rules.is_doubtful(entity)
    ]
    return _exported(sentence, kept, "train", "silver")


def _exported(sentence: Sentence, entities: Sequence[Entity], split: str, origin: str) -> ExportedTask:
    return ExportedTask(
        id=sentence.id,
        text=sentence.text,
        entities=tuple(entities),
        split=split,
        origin=origin,
        tokens=tuple(sentence.tokens.words()),
    )
