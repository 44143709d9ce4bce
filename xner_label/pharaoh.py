"""The Pharaoh text format of word alignments: ``i-j[:weight]``, source first, 0-based."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter

from xner_label.entities import Link
from xner_label.errors import RecordError

# Links by their text. The same few thousand occur again and again, and looking one up costs a tenth of parsing it.
_PARSED: dict[str, Link] = {}
_PARSED_LIMIT = 1 << 16


def parse_links(text: str, source_length: int, target_length: int) -> list[Link]:
    """Parse an alignment of a sentence pair with the given numbers of tokens.

    A pair given twice keeps the larger weight. Links come back sorted by (source, target). Raises RecordError
    for anything that isn't ``i-j`` or ``i-j:w`` with tokens in range and 0 < w <= 1.
    """
    items = text.split()
    if not items:
        return []
    try:
        links = [_PARSED[item] for item in items]
    except KeyError:
        links = [_PARSED.get(item) or _parse(item) for item in items]
    links.sort()
    if links[-1][0] >= source_length or max(map(_target, links)) >= target_length:
        for item in items:
            source, target, _ = _PARSED.get(item) or _parse(item)
            if source >= source_length or target >= target_length:
                raise RecordError(
                    "alignment",
                    f"{item[:40]!r} is out of range for {source_length} source and {target_length} target tokens; "
                    "links are 0-based, source first",
                )
    if ":" not in text and len(set(links)) == len(links):
        return links
    weights = {(source, target): weight for source, target, weight in links}  # of equal pairs the largest is last
    if len(weights) < len(links):
        return [(source, target, weight) for (source, target), weight in weights.items()]
    return links


_target = itemgetter(1)


def _parse(item: str) -> Link:
    pair, _, weight_text = item.partition(":")
    left, _, right = pair.partition("-")
    try:
        if not (left.isascii() and left.isdigit() and right.isascii() and right.isdigit()):
            raise ValueError
        link = (int(left), int(right), float(weight_text) if ":" in item else 1.0)
    except ValueError:
        raise RecordError("alignment", f"{item[:40]!r} is no link; write i-j or i-j:weight") from None
    if not 0.0 < link[2] <= 1.0:
        raise RecordError("alignment", f"{item[:40]!r} has a weight outside (0, 1]")
    if len(_PARSED) < _PARSED_LIMIT:
        _PARSED[item] = link
    return link


def format_links(links: Iterable[Link]) -> str:
    """Write links; a weight of 1 is left out, others keep four decimals."""
    return " ".join(
        f"{source}-{target}" if weight >= 1.0 else f"{source}-{target}:{max(round(weight, 4), 1e-4):g}"
        for source, target, weight in links
    )
