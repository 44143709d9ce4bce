"""spaCy's DocBin, through spaCy itself (the extra ``spacy``)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import pairwise

from xner_label.entities import Tokens
from xner_label.errors import MissingExtraError
from xner_label.exchange.exported import ExportedTask, ExportReport
from xner_label.exchange.readers.spacy_docs import ID, SPANS, SPLIT
from xner_label.iob2 import place


def write_docs(tasks: Iterable[ExportedTask], report: ExportReport) -> Iterator[bytes]:
    """A DocBin with a Doc for each task, ids and splits in its user data; held in memory until it is written.

    All entities are in the span group ``sc``, those that don't overlap a longer one in ``ents`` as well, which
    `spacy train` learns from. Tokens are cut where entities begin or end. Raises MissingExtraError without spaCy.
    """
    try:
        from spacy.tokens import Doc, DocBin, Span
        from spacy.vocab import Vocab
    except ModuleNotFoundError:
        raise MissingExtraError("spacy", "writing a DocBin") from None
    vocab, packed = Vocab(), DocBin(store_user_data=True)
    for task in tasks:
        tokens = Tokens.of(task.text, task.tokens)
        borders = {border for entity in task.entities for border in (entity.start, entity.end)}
        report.cut_tokens += len(tokens.cut_at(borders)) - len(tokens)
        words, spaces, starts = _words(tokens, borders)
        doc = Doc(vocab, words=words, spaces=spaces)
        doc.user_data.update({ID: task.id, SPLIT: task.split})
        ranges = [
            (starts.index(entity.start), bisect_left(starts, entity.end), entity.label) for entity in task.entities
        ]
        group = [Span(doc, first, last, label) for first, last, label in ranges]
        _, placed = place(ranges, len(words))
        doc.spans[SPANS] = group
        doc.set_ents([span for span, apart in zip(group, placed, strict=True) if apart], default="outside")
        packed.add(doc)
    yield packed.to_bytes()


def _words(tokens: Tokens, borders: Iterable[int]) -> tuple[list[str], list[bool], list[int]]:
    """A text as spaCy's words, with whether a space follows each, and where each begins.

    What stands between tokens and isn't a single space becomes a word of its own, so that the text comes back.
    """
    text = tokens.text
    cuts = sorted({0, len(text), *tokens.starts, *tokens.ends, *borders})
    words: list[str] = []
    spaces: list[bool] = []
    starts: list[int] = []
    for start, end in pairwise(cuts):
        if text[start] == " " and words and not spaces[-1]:
            spaces[-1] = True
            start += 1
        if start < end:
            words.append(text[start:end])
            spaces.append(False)
            starts.append(start)
    return words, spaces, starts
