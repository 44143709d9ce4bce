"""The formats that `export` writes into one file: each turns labelled tasks into bytes, one after the other.

Tags can't express everything: entities that overlap a longer one, or cover no token, are left out and named in the
report; a token that holds a border inside is cut there. The formats with spans hold everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from xner_label.entities import Tokens
from xner_label.exchange.exported import ExportedTask, ExportReport, Writer
from xner_label.exchange.spacy_writer import write_docs
from xner_label.exchange.webanno_writer import write_webanno
from xner_label.iob2 import place

_VISIBLE = re.compile(r"\S+")


def write_jsonl(tasks: Iterable[ExportedTask], _: ExportReport) -> Iterator[bytes]:
    """Our own JSON Lines, which `import`, `project`, `evaluate`, `fit-projector` and `choose-projector` read."""
    encode = msgspec.json.Encoder().encode
    for task in tasks:
        yield encode(task) + b"\n"


def write_conll(tasks: Iterable[ExportedTask], report: ExportReport) -> Iterator[bytes]:
    """``token<TAB>tag`` in IOB2, a blank line after each task.

    Every line has both columns: tokens that hold white space are written as several.
    """
    for task in tasks:
        tokens = _cut(task, _without_white_space(Tokens.of(task.text, task.tokens)), report)
        rows = zip(tokens, _tags(task, tokens, report), strict=True)
        yield "".join([*(f"{word}\t{tag}\n" for word, tag in rows), "\n"]).encode()


def write_hugging_face(tasks: Iterable[ExportedTask], report: ExportReport) -> Iterator[bytes]:
    """JSON Lines with ``tokens`` and ``ner_tags`` as names, for `datasets.load_dataset("json", ...)`."""
    for task in tasks:
        tokens = _cut(task, Tokens.of(task.text, task.tokens), report)
        yield _line(
            id=task.id,
            text=task.text,
            tokens=tokens.words(),
            ner_tags=_tags(task, tokens, report),
            split=task.split,
        )


def write_doccano(tasks: Iterable[ExportedTask], _: ExportReport) -> Iterator[bytes]:
    """doccano's JSON Lines, with ``label``: [[start, end, label], ...]."""
    for task in tasks:
        spans = [[entity.start, entity.end, entity.label] for entity in task.entities]
        yield _line(id=task.id, text=task.text, label=spans, split=task.split)


def write_prodigy(tasks: Iterable[ExportedTask], _: ExportReport) -> Iterator[bytes]:
    """Prodigy's JSON Lines, with ``spans``; gold has the answer ``accept``, silver none."""
    for task in tasks:
        spans = [{"start": entity.start, "end": entity.end, "label": entity.label} for entity in task.entities]
        answer = {"answer": "accept"} if task.origin == "gold" else {}
        yield _line(id=task.id, text=task.text, spans=spans, split=task.split, **answer)


def write_label_studio(tasks: Iterable[ExportedTask], _: ExportReport) -> Iterator[bytes]:
    """Label Studio's JSON: gold as annotations, silver as predictions, for controls called `label` and `text`."""
    begin = b"[\n"
    for task in tasks:
        regions = [
            {
                "id": f"e{index}",
                "from_name": "label",
                "to_name": "text",
                "type": "labels",
                "value": {
                    "start": entity.start,
                    "end": entity.end,
                    "text": task.text[entity.start : entity.end],
                    "labels": [entity.label],
                },
            }
            for index, entity in enumerate(task.entities)
        ]
        data = {"text": task.text, "xner_id": task.id, "split": task.split}
        if task.source is not None:
            data["source_text"] = task.source
        labelled = "annotations" if task.origin == "gold" else "predictions"
        yield begin + msgspec.json.encode({"data": data, labelled: [{"result": regions}]})
        begin = b",\n"
    yield b"\n]\n" if begin == b",\n" else b"[]\n"


# Formats that are made of tokens: they take those that a task was given.
ON_TOKENS = frozenset({"conll", "hf", "webanno", "spacy"})
WRITERS: Mapping[str, Writer] = {
    "jsonl": write_jsonl,
    "conll": write_conll,
    "hf": write_hugging_face,
    "doccano": write_doccano,
    "prodigy": write_prodigy,
    "label-studio": write_label_studio,
    "webanno": write_webanno,
    "spacy": write_docs,
}


def _line(**fields: Any) -> bytes:
    return msgspec.json.encode(fields) + b"\n"


def _without_white_space(tokens: Tokens) -> Tokens:
    """The tokens, those that hold white space divided there."""
    spans = [
        match.span()
        for start, end in zip(tokens.starts, tokens.ends, strict=True)
        for match in _VISIBLE.finditer(tokens.text, start, end)
    ]
    return Tokens(tokens.text, [start for start, _ in spans], [end for _, end in spans])


def _cut(task: ExportedTask, tokens: Tokens, report: ExportReport) -> Tokens:
    """The tokens, cut where an entity begins or ends inside one: Arabic and Hebrew prefixes, endings."""
    pieces = tokens.cut_at(border for entity in task.entities for border in (entity.start, entity.end))
    report.cut_tokens += len(pieces) - len(tokens)
    return pieces


def _tags(task: ExportedTask, tokens: Tokens, report: ExportReport) -> Sequence[str]:
    """The tags of a task's tokens; what they can't express goes into the report."""
    ranges = [tokens.covering(entity.start, entity.end) for entity in task.entities]
    spans = [(first, last, entity.label) for entity, (first, last, _) in zip(task.entities, ranges, strict=True)]
    tags, placed = place(spans, len(tokens))
    for entity, (first, last, _), is_placed in zip(task.entities, ranges, placed, strict=True):
        if not is_placed:
            report.leave_out(task, entity, "overlaps another entity" if first < last else "covers no token")
    return tags
