"""Aligners by name, with their options."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from xner_label.errors import ConfigurationError
from xner_label.projection.alignment.names import ALIGNERS
from xner_label.projection.interfaces import Aligner, Cache

if TYPE_CHECKING:
    from xner_label.settings import Settings


class AlignerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What can be said about an aligner; each takes what it has a use for.

    ``model`` is a checkpoint. An empty ``method`` and a ``layer`` of None leave the choice to the aligner:
    itermax, two thirds up, for simalign; softmax on the last layer for mt-encoder. ``threshold`` is softmax's.
    ``languages`` are the ISO 639 codes of source and target, for translation models that are told them.
    ``rule`` combines several aligners, see
    :class:`~xner_label.projection.alignment.ensemble.EnsembleAligner`.
    """

    model: str = ""
    method: str = ""
    token_type: str = "bpe"
    layer: int | None = None
    distortion: float = 0.0
    null_align: float = 1.0
    threshold: float = 1e-3
    languages: tuple[str, str] | None = None
    device: str = "auto"
    dtype: str = "auto"
    rule: str = "vote"

    @classmethod
    def from_settings(cls, settings: Settings) -> AlignerOptions:
        """What the settings say."""
        return cls(
            model=settings.aligner_model,
            method=settings.aligner_method,
            token_type=settings.aligner_token_type,
            layer=None if settings.aligner_layer < 0 else settings.aligner_layer,
            languages=(settings.source_language, settings.target_language) if settings.target_language else None,
            device=settings.device,
            dtype=settings.dtype,
        )


def make_aligner(name: str, options: AlignerOptions, *, cache: Cache, scope: str = "") -> Aligner:
    """The aligner of that name, or the ensemble of several joined by ``+`` (``simalign+eflomal``).

    ``cache`` and ``scope`` are where and under which name an aligner that learns keeps what it learned. Raises
    ConfigurationError for an unknown name and for options that don't fit, MissingExtraError when a package that
    the aligner needs isn't installed.
    """
    names = [part.strip() for part in name.split("+")]
    if len(names) == 1:
        return _make(name, options, cache, scope)
    from xner_label.projection.alignment.ensemble import EnsembleAligner

    return EnsembleAligner([_make(part, options, cache, scope) for part in names], options.rule)


def _make(name: str, options: AlignerOptions, cache: Cache, scope: str) -> Aligner:
    if name == "eflomal":
        from xner_label.projection.alignment.eflomal import EflomalAligner

        return EflomalAligner(cache, scope=scope)
    if name in ("simalign", "mt-encoder"):
        return _embedding_aligner(name, options)
    if name == "simalign-package":
        from xner_label.projection.alignment.package import SimAlignPackage
        from xner_label.projection.models import choose_placement

        return SimAlignPackage(
            options.model,
            method=options.method or "itermax",
            token_type=options.token_type,
            layer=options.layer,
            distortion=options.distortion,
            device=choose_placement(options.device, "float32").device,
        )
    raise ConfigurationError(f"there is no aligner {name!r}", hint=f"choose among {', '.join(ALIGNERS)}")


def _embedding_aligner(name: str, options: AlignerOptions) -> Aligner:
    from xner_label.projection.alignment.embedding import EmbeddingAligner
    from xner_label.projection.alignment.encoder import load_encoder, load_translation_encoder
    from xner_label.projection.models import checkpoint_signature, choose_placement

    placement = choose_placement(options.device, options.dtype)
    model = options.model
    signature = f"{name}:{checkpoint_signature(model)}"
    if name == "simalign":
        encoder = load_encoder(model, placement, options.layer)
        method = options.method or "itermax"
    else:
        encoder = load_translation_encoder(model, placement, options.layer, languages=options.languages)
        method = options.method or "softmax"
        if options.languages:
            signature += f":{'>'.join(options.languages)}"
    return EmbeddingAligner(
        signature,
        encoder,
        method=method,
        token_type=options.token_type,
        distortion=options.distortion,
        null_align=options.null_align,
        threshold=options.threshold,
        dtype=placement.signature,
    )
