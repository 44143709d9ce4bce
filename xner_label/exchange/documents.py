"""Long texts: cut into sentences, each a task, on their way in; put together again on their way out."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

import msgspec

from xner_label.entities import Entity, Span
from xner_label.errors import RecordError
from xner_label.exchange.exported import ExportedTask, ExportReport
from xner_label.exchange.readers.interface import ImportedTask
from xner_label.stages.translation.sentences import sentences
from xner_label.store import documents
from xner_label.store.database import Store
from xner_label.store.documents import StoredDocument
from xner_label.wording import counted

# What is counted along the whole text, and can't be cut where its sentences end.
_OF_THE_WHOLE = ("source", "source_entities", "tokens", "source_tokens", "alignment")


def sentence_spans(text: str, entities: Sequence[Entity]) -> list[Span]:
    """Where the sentences of a document are; two of them stay one where an entity goes over their border."""
    ordered = sorted(entities, key=lambda entity: entity.start)
    starts = [entity.start for entity in ordered]
    furthest = list(accumulate((entity.end for entity in ordered), max))
    spans: list[Span] = []
    for span in sentences(text):
        before = bisect_left(starts, spans[-1].end) if spans else 0
        if before and furthest[before - 1] > span.start:
            spans[-1] = Span(spans[-1].start, span.end)
        else:
            spans.append(span)
    return spans


def sentence_tasks(record: ImportedTask, stored: StoredDocument | None) -> list[tuple[Span, ImportedTask]]:
    """The sentences of a document with their tasks, whose ids are the document's with ``#1``, ``#2`` ...

    A document that is ``stored`` is cut as it was then. Raises RecordError for one that brings what can't be cut
    along, that is stored with another text, or whose entity goes over the border of sentences.
    """
    task = record.task
    for field in _OF_THE_WHOLE:
        if getattr(task, field) is not None:
            raise RecordError(field, "belongs to the whole text; leave it out, or import without --sentences")
    if stored is not None and stored.text != task.text:
        raise RecordError(
            "id", f"{str(task.id)!r} already belongs to another document; give each an id of its own"
        )
    spans = stored.spans if stored is not None else sentence_spans(task.text, task.entities or ())
    starts = [span.start for span in spans]
    inside: list[list[Entity]] = [[] for _ in spans]
    for index, entity in enumerate(task.entities or ()):
        place = bisect_right(starts, entity.start) - 1
        if place < 0 or entity.end > spans[place].end:
            raise RecordError(
                f"{record.entities_field}[{index}]",
                f"{entity.start}..{entity.end} goes over the border of two of its sentences, as they are stored",
            )
        shifted = {"start": entity.start - spans[place].start, "end": entity.end - spans[place].start}
        inside[place].append(msgspec.structs.replace(entity, **shifted))
    return [
        (span, _sentence(record, number, span, None if task.entities is None else tuple(entities)))
        for number, (span, entities) in enumerate(zip(spans, inside, strict=True), 1)
    ]


def _sentence(record: ImportedTask, number: int, span: Span, entities: tuple[Entity, ...] | None) -> ImportedTask:
    text = record.task.text[span.start : span.end]
    task = msgspec.structs.replace(record.task, id=f"{record.task.id}#{number}", text=text, entities=entities)
    return msgspec.structs.replace(record, task=task)


class _Parts(msgspec.Struct):
    """The exported sentences of a document so far, each with its start, and how many there must be."""

    id: str
    text: str
    count: int
    sentences: list[tuple[int, ExportedTask]]


def whole_documents(
    store: Store, tasks: Iterator[tuple[int, ExportedTask]], report: ExportReport
) -> Iterator[ExportedTask]:
    """Exported tasks, by their id in the store, with those that are sentences of a document as one.

    A document is gold where all its sentences are, silver where none is, else mixed. One that lacks a sentence is
    left out and named in the report. Only documents that aren't complete yet are held in memory.
    """
    unfinished: dict[int, _Parts] = {}
    for batch in _batches(tasks):
        with store.read() as session:
            places = documents.places(session, [task_id for task_id, _ in batch])
            for key in {place.document for place in places.values()} - unfinished.keys():
                row = documents.document(session, key)
                unfinished[key] = _Parts(row.external_id, row.text, row.sentences, [])
        for task_id, task in batch:
            place = places.get(task_id)
            if place is None:
                yield task
                continue
            parts = unfinished[place.document]
            parts.sentences.append((place.start, task))
            if len(parts.sentences) == parts.count:
                del unfinished[place.document]
                yield _joined(parts)
    for parts in unfinished.values():
        report.leave_out_document(
            parts.id, f"{len(parts.sentences)} of its {counted(parts.count, 'sentence')} can be exported"
        )


def _batches(tasks: Iterator[tuple[int, ExportedTask]]) -> Iterator[list[tuple[int, ExportedTask]]]:
    batch = []
    for pair in tasks:
        batch.append(pair)
        if len(batch) == 1_000:
            yield batch
            batch = []
    if batch:
        yield batch


def _joined(parts: _Parts) -> ExportedTask:
    entities = tuple(
        msgspec.structs.replace(entity, start=entity.start + start, end=entity.end + start)
        for start, task in sorted(parts.sentences, key=lambda pair: pair[0])
        for entity in task.entities
    )
    origins = {task.origin for _, task in parts.sentences}
    return ExportedTask(
        id=parts.id,
        text=parts.text,
        entities=entities,
        split=parts.sentences[0][1].split,
        origin=origins.pop() if len(origins) == 1 else "mixed",
    )
