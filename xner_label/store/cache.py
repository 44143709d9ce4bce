"""The pipeline's cache, kept in the database. Implements xner_label.stages.interfaces.Cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import delete, select

from xner_label.store.database import Store, id_batches, insert_new
from xner_label.store.tables import CacheEntry


class DatabaseCache:
    """Entries by namespace and key; each call is a transaction of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get_many(self, namespace: str, keys: Sequence[str]) -> dict[str, bytes]:
        """The entries that exist, by key."""
        entries: dict[str, bytes] = {}
        with self._store.read() as session:
            for batch in id_batches(keys):
                query = select(CacheEntry.key, CacheEntry.value).where(
                    CacheEntry.namespace == namespace, CacheEntry.key.in_(batch)
                )
                entries.update(session.execute(query).all())
        return entries

    def put_many(self, namespace: str, entries: Mapping[str, bytes]) -> None:
        """Add or replace entries."""
        keys = list(entries)
        with self._store.write() as session:
            for batch in id_batches(keys):
                session.execute(
                    delete(CacheEntry).where(CacheEntry.namespace == namespace, CacheEntry.key.in_(batch))
                )
                rows = [{"namespace": namespace, "key": key, "value": entries[key]} for key in batch]
                insert_new(session, CacheEntry, rows)
