"""The simalign package itself, one pair at a time, for whoever wants exactly it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from xner_label.checkpoints.devices import Placement
from xner_label.checkpoints.loading import find_checkpoint, quiet_reading
from xner_label.checkpoints.signatures import checkpoint_signature
from xner_label.checkpoints.subwords import position_limit
from xner_label.entities import Link
from xner_label.errors import ConfigurationError, MissingExtraError
from xner_label.settings.choices import SIMALIGN_METHODS, TOKEN_TYPES
from xner_label.stages.interfaces import SentencePair

# The package's letter for each method.
_LETTERS = {"inter": "a", "mwmf": "m", "itermax": "i", "fwd": "f", "rev": "r"}


class SimAlignPackage:
    """SimAlign as its authors ship it: hard links (weight 1), in float32, dozens of times slower for mwmf.

    It can't read more subtokens than its encoder allows (see :meth:`align`). Raises MissingExtraError when
    simalign isn't installed, ConfigurationError for a checkpoint or an option that it doesn't have.
    """

    learns = False

    def __init__(
        self,
        model: str,
        *,
        method: str = "itermax",
        token_type: str = "bpe",
        layer: int | None = None,
        distortion: float = 0.0,
        placement: Placement | None = None,
    ) -> None:
        if method not in SIMALIGN_METHODS or token_type not in TOKEN_TYPES:
            raise ConfigurationError(
                f"simalign has no method {method!r} with token type {token_type!r}",
                hint=f"choose one of {', '.join(SIMALIGN_METHODS)}, and {' or '.join(TOKEN_TYPES)}",
            )
        placement = placement or Placement("cpu", "float32")
        folder = find_checkpoint(model)
        try:
            from simalign import SentenceAligner
        except ImportError:
            raise MissingExtraError("models", "the aligner 'simalign-package'") from None
        logging.getLogger("simalign.simalign").setLevel(logging.WARNING)
        layer = 8 if layer is None else layer
        with quiet_reading(model, "an encoder for simalign"):
            self._aligner = SentenceAligner(
                model=folder,
                token_type=token_type,
                distortion=distortion,
                matching_methods=_LETTERS[method],
                device=placement.device,
                layer=layer,
            )
        self._name = model
        self._method = method
        loader = self._aligner.embed_loader
        self._limit = position_limit(loader.emb_model, loader.tokenizer)
        options = [checkpoint_signature(model, placement.cache), method, token_type, f"layer{layer}"]
        options += [f"distortion{distortion:g}"] * bool(distortion)
        self.signature = f"simalign-package:{':'.join(options)}"

    def align(self, pairs: Sequence[SentencePair]) -> list[list[Link]]:
        """The links of each pair; an empty side has none.

        Raises ConfigurationError for a sentence that the package would cut off, and for a layer the encoder lacks.
        """
        return [self._links(source, target) if source and target else [] for source, target in pairs]

    def _links(self, source: Sequence[str], target: Sequence[str]) -> list[Link]:
        tokenizer = self._aligner.embed_loader.tokenizer
        for words in (source, target):
            size = sum(len(tokenizer.tokenize(word)) for word in words)
            if size + 2 > self._limit:
                raise ConfigurationError(
                    f"a sentence of {size} subtokens is more than simalign reads with {self._name}",
                    hint="use the aligner simalign, which reads long sentences in windows",
                )
        try:
            links = self._aligner.get_word_aligns(list(source), list(target))
        except ValueError as error:
            raise ConfigurationError(
                f"simalign refused a pair: {error}", hint="check the layer and the tokens"
            ) from error
        return [(row, column, 1.0) for row, column in links[self._method]]
