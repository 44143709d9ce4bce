"""How bulk prediction reads, cuts and writes, and where it runs."""

from __future__ import annotations

import msgspec

from xner_label.exchange.readers.interface import ReadOptions


class BulkOptions(ReadOptions, frozen=True, kw_only=True):
    """How files are read (see there), cut and written. ``part_size``: records of a part, at most twice as many."""

    part_format: str = "jsonl"
    part_size: int = 5_000


class RayCluster(msgspec.Struct, frozen=True):
    """Where Ray runs (empty ``address``: a cluster of this process' own), and on what: ``actors`` that hold a
    pipeline each, with so many ``gpus`` (shares of one, or several)."""

    address: str = ""
    actors: int = 1
    gpus: float = 0.0
