"""The two ways to run a translation model: transformers, and CTranslate2 after a conversion."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from xner_label.checkpoints.batches import TokenBatches
from xner_label.checkpoints.devices import Placement
from xner_label.checkpoints.loading import find_checkpoint, load_checkpoint, load_tokenizer, quiet_reading
from xner_label.checkpoints.signatures import checkpoint_signature
from xner_label.errors import ConfigurationError, MissingExtraError
from xner_label.stages.translation.translator import Hypothesis, NeuralTranslator, check_score

# Beam search as CTranslate2 does it stops earlier than transformers' and loses quality without patience (Kasai et
# al. 2022, "A call for clarity in beam search").
PATIENCE = 2.0
# The input limit, in subtokens, of models that state none (T5 and its relatives).
_DEFAULT_LIMIT = 512
# Positions scored at once: each takes a row of the vocabulary's size (256,000 for NLLB) in float32.
SCORED_POSITIONS = {"cpu": 256, "mps": 256, "cuda": 4096}


def transformers_translator(
    model: str, source: str, target: str, placement: Placement, *, beams: int = 4
) -> NeuralTranslator:
    """A translator that runs a checkpoint with transformers. Raises ConfigurationError as load_checkpoint does."""
    tokenizer = load_tokenizer(model, fast=False)
    engine = TransformersEngine(
        load_checkpoint("AutoModelForSeq2SeqLM", model, placement), tokenizer, placement, beams
    )
    signature = [
        "transformers",
        checkpoint_signature(model, placement.cache),
        f"beams{beams}",
        placement.signature,
    ]
    return NeuralTranslator(engine, tokenizer, source, target, ":".join(filter(None, signature)))


def ctranslate2_translator(
    model: str, source: str, target: str, placement: Placement, folder: Path, *, beams: int = 4
) -> NeuralTranslator:
    """A translator that runs a checkpoint with CTranslate2, converted once into a folder below ``folder``.

    Raises ConfigurationError when it can't be converted, MissingExtraError when CTranslate2 isn't installed.
    """
    if placement.device == "mps":
        placement = Placement("cpu", "float32")  # CTranslate2 knows CPUs and CUDA
    tokenizer = load_tokenizer(model, fast=False)
    engine = CTranslate2Engine(convert(model, folder, placement.dtype), tokenizer, placement, beams)
    options = f"beams{beams}:patience{PATIENCE:g}"
    signature = ["ctranslate2", checkpoint_signature(model, folder), options, placement.signature]
    return NeuralTranslator(engine, tokenizer, source, target, ":".join(filter(None, signature)))


class TransformersEngine:
    """Beam search with transformers, and one forward pass over its result for the scores."""

    def __init__(self, model: Any, tokenizer: Any, placement: Placement, beams: int) -> None:
        self._model = model
        self._placement = placement
        self._beams = beams
        self._pad = tokenizer.pad_token_id
        self._eos = tokenizer.eos_token_id
        self.batches = TokenBatches(placement.batch_tokens)
        self.max_subtokens = input_limit(model.config, tokenizer)

    def generate(self, rows: Sequence[Sequence[int]], target: int | None, max_new: int) -> list[Hypothesis]:
        """See :class:`~xner_label.stages.translation.translator.Engine`."""
        import torch

        ids = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(row) for row in rows], batch_first=True, padding_value=self._pad
        ).to(self._placement.device)
        lengths = torch.tensor([len(row) for row in rows], device=ids.device)
        mask = (torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]).long()
        with torch.inference_mode():
            encoded = self._model.get_encoder()(input_ids=ids, attention_mask=mask)
            states = encoded.last_hidden_state  # generate() repeats what it is given for each beam, in place
            sequences = self._model.generate(
                encoder_outputs=encoded,
                attention_mask=mask,
                forced_bos_token_id=target,
                num_beams=self._beams,
                do_sample=False,
                max_new_tokens=min(max_new, self.max_subtokens - 1),
            )
            hypotheses: list[Hypothesis] = []
            for chunk in self._chunks(len(rows), sequences.shape[1]):
                encoded_chunk = type(encoded)(last_hidden_state=states[chunk])
                skipped = 1 if target is None else 2
                hypotheses += self._scored(sequences[chunk], encoded_chunk, mask[chunk], skipped)
        return hypotheses

    def _chunks(self, rows: int, length: int) -> Iterator[slice]:
        """Slices of the rows that are few enough to be scored at once."""
        size = max(SCORED_POSITIONS.get(self._placement.device.partition(":")[0], 256) // length, 1)
        return (slice(start, start + size) for start in range(0, rows, size))

    def _scored(self, sequences: Any, encoded: Any, mask: Any, skipped: int) -> list[Hypothesis]:
        """Cut generated rows at their end and take the mean log-probability of what was chosen, end included.

        transformers only gives scores along with the whole vocabulary's at every step; this pass costs less.
        """
        import torch

        logits = self._model(
            encoder_outputs=encoded, attention_mask=mask, decoder_input_ids=sequences[:, :-1]
        ).logits.float()
        chosen = sequences[:, 1:]
        scores = logits.gather(2, chosen[:, :, None])[:, :, 0] - torch.logsumexp(logits, dim=2)
        hypotheses: list[Hypothesis] = []
        for row, row_scores in zip(sequences.tolist(), scores.tolist(), strict=True):
            end = row.index(self._eos, skipped) if self._eos in row[skipped:] else len(row)
            counted = row_scores[skipped - 1 : end]  # scores[k] is that of row[k + 1]
            mean = sum(counted) / len(counted) if counted else 0.0
            hypotheses.append(Hypothesis(row[skipped:end], check_score(mean, self._placement.dtype)))
        return hypotheses


class CTranslate2Engine:
    """Beam search with CTranslate2 on a converted model."""

    def __init__(self, folder: Path, tokenizer: Any, placement: Placement, beams: int) -> None:
        import ctranslate2
        from transformers import AutoConfig

        kind, _, index = placement.device.partition(":")
        self._translator = ctranslate2.Translator(
            str(folder), device=kind, device_index=int(index or 0), compute_type=placement.dtype
        )
        self._tokenizer = tokenizer
        self._placement = placement
        self._beams = beams
        self.batches = TokenBatches(placement.batch_tokens)
        self.max_subtokens = input_limit(AutoConfig.from_pretrained(tokenizer.name_or_path), tokenizer)

    def generate(self, rows: Sequence[Sequence[int]], target: int | None, max_new: int) -> list[Hypothesis]:
        """See :class:`~xner_label.stages.translation.translator.Engine`."""
        prefix = [] if target is None else [self._tokenizer.convert_ids_to_tokens(target)]
        bound = min(max_new, self.max_subtokens - 1)
        results = self._translator.translate_batch(
            [self._tokenizer.convert_ids_to_tokens(row) for row in rows],
            target_prefix=[prefix] * len(rows) if prefix else None,
            beam_size=self._beams,
            patience=PATIENCE,
            max_input_length=0,
            max_decoding_length=bound,
            return_scores=True,
        )
        hypotheses: list[Hypothesis] = []
        for result in results:
            tokens = result.hypotheses[0][len(prefix) :]
            # The prefix counts in the length that CTranslate2 divides by, but adds nothing to the score. The end
            # of a hypothesis counts and adds, though it isn't shown.
            length = max(len(tokens) + (len(result.hypotheses[0]) < bound), 1)
            score = result.scores[0] * (length + len(prefix)) / length
            ids = self._tokenizer.convert_tokens_to_ids(tokens)
            hypotheses.append(Hypothesis(ids, check_score(score, self._placement.dtype)))
        return hypotheses


def convert(model: str, folder: Path, dtype: str) -> Path:
    """Convert a checkpoint for CTranslate2, unless that was done before, and return its folder.

    The folder's name carries the checkpoint's signature. It is written beside its place and renamed, so that an
    interrupted conversion leaves nothing; a second process waits for the first. Raises ConfigurationError when
    CTranslate2 can't convert the checkpoint or the folder can't be written.
    """
    from filelock import FileLock

    target = folder / f"{checkpoint_signature(model, folder)}-{dtype}"
    if target.is_dir():
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if target.is_dir():
                return target
            partial = Path(tempfile.mkdtemp(dir=folder, prefix=".converting-"))
            try:
                with quiet_reading(model, "a translation model for CTranslate2"):
                    _converter(find_checkpoint(model)).convert(str(partial / "model"), quantization=dtype)
                (partial / "model").rename(target)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise ConfigurationError(
            f"the converted model can't be kept in {folder}: {error.strerror}",
            hint="set models.cache to a folder with room for it",
        ) from None
    return target


def _converter(checkpoint: str) -> Any:
    try:
        from ctranslate2.converters import TransformersConverter
    except ImportError:
        raise MissingExtraError("models", "the translator 'ctranslate2'") from None

    class Converter(TransformersConverter):  # type: ignore[misc]
        def load_model(self, *arguments: Any, **options: Any) -> Any:
            """transformers 5 calls every T5 tied and keeps what that used to mean, scaled outputs, elsewhere."""
            model = super().load_model(*arguments, **options)
            if hasattr(model.config, "scale_decoder_outputs"):
                model.config.tie_word_embeddings = model.config.scale_decoder_outputs
            return model

        def load_tokenizer(self, *arguments: Any, **options: Any) -> Any:
            """transformers 5 lists M2M-100's language codes no longer where the converter looks for them."""
            tokenizer = super().load_tokenizer(*arguments, **options)
            languages = getattr(tokenizer, "lang_token_to_id", None)
            if languages:
                vocabulary = tokenizer.get_vocab() | languages
                tokenizer.get_vocab = lambda: vocabulary
            return tokenizer

    return Converter(checkpoint)


def input_limit(config: Any, tokenizer: Any) -> int:
    """The longest text that a translation model reads or writes, in subtokens with special ones."""
    positions = int(getattr(config, "max_position_embeddings", 0) or _DEFAULT_LIMIT)
    return min(positions, int(tokenizer.model_max_length))
