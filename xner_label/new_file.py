"""A file that is whole or absent, and replaces none."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from xner_label.errors import UsageError

_PREFIX, _SUFFIX = ".xner-label-", ".part"
_HIDDEN = re.compile(rf"{re.escape(_PREFIX)}\w+{re.escape(_SUFFIX)}")

# What SQLite has beside a database that it writes.
_OF_SQLITE = ("-journal", "-wal", "-shm")


@contextmanager
def new_file(path: Path, what: str) -> Iterator[IO[bytes]]:
    """A hidden file in the folder of ``path`` to write into, which appears there when it is whole and on the disk.

    It is locked as long as this process lives; what killed processes have left in the folder is removed before.
    Raises UsageError where ``path`` is there already (``what``: what replaces none) or can't be written.
    """
    exists = UsageError(f"{path} is there already", hint=f"name another file; {what} replaces none")
    if path.exists():
        raise exists
    try:
        _remove_left(path.parent)
        stream = _locked(path.parent)
    except OSError as error:
        raise UsageError(f"can't write {path}: {error.strerror}", hint="check the folder") from None
    with stream:
        try:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            try:
                os.link(stream.name, path)
            except FileExistsError:
                raise exists from None
        finally:
            os.unlink(stream.name)


def _locked(folder: Path) -> IO[bytes]:
    while True:
        handle, name = tempfile.mkstemp(dir=folder, prefix=_PREFIX, suffix=_SUFFIX)
        os.close(handle)
        stream = open(name, "wb")  # noqa: SIM115 - open as long as it is being written
        fcntl.flock(stream, fcntl.LOCK_EX)
        if os.path.exists(name):
            return stream
        stream.close()  # before it was locked another process took it for what a killed one left


def _remove_left(folder: Path) -> None:
    """Remove the hidden files that no living process holds."""
    for entry in os.scandir(folder):
        if _HIDDEN.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
            # another process is writing it or was faster, or it is somebody else's
            with suppress(OSError), open(entry.path, "rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for beside in _OF_SQLITE:
                    Path(entry.path + beside).unlink(missing_ok=True)
                os.unlink(entry.path)
