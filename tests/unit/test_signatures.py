"""What names a checkpoint covers all of it, and is worked out once."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from xner_label.checkpoints import signatures
from xner_label.checkpoints.signatures import checkpoint_signature

SIZE, HEAD = 4 << 20, 36 << 10
LONG_AGO = time.time_ns() - 3600 * 10**9


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch):
    monkeypatch.setattr(signatures, "_remembered", {})


def checkpoint(folder: Path, head: bytes = b"") -> Path:
    """A folder with weights of 4 MiB whose head stands behind the header, as safetensors have it."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    weights = bytearray(SIZE)
    weights[8192 : 8192 + len(head)] = head
    (folder / "model.safetensors").write_bytes(weights)
    settle(folder)
    return folder


def settle(folder: Path) -> None:
    for file in folder.iterdir():
        os.utime(file, ns=(LONG_AGO, LONG_AGO))


def test_one_byte_makes_another_checkpoint_and_a_copy_does_not(tmp_path):
    first = checkpoint_signature(str(checkpoint(tmp_path / "a" / "ner")))
    assert first.startswith("ner@")
    assert checkpoint_signature(str(checkpoint(tmp_path / "b" / "ner", b"\1" * HEAD))) != first
    assert checkpoint_signature(str(checkpoint(tmp_path / "c" / "ner", b"\1"))) != first
    assert checkpoint_signature(str(checkpoint(tmp_path / "d" / "ner"))) == first
    (tmp_path / "d" / "ner" / "vocab.txt").write_text("a\n")
    assert checkpoint_signature(str(tmp_path / "d" / "ner")) != first
    (tmp_path / "a" / "ner" / "README.md").write_text("a card")
    assert checkpoint_signature(str(tmp_path / "a" / "ner")) == first


def test_a_hash_is_remembered_by_path_size_and_time_of_change(tmp_path, monkeypatch):
    folder, cache = checkpoint(tmp_path / "ner"), tmp_path / "cache"
    first = checkpoint_signature(str(folder), cache)
    monkeypatch.setattr(signatures, "_remembered", {})  # as in another process

    def refuse(*_arguments):
        raise AssertionError("read again")

    with monkeypatch.context() as patch:
        patch.setattr(signatures.hashlib, "file_digest", refuse)
        assert checkpoint_signature(str(folder), cache) == first
    weights = folder / "model.safetensors"
    with open(weights, "r+b") as stream:
        stream.seek(9000)
        stream.write(b"\1")
    os.utime(weights, ns=(LONG_AGO, LONG_AGO + 1))
    assert checkpoint_signature(str(folder), cache) != first


def test_what_changed_a_moment_ago_is_not_remembered(tmp_path):
    """A second change within the clock's grain would leave size and time as they were."""
    folder, cache = checkpoint(tmp_path / "ner"), tmp_path / "cache"
    weights, now = folder / "model.safetensors", time.time_ns()
    os.utime(weights, ns=(now, now))
    first = checkpoint_signature(str(folder), cache)
    with open(weights, "r+b") as stream:
        stream.write(b"\1")
    os.utime(weights, ns=(now, now))
    assert checkpoint_signature(str(folder), cache) != first


@pytest.mark.parametrize("broken", ["file", "garbage"])
def test_a_cache_that_cannot_be_used_costs_time_only(tmp_path, broken, monkeypatch):
    folder, cache = checkpoint(tmp_path / "ner"), tmp_path / "cache"
    first = checkpoint_signature(str(folder))
    if broken == "file":
        cache.write_text("no folder")
    else:
        checkpoint_signature(str(folder), cache)
        monkeypatch.setattr(signatures, "_remembered", {})
        assert checkpoint_signature(str(folder), cache) == first
        for file in (cache / "hashes").iterdir():
            file.write_text("{")
    monkeypatch.setattr(signatures, "_remembered", {})
    assert checkpoint_signature(str(folder), cache) == first


@pytest.mark.models
def test_a_checkpoint_from_the_hub_is_named_by_its_commit(tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--someone--ner"
    checkpoint(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert checkpoint_signature("someone/ner") == "ner@0123456789ab"
