"""Packed files: gzip and Zstandard are read as what is inside, Parquet and data sets of Hugging Face as
a record for each of their rows."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from xner_label.errors import MissingExtraError, UsageError

GZIP, ZSTANDARD, PARQUET = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1"
_SUFFIXES = (".gz", ".gzip", ".zst", ".zstd")
# What Hugging Face's `save_to_disk` puts beside the rows.
_STATE, _SPLITS = "state.json", "dataset_dict.json"
# Rows of a Parquet file in memory at a time.
_ROWS = 1_000


@contextmanager
def unpacked(stream: IO[bytes], path: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """The stream without its compression, and the file's name without what tells of it.

    Raises UsageError, also while it is being read, where the archive is damaged or cut off, MissingExtraError for
    Zstandard without the extra ``bulk``.
    """
    peek = getattr(stream, "peek", None)
    magic = b"" if peek is None else peek(4)[:4]
    if not magic.startswith((GZIP, ZSTANDARD)):
        yield stream, path
        return
    name = path.with_suffix("") if path.suffix.lower() in _SUFFIXES else path
    if magic.startswith(GZIP):
        try:
            with gzip.open(stream) as content:
                yield cast(IO[bytes], content), name
        except (EOFError, OSError, zlib.error) as error:
            if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
                raise
            raise _damaged(path, "gzip", error) from None
        return
    try:
        import zstandard
    except ModuleNotFoundError:
        raise MissingExtraError("bulk", "reading a Zstandard file") from None
    try:
        with zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True) as content:
            yield content, name
    except zstandard.ZstdError as error:
        raise _damaged(path, "Zstandard", error) from None


def _damaged(path: Path, what: str, error: Exception) -> UsageError:
    return UsageError(f"{path} is a {what} file that can't be unpacked: {error}", hint="copy or download it again")


def parquet_records(path: Path) -> Iterator[bytes]:
    """Each row of a Parquet file as a JSON object in UTF-8; columns that are null in a row are left out of it.

    Raises UsageError for a damaged file, MissingExtraError without the extra ``bulk``.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise MissingExtraError("bulk", "reading a Parquet file") from None
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS):
                for row in batch.to_pylist():
                    yield msgspec.json.encode(_without_nulls(row), enc_hook=str)
    except (pyarrow.ArrowException, OSError) as error:
        raise UsageError(
            f"{path} is a Parquet file that can't be read: {error}", hint="copy or download it again"
        ) from None


def is_data_set(path: Path) -> bool:
    """Whether a path is a folder that Hugging Face's `save_to_disk` made, of one data set or of several splits."""
    return any((path / name).is_file() for name in (_STATE, _SPLITS))


def data_set_records(folder: Path) -> Iterator[bytes]:
    """Each row of a data set of Hugging Face as a JSON object in UTF-8, of every split in turn with its name as
    ``split``. Raises UsageError for a damaged folder, MissingExtraError without the extra ``bulk``."""
    try:
        import pyarrow
    except ModuleNotFoundError:
        raise MissingExtraError("bulk", "reading a data set of Hugging Face") from None
    try:
        for split in _splits(folder):
            state = json.loads((folder / split / _STATE).read_bytes())
            for file in state["_data_files"]:
                with pyarrow.memory_map(str(folder / split / file["filename"])) as content:
                    for table in pyarrow.ipc.open_stream(content):
                        for start in range(0, table.num_rows, _ROWS):
                            for row in table.slice(start, _ROWS).to_pylist():
                                named = {"split": split} | row if split else row
                                yield msgspec.json.encode(_without_nulls(named), enc_hook=str)
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{folder} is a data set that can't be read: {error}", hint="make it anew with `save_to_disk`"
        ) from None


def tag_names(folder: Path, fields: Collection[str]) -> tuple[str, ...]:
    """The names of a data set's numbered tags, in order; empty where it gives none for these fields."""
    try:
        info = json.loads((folder / _splits(folder)[0] / "dataset_info.json").read_bytes())
    except (OSError, ValueError):
        return ()
    features = info.get("features") or {}
    candidates = (features.get(field, {}).get("feature", {}).get("names") for field in fields)
    return next((tuple(names) for names in candidates if names), ())


def _splits(folder: Path) -> list[str]:
    """The folders of the splits; the folder itself where there are none."""
    if not (folder / _SPLITS).is_file():
        return [""]
    return list(json.loads((folder / _SPLITS).read_bytes())["splits"])


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
