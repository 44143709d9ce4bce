"""Numbers and their nouns in what people read."""

from __future__ import annotations


def counted(count: int, singular: str, plural: str | None = None) -> str:
    """``1 name``, ``2 names``, ``2 entities``; give ``plural`` where more than the last word changes."""
    if count == 1:
        return f"1 {singular}"
    if plural is None:
        plural = singular[:-1] + "ies" if singular.endswith("ty") else singular + "s"
    return f"{count} {plural}"
