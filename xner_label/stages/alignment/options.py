"""What can be chosen about alignment, by name."""

from __future__ import annotations

import msgspec


class AlignerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What can be said about an aligner; each takes what it has a use for.

    ``model`` is a checkpoint. An empty ``method`` and a ``layer`` of None leave the choice to the aligner:
    itermax, two thirds up, for simalign; softmax on the last layer for mt-encoder. ``threshold`` is softmax's.
    ``languages`` are the ISO 639 codes of source and target, for translation models that are told them.
    ``rule`` combines several aligners, see
    :class:`~xner_label.stages.alignment.ensemble.EnsembleAligner`. ``cache`` is as for a Placement.
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
    cache: str = ""
