"""The value types that every part of XNER-Label passes on.

All offsets are Unicode code points into the text they belong to, end exclusive, exactly as Label Studio and
Python strings count them. Token ranges are half-open too.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, count, pairwise
from operator import add, sub
from typing import Annotated

import msgspec
import regex

from xner_label.errors import RecordError
from xner_label.tokenization import tokenize

Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]
# One alignment link: source token, target token, weight in (0, 1].
Link = tuple[int, int, float]


def text_hash(text: str) -> str:
    """SHA-256 of the text, in hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Span(msgspec.Struct, frozen=True, order=True):
    """A run of code points ``[start, end)``."""

    start: int
    end: int


class Entity(msgspec.Struct, frozen=True, omit_defaults=True):
    """A labelled span. ``score`` is the tagger's probability; None means that a person gave the entity.

    ``text`` is what should stand there, where a file says so: :func:`check_offsets` compares it.
    """

    start: int
    end: int
    label: str
    score: float | None = None
    text: str | None = None


def check_offsets(text: str, entities: Sequence[Entity], field: str) -> None:
    """Raise RecordError, naming ``field``, for an entity outside the text or whose own ``text`` isn't there."""
    for index, entity in enumerate(entities):
        if not 0 <= entity.start < entity.end <= len(text):
            raise RecordError(
                f"{field}[{index}]",
                f"offsets {entity.start}..{entity.end} don't fit a text of {len(text)} code points; offsets are "
                "code points, end exclusive",
            )
        if entity.text is not None and entity.text != text[entity.start : entity.end]:
            raise RecordError(
                f"{field}[{index}].text",
                f"{entity.text[:40]!r} isn't what stands at {entity.start}..{entity.end}, that is "
                f"{text[entity.start : entity.end][:40]!r}; count code points, not UTF-16 units or bytes",
            )


class SourceMention(msgspec.Struct, frozen=True):
    """The source-side mention that a projected entity came from."""

    start: int
    end: int
    label: str
    text: str


class Provenance(msgspec.Struct, frozen=True, omit_defaults=True):
    """What spoke for a projected entity, beside its own sentence.

    ``names``: how often the source name occurs in other sentences, and ``votes`` how many of these, by what is
    believed of each, land on the same text; ``tagger``: probability by a tagger of the target language that never
    saw the sentence, ``tagger_label`` the label that it would rather give the same span. ``alike``: how many
    entities of the same text and label are expected in other sentences, ``rivals`` those of the text with another
    label; None while nobody has answered. ``settled``: ids of
    reviewed tasks, a few of them, where people left the same name or text standing with this label,
    ``settled_count`` of all of them; ``against``, ``against_count`` those where they did not. ``answer``: who
    settled it by an answer about the name, and when.
    """

    names: float = 0.0
    votes: float = 0.0
    tagger: float | None = None
    tagger_label: str | None = None
    alike: float | None = None
    rivals: float | None = None
    settled: tuple[str, ...] = ()
    settled_count: int = 0
    against: tuple[str, ...] = ()
    against_count: int = 0
    answer: str | None = None


class ProjectedEntity(msgspec.Struct, frozen=True):
    """An entity of the target text.

    ``score`` is the projector's raw objective, comparable within one pipeline signature; ``confidence`` the
    probability that the entity is exactly right (span and label). ``source`` is None for an entity that was
    added without a source entity. ``provenance`` says what spoke for it, where that is known.
    """

    start: int
    end: int
    label: str
    text: str
    score: float
    confidence: float
    source: SourceMention | None = None
    provenance: Provenance | msgspec.UnsetType = msgspec.UNSET


class Prediction(msgspec.Struct, frozen=True, omit_defaults=True):
    """All projections of one task by one pipeline version.

    ``confidence`` is the probability that the whole task is right; ``pipeline`` the signature of everything
    that produced it.
    """

    id: str | int
    text: str
    entities: tuple[ProjectedEntity, ...]
    confidence: float
    pipeline: str
    note: str | None = None


class SilverTask(Prediction, frozen=True, omit_defaults=True, kw_only=True):
    """A text to learn from that nobody has reviewed: a prediction, with the labelled source it was made from."""

    source: str | None = None
    source_entities: tuple[Entity, ...] | None = None


