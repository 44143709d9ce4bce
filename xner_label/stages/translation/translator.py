"""Translators: a multilingual seq2seq checkpoint, run by transformers or by CTranslate2."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from xner_label.checkpoints.batches import TokenBatches
from xner_label.checkpoints.languages import LanguageCodes
from xner_label.entities import Span
from xner_label.errors import ConfigurationError, RecordError
from xner_label.stages.interfaces import Cache, Segment, Translation, Translator
from xner_label.stages.translation.sentences import pieces

# Texts of more subtokens than this are translated sentence by sentence: translation models are trained on
# sentences and drop part of what is much longer.
SPLIT_ABOVE = 128
# Generation may take twice the source's subtokens and a few more. Sources of one bucket share the bound, so that
# it doesn't depend on what else is in the batch.
_BUCKETS = (32, 64, 128, 256, 512, 1024)
_SPARE = 16


class Hypothesis(msgspec.Struct, frozen=True):
    """The best translation of one text: subtoken ids without special ones, mean log-probability of a subtoken."""

    ids: list[int]
    score: float


class Engine(Protocol):
    """Runs a translation model."""

    batches: TokenBatches
    max_subtokens: int

    def generate(self, rows: Sequence[Sequence[int]], target: int | None, max_new: int) -> list[Hypothesis]:
        """The best hypothesis of each source, beginning with the token ``target`` where the model is told one."""
        ...


class NeuralTranslator:
    """Translates from ``source`` to ``target`` (ISO 639 codes) with the checkpoint that ``engine`` runs.

    Texts of more than 128 subtokens are translated sentence by sentence; what stands between sentences stays.
    Raises ConfigurationError for a language that the checkpoint doesn't know.
    """

    def __init__(self, engine: Engine, tokenizer: Any, source: str, target: str, signature: str) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        codes = LanguageCodes(tokenizer)
        self._prefix = ""
        self._target: int | None = None
        languages = f"{source}>{target}"
        if codes.family != "pair":
            names = codes.token(source), codes.token(target)
            languages = ">".join(names)
            if codes.family == "madlad":
                self._prefix = f"{names[1]} "
            else:
                tokenizer.src_lang = names[0].strip("_") if codes.family == "m2m100" else names[0]
                self._target = tokenizer.convert_tokens_to_ids(names[1])
        self.signature = f"{signature}:{languages}"

    def translate(self, texts: Sequence[str]) -> list[Translation]:
        """One translation per text, in order; a blank text stays as it is.

        Raises ConfigurationError when the model's scores aren't numbers.
        """
        spans = [self._cut(text) for text in texts]
        pairs = list(zip(texts, spans, strict=True))
        cut = [text[span.start : span.end] for text, text_spans in pairs for span in text_spans]
        translated = iter(self._translate_pieces(cut))
        return [_joined(text, text_spans, [next(translated) for _ in text_spans]) for text, text_spans in pairs]

    def _cut(self, text: str) -> list[Span]:
        stripped = text.strip()
        if not stripped:
            return []
        if len(self._encode([stripped])[0]) <= SPLIT_ABOVE:
            start = text.index(stripped)
            return [Span(start, start + len(stripped))]
        return pieces(text, lambda piece: len(self._encode([piece])[0]) <= self._engine.max_subtokens)

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        prepared = [self._prefix + text for text in texts]
        ids: list[list[int]] = self._tokenizer(prepared, verbose=False)["input_ids"]
        return ids

    def _translate_pieces(self, texts: Sequence[str]) -> list[tuple[str, Hypothesis]]:
        """The translation of each text that the model reads whole, and the hypothesis it was read from."""
        if not texts:
            return []
        rows = self._encode(texts)
        by_row: dict[int, Hypothesis] = {}
        for low, high in zip((0, *_BUCKETS), (*_BUCKETS, max(map(len, rows))), strict=True):
            members = [index for index, row in enumerate(rows) if low < len(row) <= high]
            hypotheses = self._generate([rows[index] for index in members], 2 * high + _SPARE)
            by_row |= zip(members, hypotheses, strict=True)
        ordered = [by_row[index] for index in range(len(rows))]
        decoded = self._tokenizer.batch_decode(
            [hypothesis.ids for hypothesis in ordered], skip_special_tokens=True
        )
        return [(text.strip(), hypothesis) for text, hypothesis in zip(decoded, ordered, strict=True)]

    def _generate(self, rows: Sequence[Sequence[int]], max_new: int) -> list[Hypothesis]:
        by_row: dict[int, Hypothesis] = {}
        for batch, hypotheses in self._engine.batches.run(
            [len(row) for row in rows],
            lambda batch: self._engine.generate([rows[index] for index in batch], self._target, max_new),
        ):
            by_row |= zip(batch, hypotheses, strict=True)
        return [by_row[index] for index in range(len(rows))]


def _joined(text: str, spans: Sequence[Span], translated: Sequence[tuple[str, Hypothesis]]) -> Translation:
    """Put translated pieces back together, with what stood between them."""
    if not spans:
        return Translation(text)
    built = ""
    segments: list[Segment] = []
    end = spans[0].start
    for span, (piece, _) in zip(spans, translated, strict=True):
        # Scripts without spaces have nothing between sentences, other languages need something.
        built += (text[end : span.start] or " ") if segments else ""
        segments.append(Segment(span, Span(len(built), len(built) + len(piece))))
        built += piece
        end = span.end
    lengths = [max(len(hypothesis.ids), 1) for _, hypothesis in translated]
    total = sum(hypothesis.score * length for (_, hypothesis), length in zip(translated, lengths, strict=True))
    score = total / sum(lengths)
    return Translation(built, score, tuple(segments) if len(segments) > 1 else ())


class CachedTranslator:
    """Asks another translator only for what ``cache`` doesn't hold; keeps a text's translation by its hash."""

    def __init__(self, translator: Translator, cache: Cache) -> None:
        self._translator = translator
        self._cache = cache
        self.signature = translator.signature

    def translate(self, texts: Sequence[str]) -> list[Translation | RecordError]:
        """One translation per text, in order, each distinct text translated once; errors aren't kept."""
        keys = {text: hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() for text in texts}
        namespace = f"translation:{self.signature}"
        stored = self._cache.get_many(namespace, list(keys.values()))
        known: dict[str, Translation | RecordError] = {}
        known |= {key: msgspec.json.decode(value, type=Translation) for key, value in stored.items()}
        missing = [text for text, key in keys.items() if key not in known]
        if missing:
            new = dict(zip((keys[text] for text in missing), self._translator.translate(missing), strict=True))
            good = {key: value for key, value in new.items() if isinstance(value, Translation)}
            self._cache.put_many(namespace, {key: msgspec.json.encode(value) for key, value in good.items()})
            known |= new
        return [known[keys[text]] for text in texts]


def check_score(score: float, dtype: str) -> float:
    """The score, or a ConfigurationError where it isn't a number."""
    if score != score or score in (float("inf"), float("-inf")):
        raise ConfigurationError(
            f"the translator's scores aren't numbers in {dtype}",
            hint="choose float32 (models.dtype), or check the checkpoint",
        )
    return score
