"""What names a checkpoint: the commit of one from the hub, a hash of every byte of one in a folder.

Reading gigabytes takes seconds, so the hash of a file is remembered by its path, size and time of change.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from xner_label.checkpoints.loading import find_checkpoint

# What a model's answers depend on; other files of a checkpoint (an optimiser's state, a card) don't count.
_FILES = (
    *(
        "config.json",
        "gliner_config.json",
        "generation_config.json",
        "tokenizer*.json",
        "special_tokens_map.json",
        "added_tokens.json",
    ),
    *("vocab*", "merges.txt", "*.model", "*.spm", "*.safetensors", "*.bin"),
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
# Nanoseconds that a file must have stood still before its hash is remembered: what is written within the grain of
# the file system's clock would otherwise pass for what was there before.
_SETTLED = 2_000_000_000
_remembered: dict[_FileState, str] = {}


class _FileState(msgspec.Struct, frozen=True):
    """A file as the system describes it without reading it."""

    path: str
    size: int
    changed: int  # nanoseconds, as st_mtime_ns


class _Remembered(msgspec.Struct, frozen=True):
    state: _FileState
    digest: str


def checkpoint_signature(name: str, cache: Path | str = "") -> str:
    """A checkpoint's short name, and the hub's commit or a hash of all its configuration, vocabulary and weights.

    Two folders with the same content have the same signature, two that differ in one byte haven't. ``cache`` is a
    folder that remembers hashes between processes; without one only this process does. Raises ConfigurationError
    where there is no such checkpoint.
    """
    folder = Path(find_checkpoint(name))
    if (
        folder.parent.name == "snapshots"
        and _COMMIT.fullmatch(folder.name)
        and not Path(name).expanduser().is_dir()
    ):
        return f"{Path(name).name}@{folder.name[:12]}"
    total = hashlib.sha256()
    for file in sorted({file for pattern in _FILES for file in folder.glob(pattern) if file.is_file()}):
        total.update(f"{file.name}\0{_digest(file, cache)}\0".encode())
    return f"{Path(name).name}@{total.hexdigest()[:12]}"


def _digest(file: Path, cache: Path | str) -> str:
    """SHA-256 of a file's content."""
    state = _state(file)
    digest = _remembered.get(state) or _recall(state, cache)
    if digest is None:
        with open(file, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if _state(file) != state or time.time_ns() - state.changed < _SETTLED:
            return digest
        _keep(state, digest, cache)
    _remembered[state] = digest
    return digest


def _state(file: Path) -> _FileState:
    described = file.stat()
    return _FileState(str(file.resolve()), described.st_size, described.st_mtime_ns)


def _place(state: _FileState, cache: Path | str) -> Path:
    return Path(cache) / "hashes" / f"{hashlib.sha256(state.path.encode()).hexdigest()[:32]}.json"


def _recall(state: _FileState, cache: Path | str) -> str | None:
    if not cache:
        return None
    try:
        known = msgspec.json.decode(_place(state, cache).read_bytes(), type=_Remembered)
    except (OSError, msgspec.MsgspecError):
        return None
    return known.digest if known.state == state else None


def _keep(state: _FileState, digest: str, cache: Path | str) -> None:
    """Remember a hash; a folder that can't be written only costs time."""
    if not cache:
        return
    place = _place(state, cache)
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=place.parent, prefix=".", suffix=".part")
        with os.fdopen(handle, "wb") as stream:
            stream.write(msgspec.json.encode(_Remembered(state, digest)))
        os.replace(part, place)