class Task(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One target-language text and whatever is already known about it.

    ``tokens`` and ``source_tokens`` are token strings in text order; ``alignment`` is in the Pharaoh format
    ``i-j[:weight]``, source first; ``back_translations`` are target-language renderings of each source entity,
    ``target_tags`` a target-language tagger's P(tag) of each token by IOB2 tag; ``entities`` is gold and never
    read by a projector.
    """

    id: str | int
    text: str
    source: str | None = None
    source_entities: tuple[Entity, ...] | None = None
    tokens: tuple[str, ...] | None = None
    source_tokens: tuple[str, ...] | None = None
    alignment: str | None = None
    back_translations: tuple[tuple[str, ...], ...] | None = None
    target_tags: tuple[dict[str, Probability], ...] | None = None
    entities: tuple[Entity, ...] | None = None


class Tokens:
    """The tokens of one text, as code-point spans in text order.

    ``starts[k]``/``ends[k]`` are the borders of token ``k``; tokens never overlap and are never empty.
    """

    __slots__ = ("_words", "ends", "starts", "text")

    starts: Sequence[int]
    ends: Sequence[int]

    def __init__(
        self, text: str, starts: Sequence[int], ends: Sequence[int], words: Sequence[str] | None = None
    ) -> None:
        self.text = text
        self.starts = starts
        self.ends = ends
        self._words = words

    def __getattr__(self, name: str) -> Sequence[int]:
        """The borders of tokens that are the text split at single spaces: worked out when first asked for.

        Many texts have no entities, and nobody asks for theirs.
        """
        if name not in ("starts", "ends") or self._words is None:
            raise AttributeError(name)
        lengths = list(map(len, self._words))
        self.ends = list(map(add, accumulate(lengths), count()))
        self.starts = list(map(sub, self.ends, lengths))
        return self.starts if name == "starts" else self.ends

    @classmethod
    def tokenize(cls, text: str, *, letters: bool = False) -> Tokens:
        """Split with the built-in tokeniser, see :func:`xner_label.tokenization.tokenize`."""
        spans = tokenize(text, letters=letters)
        return cls(text, [start for start, _ in spans], [end for _, end in spans])

    @classmethod
    def of(
        cls, text: str, tokens: Sequence[str] | None, field: str = "tokens", *, letters: bool = False
    ) -> Tokens:
        """The tokens that are given with a text, or the built-in tokeniser's where none are (None).

        ``letters`` is for texts with links but no tokens: they count what anybody would count. Raises what
        :meth:`locate` does.
        """
        return cls.tokenize(text, letters=letters) if tokens is None else cls.locate(text, tokens, field)

    @classmethod
    def locate(cls, text: str, tokens: Sequence[str], field: str = "tokens") -> Tokens:
        """Find each token at or after the previous one's end, with nothing visible between or after them.

        White space and what the built-in tokeniser leaves out of every token (U+200B, U+FEFF, control characters)
        may stand anywhere. No tokens at all are accepted for any text. Raises RecordError, naming ``field``, for a
        token that is empty or isn't there, and for text that the tokens don't reach.
        """
        if not all(tokens):
            index = tokens.index("")
            raise RecordError(field, f"token {index} is empty; leave it out and count links without it")
        if " ".join(tokens) == text:  # the usual case, and six times cheaper than searching
            located = cls.__new__(cls)
            located.text = text
            located._words = tokens
            return located
        starts: list[int] = []
        ends: list[int] = []
        position = 0
        for token in tokens:
            start = text.find(token, position)
            if start != position and (start < 0 or not _invisible(text[position:start])):
                raise RecordError(
                    field,
                    f"token {len(starts)} ({token[:40]!r}) isn't the next thing in the text after offset "
                    f"{position}; give tokens exactly as they stand in the text, in order",
                )
            position = start + len(token)
            starts.append(start)
            ends.append(position)
        if ends and position != len(text) and not _invisible(text[position:]):
            raise RecordError(
                field,
                f"they end at {position} of {len(text)}, before {text[position:].strip()[:40]!r}; "
                "give the tokens of the whole text",
            )
        return cls(text, starts, ends, tokens)

    def __len__(self) -> int:
        return len(self.starts if self._words is None else self._words)

    def __iter__(self) -> Iterator[str]:
        return iter(self.words())

    def words(self) -> list[str]:
        """The token strings."""
        if self._words is not None:
            return list(self._words)
        text = self.text
        return [text[start:end] for start, end in zip(self.starts, self.ends, strict=True)]

    def covering(self, start: int, end: int) -> tuple[int, int, bool]:
        """The token range that a span of code points touches.

        Returns ``(first, last, exact)``, half-open; ``exact`` is False where a border lies inside a token, so
        that the range had to widen. A span that touches no token gives ``first == last``.
        """
        first = bisect_right(self.ends, start)
        last = bisect_left(self.starts, end)
        if first >= last:
            return first, first, False
        exact = self.starts[first] >= start and self.ends[last - 1] <= end
        return first, last, exact

    def cut_at(self, borders: Iterable[int]) -> Tokens:
        """The tokens, those that hold one of the borders inside cut there, so that spans with them fit exactly."""
        cuts = sorted(set(borders))
        spans: list[tuple[int, int]] = []
        for start, end in zip(self.starts, self.ends, strict=True):
            inside = cuts[bisect_right(cuts, start) : bisect_left(cuts, end)]
            spans += pairwise([start, *inside, end])
        if len(spans) == len(self):
            return self
        return Tokens(self.text, [start for start, _ in spans], [end for _, end in spans])

    def span(self, first: int, last: int) -> Span:
        """The code points from token ``first`` up to, not including, token ``last``."""
        return Span(self.starts[first], self.ends[last - 1])


def _invisible(text: str) -> bool:
    """Whether nothing in a text belongs to a token."""
    return text.isspace() or not tokenize(text, letters=True)


# White space, and what is as invisible: zero-width space, word joiner, byte order mark, directional marks.
_BORDER = regex.compile(r"[\s\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]+")


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The borders of a span without the white space and invisible marks at its ends.

    ``start == end`` where the span holds nothing else.
    """
    if leading := _BORDER.match(text, start, end):
        start = leading.end()
    while end > start and _BORDER.match(text, end - 1, end):
        end -= 1
    return start, end


def with_cut_words(task: Task) -> Task:
    """A task without links with the words that its texts don't show by themselves as its tokens.

    So its links are kept by them: links without tokens count letters, and another segmenter may cut other words.
    """
    if task.alignment is not None:
        return task
    tokens = _cut_words(task.text) if task.tokens is None else task.tokens
    source_tokens = _cut_words(task.source or "") if task.source_tokens is None else task.source_tokens
    if tokens is task.tokens and source_tokens is task.source_tokens:
        return task
    return msgspec.structs.replace(task, tokens=tokens, source_tokens=source_tokens)


def _cut_words(text: str) -> tuple[str, ...] | None:
    if text.isascii():
        return None
    words = Tokens.tokenize(text).words()
    return None if words == Tokens.tokenize(text, letters=True).words() else tuple(words)
