"""Label Studio's exports: JSON (tasks with annotations) and JSON-MIN (the newest annotation flattened).

Gold is what people annotated: predictions and skipped annotations are never gold. Where annotations of a task
differ the newest counts. Offsets are code points, end exclusive, as ours.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from xner_label.errors import RecordError
from xner_label.exchange.readers.interface import ImportedTask, ReadOptions, id_of
from xner_label.exchange.readers.json_records import converted, decode_object, first_present
from xner_label.exchange.readers.task_lines import with_own_fields

# "completions" is what versions before 1.0 called them.
_ANNOTATIONS = ("annotations", "completions")
# How we call our ids and sources in the data of tasks that `push` sends.
_IDS, _SOURCES = ("xner_id", "id"), ("source_text",)
_ABOUT_EXPORT = frozenset(
    {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "completed_by"}
)
# Label Studio writes line ends as \n, and shortens white space, in what it says a region covers.
_WHITE = re.compile(r"(?:\s|\\n)+")
_NO_ANNOTATION = "nobody has annotated it: no gold"
_SEVERAL = "its annotations differ: the newest is taken"


def matches(fields: dict[str, Any]) -> bool:
    """Whether a record is a task of Label Studio, or one of its JSON-MIN export."""
    if isinstance(fields.get("data"), dict):
        return True
    return any(_is_minimal(value) for value in fields.values())


def _is_minimal(value: object) -> bool:
    """Whether a field of JSON-MIN holds regions."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(region, dict) and {"start", "end", "labels"} <= region.keys() for region in value)
    )


def read_export(record: bytes, _: ReadOptions) -> ImportedTask:
    """One task. Raises RecordError for regions that can't be entities of its text."""
    fields = decode_object(record)
    if "data" in fields:
        return _read_task(fields)
    data = {name: value for name, value in fields.items() if not _is_minimal(value)}
    regions = [region for value in fields.values() if _is_minimal(value) for region in value]
    labelled = bool(regions) or "annotation_id" in fields
    text_field = _text_field(data, None)
    entities = [_entity(region, index, str(data[text_field])) for index, region in enumerate(regions)]
    return _task(data, text_field, entities if labelled else None, fields.get("id"), ())


def _read_task(fields: dict[str, Any]) -> ImportedTask:
    data = converted(fields["data"], dict[str, Any], "data", "the task's data as an object")
    named = first_present(fields, _ANNOTATIONS)
    annotations = converted(fields.get(named or "") or [], list[dict[str, Any]], named or "", "a list of objects")
    usable = [item for item in annotations if not (item.get("was_cancelled") or item.get("skipped"))]
    usable.sort(key=lambda item: str(item.get("updated_at") or item.get("created_at") or ""))
    results = [
        converted(item.get("result"), list[dict[str, Any]], f"{named}.result", "a list of regions")
        for item in usable
    ]
    text_field = _text_field(data, results[-1] if results else None)
    answers = [_entities(result, str(data[text_field])) for result in results]
    notes = () if len({tuple(map(str, answer)) for answer in answers}) < 2 else (_SEVERAL,)
    return _task(data, text_field, answers[-1] if answers else None, fields.get("id"), notes)


def _task(
    data: dict[str, Any],
    text_field: str,
    entities: list[dict[str, Any]] | None,
    task_id: object,
    notes: tuple[str, ...],
) -> ImportedTask:
    text = str(data[text_field])
    fields_of_task: dict[str, Any] = {"text": text}
    id_field = first_present(data, _IDS)
    fields_of_task["id"] = data[id_field] if id_field else task_id if task_id is not None else id_of(text)
    source = first_present(data, _SOURCES)
    if source is not None:
        fields_of_task["source"] = data[source]
    if entities is not None:
        fields_of_task["entities"] = entities
    else:
        notes = (*notes, _NO_ANNOTATION)
    read = frozenset({text_field, id_field or "", source or "", "min_conf"}) | _ABOUT_EXPORT
    task = with_own_fields(fields_of_task, data, read, entities_field="annotations", unlabelled=entities is None)
    return msgspec.structs.replace(task, notes=task.notes + notes)


def _text_field(data: dict[str, Any], result: list[dict[str, Any]] | None) -> str:
    """The field of the data that was annotated: `text`, the name that the regions point to, or the only string."""
    pointed = [str(region.get("to_name")) for region in result or () if region.get("type") == "labels"]
    for name in ("text", *pointed):
        if isinstance(data.get(name), str):
            return name
    strings = [name for name, value in data.items() if isinstance(value, str) and name not in _ABOUT_EXPORT]
    if len(strings) != 1:
        raise RecordError(
            "data.text", f"missing; the data has {', '.join(sorted(data)) or 'no fields'}; call the text `text`"
        )
    return strings[0]


def _entities(result: list[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    entities: dict[tuple[int, int, str], dict[str, Any]] = {}
    for index, region in enumerate(result):
        kind = region.get("type")
        if kind == "hypertextlabels":
            raise RecordError(
                f"result[{index}]", "a region of a HyperText; annotate the text as Text and export it"
            )
        if kind == "labels":
            value = converted(region.get("value"), dict[str, Any], f"result[{index}].value", "start, end, labels")
            entity = _entity(value, index, text)
            entities[entity["start"], entity["end"], entity["label"]] = entity
    return [entities[key] for key in sorted(entities)]


def _entity(value: dict[str, Any], index: int, text: str) -> dict[str, Any]:
    field = f"result[{index}]"
    labels = converted(value.get("labels"), list[str], f"{field}.labels", "one label")
    if len(labels) != 1:
        raise RecordError(f"{field}.labels", f"{len(labels)} labels ({', '.join(labels)}); leave one")
    start = converted(value.get("start"), int, f"{field}.start", "a number of code points")
    end = converted(value.get("end"), int, f"{field}.end", "a number of code points")
    covered = value.get("text")
    if isinstance(covered, str) and _WHITE.sub("", covered) != _WHITE.sub("", text[start:end]):
        raise RecordError(
            field,
            f"{start}..{end} hold {text[start:end][:40]!r}, not {covered[:40]!r}; offsets count code points, and "
            "the text must be the one that was annotated",
        )
    return {"start": start, "end": end, "label": labels[0]}
