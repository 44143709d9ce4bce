"""A cache in a folder, for answers that cost too much to be asked for twice."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from xner_label.errors import UsageError
from xner_label.jsonl import open_output

# Writing a file asks for the process' umask, which means setting it: one thread at a time.
_WRITING = threading.Lock()


class FolderCache:
    """One file per entry, written beside its place and renamed: processes may share the folder and be killed.

    A folder that can't be written keeps nothing: that only costs asking again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get_many(self, namespace: str, keys: Sequence[str]) -> dict[str, bytes]:
        """The entries that exist, by key."""
        entries: dict[str, bytes] = {}
        for key in keys:
            with suppress(OSError):
                entries[key] = self._file(namespace, key).read_bytes()
        return entries

    def put_many(self, namespace: str, entries: Mapping[str, bytes]) -> None:
        """Add or replace entries."""
        for key, value in entries.items():
            file = self._file(namespace, key)
            with suppress(OSError, UsageError), _WRITING:
                file.parent.mkdir(parents=True, exist_ok=True)
                with open_output(file) as stream:
                    stream.write(value)

    def _file(self, namespace: str, key: str) -> Path:
        name, entry = (hashlib.sha256(text.encode()).hexdigest()[:32] for text in (namespace, key))
        return self._folder / name / entry[:2] / entry
