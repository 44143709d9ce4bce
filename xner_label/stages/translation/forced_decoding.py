"""Translation probabilities by forced decoding: how well two texts translate each other (see NmtScore)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xner_label.checkpoints.batches import TokenBatches
from xner_label.checkpoints.devices import Placement
from xner_label.checkpoints.languages import LanguageCodes
from xner_label.checkpoints.loading import load_checkpoint, load_tokenizer
from xner_label.checkpoints.signatures import checkpoint_signature
from xner_label.errors import ConfigurationError
from xner_label.stages.translation.translator import check_score

TextPair = tuple[str, str]


class TransformersScorer:
    """TranslationScorer over a multilingual NLLB or M2M-100 checkpoint, between two languages (ISO 639 codes).

    Each distinct pair is scored once per call. Raises ConfigurationError for a checkpoint that can't be used, that
    knows only one direction, or that doesn't know a language.
    """

    def __init__(self, model: str, source: str, target: str, placement: Placement) -> None:
        self._tokenizer = load_tokenizer(model, fast=False)
        codes = LanguageCodes(self._tokenizer)
        if codes.family not in ("nllb", "m2m100"):
            raise ConfigurationError(
                f"{model} can't score translations in both directions", hint="choose an NLLB or M2M-100 checkpoint"
            )
        self._languages = codes.token(source), codes.token(target)
        self._model = load_checkpoint("AutoModelForSeq2SeqLM", model, placement)
        self._placement = placement
        self._batches = TokenBatches(placement.batch_tokens)
        languages = "-".join(self._languages)
        signature = ["nmt", checkpoint_signature(model, placement.cache), languages, placement.signature]
        self.signature = ":".join(filter(None, signature))

    def to_target(self, pairs: Sequence[TextPair]) -> list[float]:
        """Mean log-probability per subtoken, end included, of each target given its source."""
        return self._score(pairs, *self._languages)

    def to_source(self, pairs: Sequence[TextPair]) -> list[float]:
        """Mean log-probability per subtoken, end included, of each source given its target."""
        source, target = self._languages
        return self._score([(right, left) for left, right in pairs], target, source)

    def _score(self, pairs: Sequence[TextPair], source: str, target: str) -> list[float]:
        distinct = list(dict.fromkeys(pairs))
        if not distinct:
            return []
        context_ids = self._encode([left for left, _ in distinct], source)
        scored_ids = self._encode([right for _, right in distinct], target)
        score_of: dict[TextPair, float] = {}
        for batch, scores in self._batches.run(
            [len(left) + len(right) for left, right in zip(context_ids, scored_ids, strict=True)],
            lambda batch: self._forced(
                [context_ids[index] for index in batch], [scored_ids[index] for index in batch]
            ),
        ):
            score_of.update((distinct[index], score) for index, score in zip(batch, scores, strict=True))
        return [score_of[pair] for pair in pairs]

    def _encode(self, texts: Sequence[str], language: str) -> list[list[int]]:
        """Subtoken ids framed as the model reads and writes them: language token, text, end."""
        code = self._tokenizer.convert_tokens_to_ids(language)
        plain = self._tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        return [[code, *ids, self._tokenizer.eos_token_id] for ids in plain]

    def _forced(self, context: Sequence[Sequence[int]], scored_rows: Sequence[Sequence[int]]) -> list[float]:
        import torch

        def padded(rows: Sequence[Sequence[int]]) -> tuple[Any, Any]:
            lengths = torch.tensor([len(row) for row in rows])
            ids = torch.nn.utils.rnn.pad_sequence(
                [torch.tensor(row) for row in rows], batch_first=True, padding_value=self._tokenizer.pad_token_id
            )
            mask = torch.arange(ids.shape[1]) < lengths[:, None]
            return ids.to(self._placement.device), mask.to(self._placement.device)

        ids, mask = padded(context)
        # The decoder starts from the end token and is told the language; neither is scored.
        target_ids, target_mask = padded(
            [[self._model.config.decoder_start_token_id, *row] for row in scored_rows]
        )
        with torch.inference_mode():
            logits = self._model(
                input_ids=ids, attention_mask=mask.long(), decoder_input_ids=target_ids[:, :-1]
            ).logits.float()
            chosen = logits.gather(2, target_ids[:, 1:, None])[:, :, 0] - torch.logsumexp(logits, dim=2)
            counted = target_mask[:, 1:].clone()
            counted[:, 0] = False
            means = (chosen * counted).sum(dim=1) / counted.sum(dim=1)
        return [check_score(score, self._placement.dtype) for score in means.tolist()]
