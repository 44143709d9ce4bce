"""Queries about documents, the sentences of which are tasks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from xner_label.entities import Span
from xner_label.store.database import id_batches, insert_new
from xner_label.store.document_tables import Document, DocumentSentence
from xner_label.store.tables import Task


class StoredDocument(msgspec.Struct, frozen=True):
    """A document's text and where its sentences are, in code points, in order."""

    id: int
    text: str
    spans: tuple[Span, ...]


def documents_by_external(
    session: Session, project_id: int, external_ids: Sequence[str]
) -> dict[str, StoredDocument]:
    """The documents that have these external ids, by it."""
    stored: dict[str, StoredDocument] = {}
    for chunk in id_batches(external_ids):
        query = select(Document).where(Document.project_id == project_id, Document.external_id.in_(chunk))
        documents = list(session.scalars(query))
        spans: dict[int, list[Span]] = {document.id: [] for document in documents}
        of_tasks = (
            select(DocumentSentence.document_id, DocumentSentence.start, Task.text)
            .join(Task)
            .where(DocumentSentence.document_id.in_(list(spans)))
            .order_by(DocumentSentence.start)
        )
        for document_id, start, text in session.execute(of_tasks):
            spans[document_id].append(Span(start, start + len(text)))
        stored.update(
            (row.external_id, StoredDocument(row.id, row.text, tuple(spans[row.id]))) for row in documents
        )
    return stored


def add_documents(session: Session, project_id: int, texts: Mapping[str, tuple[str, int]]) -> dict[str, int]:
    """Add documents, (text, number of sentences) by external id; returns the ids of all, known ones too."""
    rows = [
        {"project_id": project_id, "external_id": name, "text": text, "sentences": count}
        for name, (text, count) in texts.items()
    ]
    insert_new(session, Document, rows)
    ids: dict[str, int] = {}
    for chunk in id_batches(list(texts)):
        query = select(Document.external_id, Document.id).where(
            Document.project_id == project_id, Document.external_id.in_(chunk)
        )
        ids.update(session.execute(query).all())
    return ids


def add_sentences(session: Session, sentences: Sequence[tuple[int, int, int]]) -> None:
    """Say of tasks which document they are from: (task, document, start in code points)."""
    rows = [{"task_id": task, "document_id": document, "start": start} for task, document, start in sentences]
    insert_new(session, DocumentSentence, rows)


class Place(msgspec.Struct, frozen=True):
    """Where a task stands: in which document and from which code point on."""

    document: int
    start: int


def places(session: Session, task_ids: Collection[int]) -> dict[int, Place]:
    """The places of those tasks that are sentences of documents."""
    result: dict[int, Place] = {}
    for chunk in id_batches(list(task_ids)):
        query = select(DocumentSentence).where(DocumentSentence.task_id.in_(chunk))
        result.update((row.task_id, Place(row.document_id, row.start)) for row in session.scalars(query))
    return result


def document(session: Session, document_id: int) -> Document:
    """A document that exists."""
    return session.get_one(Document, document_id)
