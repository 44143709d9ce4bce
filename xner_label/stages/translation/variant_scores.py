"""Translation probabilities of many variants of one text, which differ in where something was inserted.

What variants share is computed once where that changes nothing: the encoder runs once for each source, the decoder
once over the text without an insertion and once over what variants with the same beginning have in common; and a
variant whose beginning alone is already too improbable is given up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from xner_label.checkpoints.devices import Placement
from xner_label.checkpoints.languages import LanguageCodes
from xner_label.checkpoints.loading import load_checkpoint, load_tokenizer
from xner_label.checkpoints.signatures import checkpoint_signature
from xner_label.stages.translation.engines import SCORED_POSITIONS, input_limit
from xner_label.stages.translation.translator import check_score

Floats = npt.NDArray[np.float64]
_UNKNOWN = -math.inf


class _Group(msgspec.Struct):
    """Variants that leave the plain text at the same subtoken ``shared``; ``trunk`` is the one that has most in
    common with the others, up to subtoken ``common[v]`` of variant v."""

    shared: int
    variants: list[int]
    trunk: list[int]
    common: list[int]


# A row, a subtoken's place in it, and the subtoken whose probability there is asked for.
_Question = tuple[int, int, int]


class TransformersVariantScorer:
    """VariantScorer over a translation checkpoint (NLLB, M2M-100, MADLAD-400, or for one pair of languages).

    Raises ConfigurationError for a checkpoint that can't be used or doesn't know a language.
    """

    def __init__(self, model: str, source: str, target: str, placement: Placement) -> None:
        self._tokenizer = load_tokenizer(model, fast=False)
        codes = LanguageCodes(self._tokenizer)
        self._prefix = ""
        self._target: list[int] = []
        languages = f"{source}>{target}"
        if codes.family != "pair":
            names = codes.token(source), codes.token(target)
            languages = ">".join(names)
            if codes.family == "madlad":
                self._prefix = f"{names[1]} "
            else:
                self._tokenizer.src_lang = names[0].strip("_") if codes.family == "m2m100" else names[0]
                self._target = [self._tokenizer.convert_tokens_to_ids(names[1])]
        self._told = codes.family in ("nllb", "m2m100")
        self._model = load_checkpoint("AutoModelForSeq2SeqLM", model, placement)
        self._placement = placement
        self._limit = input_limit(self._model.config, self._tokenizer)
        self._positions = SCORED_POSITIONS.get(placement.device.partition(":")[0], 256)
        # Positions of decoders that were run, and of all variants' decoders: what sharing and pruning save.
        self.positions_run = 0
        self.positions_asked = 0
        signature = [checkpoint_signature(model, placement.cache), languages, placement.signature]
        self.signature = ":".join(filter(None, signature))

    def log_probabilities(
        self, sources: Sequence[str], text: str, variants: Sequence[str], least_ratio: float = 0.0
    ) -> Floats:
        """See :class:`~xner_label.stages.interfaces.VariantScorer`."""
        result = np.full((len(sources), len(variants)), _UNKNOWN)
        if not (sources and variants):
            return result
        rows = self._decoder_rows([text, *variants])
        plain, rows = rows[0], rows[1:]
        encoded = self._encoder_rows(sources)
        if max(map(len, encoded)) > self._limit or max(map(len, [plain, *rows])) > self._limit:
            return result
        self.positions_asked += len(sources) * sum(len(row) - 1 for row in rows)
        groups = _grouped(plain, rows)
        slack = math.log(least_ratio) if least_ratio > 0.0 else -math.inf
        size = max(self._positions // len(plain), 1)
        for first in range(0, len(sources), size):
            of_sources = slice(first, first + size)
            self._score(encoded[of_sources], plain, rows, groups, slack, result[of_sources])
        return result

    def _encoder_rows(self, texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = self._tokenizer([self._prefix + text for text in texts], verbose=False)["input_ids"]
        return ids

    def _decoder_rows(self, texts: Sequence[str]) -> list[list[int]]:
        """What the decoder reads and says: its start, the target language where it is told, the text, the end."""
        start, end = self._model.config.decoder_start_token_id, self._tokenizer.eos_token_id
        if self._told:
            plain = self._tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
            return [[start, *self._target, *ids, end] for ids in plain]
        ids = self._tokenizer(text_target=list(texts), verbose=False)["input_ids"]
        return [[start, *row] if row[-1:] == [end] else [start, *row, end] for row in ids]

    def _score(
        self,
        encoded: Sequence[Sequence[int]],
        plain: Sequence[int],
        rows: Sequence[Sequence[int]],
        groups: Sequence[_Group],
        slack: float,
        result: Floats,
    ) -> None:
        """Fill ``result``, shape (sources, variants), best groups first; sources are few enough for one batch."""
        import torch

        with torch.inference_mode():
            states, mask = self._encode(encoded)
            everyone = list(range(len(encoded)))
            leaving = [sorted({rows[variant][group.shared] for variant in group.variants}) for group in groups]
            asked = [
                (source, group.shared, token)
                for source in everyone
                for group, tokens in zip(groups, leaving, strict=True)
                for token in tokens
            ]
            past, chosen, of_asked = self._decode(states, mask, everyone, [plain] * len(encoded), None, 0, asked)
            skipped = len(self._target)
            # before[s, k]: log-probability of the subtokens before k of the plain text, the language not counted.
            before = np.zeros((len(encoded), len(plain) + 1))
            before[:, skipped + 2 :] = chosen[:, skipped:].cumsum(axis=1)
            bounds = np.empty((len(encoded), len(groups)))
            answers = iter(of_asked)
            for source in everyone:
                for index, (group, tokens) in enumerate(zip(groups, leaving, strict=True)):
                    bounds[source, index] = before[source, group.shared] + max(next(answers) for _ in tokens)
            best = np.full(len(encoded), _UNKNOWN)
            distance = (bounds - bounds.max(axis=1, keepdims=True)).max(axis=0)
            for index in np.argsort(-distance, kind="stable").tolist():
                group = groups[index]
                hopeful = np.flatnonzero(bounds[:, index] >= best + slack).tolist()
                if not hopeful:
                    continue
                start = before[:, group.shared]
                closer: Floats = np.zeros((len(hopeful), len(group.variants)))
                if slack > -math.inf:
                    closer = self._closer_bounds(states, mask, hopeful, past, group, rows, start)
                wanted = [
                    (source, place)
                    for row, source in enumerate(hopeful)
                    for place in range(len(group.variants))
                    if closer[row, place] >= best[source] + slack
                ]
                for source, place, value in self._whole(states, mask, wanted, past, group, rows, start):
                    result[source, group.variants[place]] = check_score(value, self._placement.dtype)
                    best[source] = max(best[source], value)
        result[result < best[:, None] + slack] = _UNKNOWN

    def _closer_bounds(
        self,
        states: Any,
        mask: Any,
        sources: Sequence[int],
        past: Any,
        group: _Group,
        rows: Sequence[Sequence[int]],
        start: Floats,
    ) -> Floats:
        """log P(a variant's beginning, up to where it leaves the trunk): shape (sources, the group's variants)."""
        trunk = group.trunk[: max(group.common) + 1]
        cached = group.shared - 1
        leaving = [
            (common, rows[variant][common]) for variant, common in zip(group.variants, group.common, strict=True)
        ]
        bounds = np.empty((len(sources), len(leaving)))
        for chunk in self._chunks(len(sources), len(trunk) - cached):
            part = sources[chunk]
            asked = [(row, *question) for row in range(len(part)) for question in leaving]
            _, chosen, of_asked = self._decode(states, mask, part, [trunk] * len(part), past, cached, asked)
            before = np.pad(chosen.cumsum(axis=1), ((0, 0), (1, 0)))
            shared = before[:, [common - group.shared for common, _ in leaving]]
            bounds[chunk] = start[part][:, None] + shared + of_asked.reshape(len(part), len(leaving))
        return bounds

    def _whole(
        self,
        states: Any,
        mask: Any,
        wanted: Sequence[tuple[int, int]],
        past: Any,
        group: _Group,
        rows: Sequence[Sequence[int]],
        start: Floats,
    ) -> list[tuple[int, int, float]]:
        """log P(variant | source) of (source, place in the group) pairs."""
        cached = group.shared - 1
        longest = max((len(rows[group.variants[place]]) for _, place in wanted), default=0)
        scored: list[tuple[int, int, float]] = []
        for chunk in self._chunks(len(wanted), longest - cached):
            part = wanted[chunk]
            variants = [rows[group.variants[place]] for _, place in part]
            _, chosen, _ = self._decode(states, mask, [source for source, _ in part], variants, past, cached)
            for (source, place), of_row, variant in zip(part, chosen, variants, strict=True):
                rest = float(of_row[: len(variant) - group.shared].sum())
                scored.append((source, place, float(start[source]) + rest))
        return scored

    def _chunks(self, count: int, length: int) -> list[slice]:
        size = max(self._positions // max(length, 1), 1)
        return [slice(first, first + size) for first in range(0, count, size)]

    def _encode(self, rows: Sequence[Sequence[int]]) -> tuple[Any, Any]:
        """The encoder's states of each source and their mask."""
        ids, mask = self._padded(rows)
        return self._model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state, mask

    def _padded(self, rows: Sequence[Sequence[int]]) -> tuple[Any, Any]:
        import torch

        device = self._placement.device
        lengths = torch.tensor([len(row) for row in rows], device=device)
        ids = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(row) for row in rows], batch_first=True, padding_value=self._tokenizer.pad_token_id
        ).to(device)
        return ids, (torch.arange(ids.shape[1], device=device) < lengths[:, None]).long()

    def _decode(
        self,
        states: Any,
        mask: Any,
        sources: Sequence[int],
        rows: Sequence[Sequence[int]],
        past: Any,
        cached: int,
        asked: Sequence[_Question] = (),
    ) -> tuple[Any, Floats, Floats]:
        """Run the decoder over rows of subtokens of which ``past`` knows the first ``cached``.

        Returns what it remembers where ``past`` is None, log P of each row's subtokens from ``cached + 1`` on, and
        log P of what is ``asked``.
        """
        import torch
        from transformers import EncoderDecoderCache
        from transformers.modeling_outputs import BaseModelOutput

        # The end is said and never read; padding comes after everything that counts.
        ids, _ = self._padded([row[cached:] for row in rows])
        remembered = None
        if past is not None and cached:
            remembered = EncoderDecoderCache(
                [
                    (
                        *(layer[part][sources, :, :cached] for part in (0, 1)),  # of the decoder itself
                        *(layer[part][sources] for part in (3, 4)),  # of the source
                    )
                    for layer in past
                ]
            )
        self.positions_run += ids[:, :-1].numel()
        output = self._model(
            encoder_outputs=BaseModelOutput(last_hidden_state=states[sources]),
            attention_mask=mask[sources],
            decoder_input_ids=ids[:, :-1],
            past_key_values=remembered,
            use_cache=past is None or bool(cached),
        )
        logits = output.logits.float()
        normaliser = torch.logsumexp(logits, dim=2)
        chosen = logits.gather(2, ids[:, 1:, None])[:, :, 0] - normaliser
        which, places, tokens = (list(column) for column in zip(*asked, strict=True)) if asked else ([], [], [])
        steps = [place - cached - 1 for place in places]
        of_asked = logits[which, steps, tokens] - normaliser[which, steps]
        remembers = output.past_key_values if past is None else None
        return remembers, chosen.double().cpu().numpy(), of_asked.double().cpu().numpy()


def _grouped(plain: Sequence[int], rows: Sequence[Sequence[int]]) -> list[_Group]:
    """The variants by the subtoken at which they leave the plain text."""
    members: dict[int, list[int]] = {}
    for variant, row in enumerate(rows):
        members.setdefault(min(_common(plain, row), len(plain) - 1), []).append(variant)
    groups: list[_Group] = []
    for shared, variants in sorted(members.items()):
        group = [rows[variant] for variant in variants]
        trunk = max(group, key=lambda row: sum(_common(row, other) for other in group))
        # Each row ends with a subtoken of its own kind: none is the beginning of another.
        common = [min(_common(trunk, row), len(trunk) - 1) for row in group]
        most = max((place for place in common if place < len(trunk) - 1), default=shared)
        groups.append(_Group(shared, variants, list(trunk), [min(place, most) for place in common]))
    return groups


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    """How many subtokens two rows share at their beginning."""
    differing = (index for index, pair in enumerate(zip(left, right, strict=False)) if pair[0] != pair[1])
    return next(differing, min(len(left), len(right)))
