"""Reading a file in a test as `import` does: its format, its tasks, its errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from xner_label.errors import RecordError
from xner_label.exchange.checking import checked_task
from xner_label.exchange.readers.formats import open_records
from xner_label.exchange.readers.interface import ImportedTask, ReadOptions

CASES = Path(__file__).parent / "cases"
LABELS = {"PER", "LOC", "ORG"}


class Read:
    """What a file gives: its format, the tasks by line, the errors by line."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.tasks: dict[int, ImportedTask] = {}
        self.records: list[ImportedTask] = []
        self.errors: dict[int, RecordError] = {}
        with open_records(path, ReadOptions(**options)) as (self.format, records):
            for number, record in records:
                try:
                    if isinstance(record, RecordError):
                        raise record
                    checked_task(record, LABELS, drop=False, needs_entities=False)
                    self.tasks[number] = record
                    self.records.append(record)
                except RecordError as error:
                    self.errors[number] = error

    @property
    def texts(self) -> list[str]:
        return [record.task.text for record in self.records]

    @property
    def entities(self) -> list[list[tuple[str, str]]]:
        return [
            [(record.task.text[entity.start : entity.end], entity.label) for entity in record.task.entities or ()]
            for record in self.records
        ]


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def call(name: str, content: bytes | str, **options: Any) -> Read:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return Read(path, **options)

    return call


def json_lines(*records: object) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def named_error(read: Any, name: str, content: str) -> RecordError:
    """The error of a file whose entities are needed and aren't usable."""
    result = read(name, content)
    with pytest.raises(RecordError) as caught:
        for record in result.tasks.values():
            checked_task(record, LABELS, drop=False, needs_entities=True)
    return caught.value
