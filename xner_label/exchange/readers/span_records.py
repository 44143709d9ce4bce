"""Records with a text and lists of labelled spans: doccano's and Prodigy's JSON Lines.

Both count code points, end exclusive, as we do.

    doccano   {"id", "text" (or "data"), "label" (or "labels"): [[start, end, label], ...]}, and with relations
              {"text", "entities": [{"start_offset", "end_offset", "label"}, ...]}; "entities" may be triples too
    Prodigy   {"text", "spans": [{"start", "end", "label"}, ...], "answer": "accept" | "reject" | "ignore"}
"""

from __future__ import annotations

from typing import Any

from xner_label.errors import RecordError
from xner_label.exchange.readers.interface import ImportedTask, ReadOptions, id_of
from xner_label.exchange.readers.json_records import converted, decode_object, first_present
from xner_label.exchange.readers.task_lines import with_own_fields

_TEXTS = ("text", "data")
_TRIPLES = ("label", "labels", "entities")


def matches_doccano(fields: dict[str, Any]) -> bool:
    """Whether a record has a text and a list of [start, end, label], or entities with start_offset."""
    if not isinstance(fields.get(first_present(fields, _TEXTS) or ""), str):
        return False
    if _is_with_relations(fields):
        return True
    name = first_present(fields, _TRIPLES)
    spans = fields.get(name or "")
    if not isinstance(spans, list) or (name != "entities" and "entities" in fields):
        return False
    return all(map(_is_triple, spans)) and (name != "entities" or bool(spans))


def matches_prodigy(fields: dict[str, Any]) -> bool:
    """Whether a record has a text and spans."""
    spans = fields.get("spans")
    return isinstance(fields.get("text"), str) and isinstance(spans, list) and "entities" not in fields


def _is_triple(span: object) -> bool:
    return isinstance(span, list) and len(span) == 3 and isinstance(span[2], str)


def _is_with_relations(fields: dict[str, Any]) -> bool:
    spans = fields.get("entities")
    return isinstance(spans, list) and any(isinstance(span, dict) and "start_offset" in span for span in spans)


def read_doccano(record: bytes, _: ReadOptions) -> ImportedTask:
    """One record of a doccano export. Raises RecordError for what isn't one."""
    fields = decode_object(record)
    text_field = first_present(fields, _TEXTS) or "text"
    triples = first_present(fields, _TRIPLES)
    if triples is not None and not _is_with_relations(fields):
        spans = converted(fields[triples], list[tuple[int, int, str]], triples, "a list of [start, end, label]")
        entities = [{"start": start, "end": end, "label": label} for start, end, label in spans]
    elif "entities" in fields:
        triples = None
        entities = [
            {"start": span.get("start_offset"), "end": span.get("end_offset"), "label": span.get("label")}
            for span in converted(fields["entities"], list[dict[str, Any]], "entities", "a list of objects")
        ]
    else:
        raise RecordError("label", "missing; the format doccano has `label`: [[start, end, label], ...]")
    entities_field = triples or "entities"
    return _with_entities(
        fields, text_field, entities, entities_field, frozenset({text_field, entities_field, "entities"})
    )


def read_prodigy(record: bytes, _: ReadOptions) -> ImportedTask:
    """One record of a Prodigy data set; one that was rejected or ignored counts as not labelled."""
    fields = decode_object(record)
    answer = fields.get("answer", "accept")
    spans = converted(fields.get("spans") or [], list[dict[str, Any]], "spans", "a list of objects")
    entities = None
    if answer == "accept":
        entities = [{name: span.get(name) for name in ("start", "end", "label")} for span in spans]
    ignored = frozenset(name for name in fields if name.startswith("_")) | {"tokens", "meta"}
    return _with_entities(fields, "text", entities, "spans", ignored | {"text", "spans", "answer"})


def _with_entities(
    fields: dict[str, Any],
    text_field: str,
    entities: list[dict[str, Any]] | None,
    entities_field: str,
    read: frozenset[str],
) -> ImportedTask:
    text = converted(fields.get(text_field), str, text_field, "the text as a string")
    fields_of_task: dict[str, Any] = {
        "id": fields.get("id") if fields.get("id") is not None else id_of(text),
        "text": text,
    }
    if entities is not None:
        fields_of_task["entities"] = entities
    return with_own_fields(
        fields_of_task, fields, read | {"id"}, entities_field=entities_field, unlabelled=entities is None
    )
