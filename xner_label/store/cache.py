"""The pipeline's cache, kept in the database. Implements xner_label.stages.interfaces.Cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import delete, select

from xner_label.store.database import Store, insert_new
from xner_label.store.tables import CacheEntry

_CHUNK = 5_000


class DatabaseCache:
    """Entries by namespace and key; each call is a transaction of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get_many(self, namespace: str, keys: Sequence[str]) -> dict[str, bytes]:
        """The entries that exist, by key."""
        found: dict[str, bytes] = {}
        with self._store.read() as session:
            for start in range(0, len(keys), _CHUNK):
                query = select(CacheEntry.key, CacheEntry.value).where(
                    CacheEntry.namespace == namespace, CacheEntry.key.in_(keys[start : start + _CHUNK])
                )
                found.update(session.execute(query).all())
        return found

    def put_many(self, namespace: str, entries: Mapping[str, bytes]) -> None:
        """Add or replace entries."""
        keys = list(entries)
        with self._store.write() as session:
            for start in range(0, len(keys), _CHUNK):
                chunk = keys[start : start + _CHUNK]
                session.execute(
                    delete(CacheEntry).where(CacheEntry.namespace == namespace, CacheEntry.key.in_(chunk))
                )
                rows = [{"namespace": namespace, "key": key, "value": entries[key]} for key in chunk]
                insert_new(session, CacheEntry, rows)
