"""A cache that lives as long as the process, for whoever has no store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence


class MemoryCache:
    """Keeps everything in memory."""

    def __init__(self) -> None:
        self._entries: defaultdict[str, dict[str, bytes]] = defaultdict(dict)

    def get_many(self, namespace: str, keys: Sequence[str]) -> dict[str, bytes]:
        """The entries that exist, by key."""
        known = self._entries[namespace]
        return {key: known[key] for key in keys if key in known}

    def put_many(self, namespace: str, entries: Mapping[str, bytes]) -> None:
        """Add or replace entries."""
        self._entries[namespace].update(entries)
