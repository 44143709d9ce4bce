"""Hugging Face records for token classification: ``tokens`` and ``ner_tags``, as names or as numbers.

Other usual names of the two fields are understood. Numbers need the names of the tags, in order (``tag_names``):
they stand in the data set's card, under ``features``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from xner_label.errors import RecordError, UsageError
from xner_label.exchange.readers.interface import ImportedTask, ReadOptions
from xner_label.exchange.readers.json_records import converted, decode_object, first_present
from xner_label.exchange.readers.tagged_tokens import task_of
from xner_label.exchange.readers.task_lines import with_own_fields
from xner_label.exchange.tag_schemes import is_tag

TOKENS = ("tokens", "words")
TAGS = ("ner_tags", "ner", "tags", "labels", "ner_labels")


def matches(fields: dict[str, Any]) -> bool:
    """Whether a record has tokens and entity tags: by the field's name, or as many that look like some (tags of
    another kind aren't ours)."""
    tokens_field, tags_field = first_present(fields, TOKENS), first_present(fields, TAGS)
    tokens, tags = fields.get(tokens_field or ""), fields.get(tags_field or "")
    if "entities" in fields or not isinstance(tokens, list):
        return False
    if tags is None:
        return "text" not in fields
    named = str(tags_field).startswith("ner")
    if not isinstance(tags, list) or (len(tokens) != len(tags) and not named):
        return False
    return all(type(tag) is int or (isinstance(tag, str) and (named or is_tag(tag))) for tag in tags)


def read_tagged(record: bytes, options: ReadOptions) -> ImportedTask:
    """One record. Raises UsageError for numbered tags without names."""
    fields = decode_object(record)
    tokens_field, tags_field = first_present(fields, TOKENS), first_present(fields, TAGS)
    if tokens_field is None:
        raise RecordError("tokens", "missing; the format hf has `tokens` and `ner_tags`")
    tokens = converted(fields[tokens_field], tuple[str, ...], tokens_field, "a list of strings")
    tags: list[str] = []
    if tags_field is not None:
        values = converted(fields[tags_field], list[str | int], tags_field, "a list of tags")
        if len(values) != len(tokens):
            raise RecordError(tags_field, f"{len(values)} tags for {len(tokens)} tokens; give one tag per token")
        tags = [_name(value, tags_field, options.tag_names) for value in values]
    text = converted(fields.get("text"), str | None, "text", "a string")  # type: ignore[arg-type]
    if not any(token.strip() for token in tokens):
        raise RecordError(tokens_field, "empty; leave the record out")
    task = task_of(tokens, tags or ["O"] * len(tokens), text=text)
    fields_of_task = msgspec.to_builtins(task)
    if fields.get("id") is not None:
        fields_of_task["id"] = fields["id"]
    if tags_field is None:
        del fields_of_task["entities"]
    read = frozenset({tokens_field, tags_field or "", "text", "id", "entities"})
    return with_own_fields(fields_of_task, fields, read, entities_field=tags_field or TAGS[0])


def _name(value: str | int, field: str, names: tuple[str, ...]) -> str:
    if isinstance(value, str):
        return value
    if not names:
        raise UsageError(
            f"`{field}` holds numbers", hint="name them in order, from 0: --tag-names O,B-PER,I-PER,..."
        )
    if not 0 <= value < len(names):
        raise RecordError(field, f"tag {value} has no name; --tag-names gives {len(names)}, from 0")
    return names[value]
