"""Aligners by name, with their options."""

from __future__ import annotations

from xner_label.errors import ConfigurationError
from xner_label.settings.choices import ALIGNERS
from xner_label.stages.alignment.options import AlignerOptions
from xner_label.stages.interfaces import Aligner, Cache


def aligner_by_name(name: str, options: AlignerOptions, *, cache: Cache, scope: str = "") -> Aligner:
    """The aligner of that name, or the ensemble of several joined by ``+`` (``simalign+eflomal``).

    ``cache`` and ``scope`` are where and under which name an aligner that learns keeps what it learned. Raises
    ConfigurationError for an unknown name and for options that don't fit, MissingExtraError when a package that
    the aligner needs isn't installed.
    """
    names = [member.strip() for member in name.split("+")]
    if len(names) == 1:
        return _make(name, options, cache, scope)
    from xner_label.stages.alignment.ensemble import EnsembleAligner

    return EnsembleAligner([_make(member, options, cache, scope) for member in names], options.rule)


def _make(name: str, options: AlignerOptions, cache: Cache, scope: str) -> Aligner:
    if name == "eflomal":
        from xner_label.stages.alignment.eflomal import EflomalAligner

        return EflomalAligner(cache, scope=scope)
    if name in ("simalign", "mt-encoder"):
        return _embedding_aligner(name, options)
    if name == "simalign-package":
        from xner_label.checkpoints.devices import choose_placement
        from xner_label.stages.alignment.simalign_package import SimAlignPackage

        return SimAlignPackage(
            options.model,
            method=options.method or "itermax",
            token_type=options.token_type,
            layer=options.layer,
            distortion=options.distortion,
            placement=choose_placement(options.device, "float32", options.cache),
        )
    raise ConfigurationError(f"there is no aligner {name!r}", hint=f"choose among {', '.join(ALIGNERS)}")


def _embedding_aligner(name: str, options: AlignerOptions) -> Aligner:
    from xner_label.checkpoints.devices import choose_placement
    from xner_label.checkpoints.signatures import checkpoint_signature
    from xner_label.stages.alignment.embedding import EmbeddingAligner
    from xner_label.stages.alignment.encoder import load_encoder, load_translation_encoder

    placement = choose_placement(options.device, options.dtype, options.cache)
    model = options.model
    signature = f"{name}:{checkpoint_signature(model, placement.cache)}"
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
