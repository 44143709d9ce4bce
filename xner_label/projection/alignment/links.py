"""The Pharaoh text format of word alignments: ``i-j[:weight]``, source first, 0-based."""

from __future__ import annotations

from collections.abc import Iterable

from xner_label.entities import Link
from xner_label.errors import RecordError


def parse_links(text: str, source_length: int, target_length: int) -> list[Link]:
    """Parse an alignment of a sentence pair with the given numbers of tokens.

    A pair given twice keeps the larger weight. Links come back sorted by (source, target). Raises RecordError
    for anything that isn't ``i-j`` or ``i-j:w`` with tokens in range and 0 < w <= 1.
    """
    weights: dict[tuple[int, int], float] = {}
    for item in text.split():
        pair, _, weight_text = item.partition(":")
        left, _, right = pair.partition("-")
        try:
            if not (left.isascii() and left.isdigit() and right.isascii() and right.isdigit()):
                raise ValueError
            source, target = int(left), int(right)
            weight = float(weight_text) if ":" in item else 1.0
        except ValueError:
            raise RecordError("alignment", f"{item[:40]!r} is no link; write i-j or i-j:weight") from None
        if source >= source_length or target >= target_length:
            raise RecordError(
                "alignment",
                f"{item[:40]!r} is out of range for {source_length} source and {target_length} target tokens; "
                "links are 0-based, source first",
            )
        if not 0.0 < weight <= 1.0:
            raise RecordError("alignment", f"{item[:40]!r} has a weight outside (0, 1]")
        key = (source, target)
        if weight > weights.get(key, 0.0):
            weights[key] = weight
    return [(source, target, weights[source, target]) for source, target in sorted(weights)]


def format_links(links: Iterable[Link]) -> str:
    """Write links; a weight of 1 is left out, others keep four decimals."""
    return " ".join(
        f"{source}-{target}" if weight >= 1.0 else f"{source}-{target}:{max(round(weight, 4), 1e-4):g}"
        for source, target, weight in links
    )
