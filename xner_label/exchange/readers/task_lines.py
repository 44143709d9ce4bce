"""Our own format: tasks as `xner-label project` takes them, with an optional ``split``."""

from __future__ import annotations

from typing import Any

import msgspec

from xner_label.entities import Task
from xner_label.errors import RecordError
from xner_label.exchange.readers.interface import ImportedTask, ReadOptions
from xner_label.jsonl import decode_line
from xner_label.store.tasks import text_name


class _Record(Task, frozen=True, kw_only=True):
    """A task as it stands in a JSON line. ``origin`` is what `export` says about it."""

    split: str | None = None
    origin: str | None = None


SILVER_NOTE = "`origin` is silver or mixed, in part a machine's prediction: not taken as gold"

_RECORD = msgspec.json.Decoder(_Record)
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_KNOWN = frozenset(_Record.__struct_fields__)


def read_task(record: bytes, _: ReadOptions) -> ImportedTask:
    """A task in our own format; what it has besides is noted. One without an id gets it from its text."""
    try:
        task = decode_line(record, _RECORD)
    except RecordError:
        named = _named_by_text(record)
        if named is None:
            raise
        task = decode_line(named, _RECORD)
    ignored = sorted(_FIELDS.decode(record).keys() - _KNOWN)
    notes = tuple(f"field `{name}` isn't read" for name in ignored)
    if task.origin in ("silver", "mixed"):
        return ImportedTask(task, task.split, unlabelled=True, notes=(*notes, SILVER_NOTE))
    return ImportedTask(task, task.split, notes=notes)


def _named_by_text(record: bytes) -> bytes | None:
    """The record with an id, if all that it may lack is one."""
    try:
        fields = msgspec.json.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(fields, dict) or "id" in fields or not isinstance(fields.get("text"), str):
        return None
    return msgspec.json.encode({"id": text_name(fields["text"]), **fields})


def with_own_fields(
    task: dict[str, Any],
    fields: dict[str, Any],
    read: frozenset[str],
    *,
    entities_field: str,
    unlabelled: bool = False,
) -> ImportedTask:
    """A task that another format gave, completed by what our own one calls by the same name.

    ``task`` has the fields that the format knows, ``fields`` the whole record, ``read`` names those of it that are
    in ``task`` already, ``entities_field`` the one that holds the entities. Raises RecordError for a field that
    hasn't the type it should have.
    """
    further = {name: value for name, value in fields.items() if name not in read}
    record = {name: value for name, value in further.items() if name in _KNOWN and name not in task}
    completed = decode_line(msgspec.json.encode({**record, **task}), _RECORD)
    notes = tuple(f"field `{name}` isn't read" for name in sorted(further.keys() - record.keys()))
    return ImportedTask(
        completed, completed.split, unlabelled=unlabelled, entities_field=entities_field, notes=notes
    )
