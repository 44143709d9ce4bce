"""spaCy's DocBin files (``.spacy``), a task for each Doc, through spaCy itself (the extra ``spacy``).

Entities are the Doc's ``ents``, and what its span group ``sc`` (spaCy's usual name) holds besides: spans there may
overlap.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xner_label.entities import Entity, Task
from xner_label.errors import MissingExtraError, RecordError, UsageError
from xner_label.exchange.readers.interface import ImportedTask, Numbered, ReadOptions, id_of, in_order

SUFFIX = ".spacy"
# The group of spans that spaCy's span categorizer reads and writes; our fields in a Doc's user data.
SPANS, ID, SPLIT = "sc", "xner_id", "split"


def read_docs(path: Path, _: ReadOptions) -> Iterator[Numbered]:
    """The Docs of a DocBin, numbered from 1. The file is in memory at once, as spaCy stores it.

    Raises UsageError for a file that isn't one, MissingExtraError without spaCy.
    """
    try:
        from spacy.tokens import DocBin
        from spacy.vocab import Vocab
    except ModuleNotFoundError:
        raise MissingExtraError("spacy", "reading a DocBin") from None
    try:
        docs = DocBin().from_disk(path)
    except OSError as error:
        raise UsageError(f"can't read {path}: {error.strerror or error}", hint="check the path") from None
    except (zlib.error, ValueError, KeyError, TypeError) as error:
        # spaCy has no error of its own for this
        raise UsageError(
            f"{path} isn't a DocBin: {error!r}", hint="write it with spaCy's DocBin.to_disk"
        ) from None
    for number, doc in enumerate(docs.get_docs(Vocab()), 1):
        try:
            yield number, _task(doc)
        except RecordError as error:
            yield number, error.at_line(number)


def _task(doc: Any) -> ImportedTask:
    text = doc.text
    spans = [*doc.ents, *doc.spans.get(SPANS, ())]
    if any(not span.label_ for span in spans):
        raise RecordError("ents", "an entity has no label; give each one a label")
    entities = {Entity(span.start_char, span.end_char, span.label_): None for span in spans}
    fields = doc.user_data
    key = fields.get(ID)
    task = Task(
        id=key if isinstance(key, str | int) else id_of(text),
        text=text,
        entities=in_order(entities),
        tokens=tuple(token.text for token in doc if token.text.strip()),
    )
    # no token says whether it is in an entity: nobody has labelled the text
    unlabelled = not entities and not doc.has_annotation("ENT_IOB")
    split = fields.get(SPLIT)
    return ImportedTask(
        task, split if isinstance(split, str) else None, unlabelled=unlabelled, entities_field="ents"
    )
