"""The folder that bulk prediction writes: parts named by what is in them, so that nothing is made twice.

    part-FILE-NUMBER-DIGEST.jsonl   the predictions of one batch; DIGEST hashes its tasks and the pipeline
    _rejected.jsonl                 records without a prediction, with reasons
    _manifest.json                  the pipeline and the parts in order; there once all of them are

A part is written beside its place and renamed, so that it is whole or absent.
"""

from __future__ import annotations

import fcntl
import gzip
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from xner_label.bulk.annotator import BulkAnnotator
from xner_label.bulk.batches import Batch, RejectedRecord
from xner_label.entities import Prediction
from xner_label.errors import MissingExtraError, RecordError, StoreUnavailableError, UsageError

PART_FORMATS = ("jsonl", "jsonl.gz", "jsonl.zst", "parquet")
_PART = re.compile(r"part-\d+-\d+-(?P<digest>[0-9a-f]+)\.(?P<format>[a-z.]+)")
_REJECTED = "_rejected"
_TEMPORARY = ".part."


class FinishedBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch whose part is in its place. ``made``: by this run; the counts are of records; ``problems`` says what
    was rejected, where that isn't in a file beside the parts."""

    file_number: int
    number: int
    digest: str
    first_line: int
    predicted: int
    rejected: int
    made: bool
    problems: list[RejectedRecord] = []


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a folder once it is whole."""

    pipeline: str
    files: list[str]
    predicted: int
    rejected: int
    parts: list[str]


class PartsFolder:
    """A folder of parts in one format. Processes that share it need one file system between them."""

    def __init__(self, path: Path, part_format: str) -> None:
        self.path = path
        self._format = part_format
        self._parts: dict[str, str] = {}
        self._rejections: dict[str, set[str]] = {}

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Make the folder, look at what is in it and keep other runs out of it.

        Raises UsageError where it can't be made or holds something else, MissingExtraError where the format needs
        an optional package, StoreUnavailableError where another run is writing into it.
        """
        _require(self._format)
        try:
            (self.path / _REJECTED).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"can't make the folder {self.path}: {error.strerror}", hint="check -o") from None
        with (self.path / _REJECTED / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise StoreUnavailableError(
                    f"another run is writing into {self.path}", hint="wait for it to finish, or stop it"
                ) from None
            (self.path / "_manifest.json").unlink(missing_ok=True)
            for folder in (self.path, self.path / _REJECTED):
                for entry in os.scandir(folder):
                    if entry.name.startswith(_TEMPORARY):
                        os.unlink(entry.path)  # of a run that was killed
            self.look()
            yield

    def look(self) -> None:
        """See which parts there are."""
        for entry in os.scandir(self.path):
            match = _PART.fullmatch(entry.name)
            if match and match["format"] == self._format:
                self._parts[match["digest"]] = entry.name
        for entry in os.scandir(self.path / _REJECTED):
            self._rejections.setdefault(entry.name.partition("-")[0], set()).add(entry.name)

    def finished(self, batch: Batch) -> FinishedBatch | None:
        """The batch as an earlier run left it; None where it is still to be made."""
        rejections = self._rejections.get(batch.digest, set())
        name = _rejections_name(batch)
        if batch.digest not in self._parts or ((rejections or batch.rejected) and name not in rejections):
            return None
        rejected = 0
        if name in rejections:
            rejected = (self.path / _REJECTED / name).read_bytes().count(b"\n")
        return _finished(batch, rejected, made=False)

    def write(self, batch: Batch, annotator: BulkAnnotator) -> FinishedBatch:
        """Predict a batch and write its part, what was rejected of it first."""
        results = annotator.predict([task for _, task in batch.tasks])
        predictions = [result for result in results if isinstance(result, Prediction)]
        rejected = list(batch.rejected)
        for (line, task), result in zip(batch.tasks, results, strict=True):
            if isinstance(result, RecordError):
                rejected.append(RejectedRecord.of(batch.file, line, result, task.id))
        rejected.sort(key=lambda record: record.line)
        if rejected:
            lines = b"".join(msgspec.json.encode(record) + b"\n" for record in rejected)
            self._replace(lines, self.path / _REJECTED / _rejections_name(batch))
            self._rejections.setdefault(batch.digest, set()).add(_rejections_name(batch))
        name = self._part_name(batch.file_number, batch.number, batch.digest)
        self._replace(_encoded(predictions, self._format), self.path / name)
        self._parts[batch.digest] = name
        return _finished(batch, len(rejected), made=True)

    def finish(self, pipeline: str, files: Sequence[str], batches: Sequence[FinishedBatch]) -> Manifest:
        """Bring the parts into the order of ``batches``, remove those of other input or pipelines, and say in
        the manifest that the folder is whole. Batches of the same records have a part each."""
        self._parts.clear()
        present: dict[str, list[str]] = {}
        for entry in os.scandir(self.path):
            match = _PART.fullmatch(entry.name)
            if match:
                present.setdefault(f"{match['digest']}.{match['format']}", []).append(entry.name)
        parts: list[str] = []
        places: dict[str, list[str]] = {}
        for batch in sorted(batches, key=lambda batch: (batch.file_number, batch.number)):
            name = self._part_name(batch.file_number, batch.number, batch.digest)
            parts.append(name)
            places.setdefault(f"{batch.digest}.{self._format}", []).append(name)
        for key, names in present.items():
            self._put(names, places.get(key, []))
        rejected = self._join_rejections(batches)
        manifest = Manifest(
            pipeline=pipeline,
            files=list(files),
            predicted=sum(batch.predicted for batch in batches),
            rejected=rejected,
            parts=parts,
        )
        self._replace(msgspec.json.format(msgspec.json.encode(manifest), indent=2), self.path / "_manifest.json")
        return manifest

    def _put(self, present: Sequence[str], wanted: Sequence[str]) -> None:
        """Have parts of the same content under the names that are wanted, and under no others."""
        spare = [name for name in present if name not in wanted]
        missing = [name for name in wanted if name not in present]
        while spare and missing:
            os.rename(self.path / spare.pop(), self.path / missing.pop(0))
        for name in spare:
            os.unlink(self.path / name)
        for name in missing:
            whole = next(other for other in wanted if other not in missing)
            self._replace((self.path / whole).read_bytes(), self.path / name)

    def _join_rejections(self, batches: Sequence[FinishedBatch]) -> int:
        """Write what was rejected into one file; returns how much that is."""
        wanted = [_rejections_name(batch) for batch in batches if batch.rejected]
        count = 0
        side_file = self.path / "_rejected.jsonl"
        with _beside(side_file) as stream:
            for name in wanted:
                lines = (self.path / _REJECTED / name).read_bytes()
                count += lines.count(b"\n")
                stream.write(lines)
        if not count:
            side_file.unlink()
        for entry in os.scandir(self.path / _REJECTED):
            if entry.name not in {*wanted, "lock"}:
                os.unlink(entry.path)
        return count

    def _part_name(self, file_number: int, number: int, digest: str) -> str:
        return f"part-{file_number:05}-{number:07}-{digest}.{self._format}"

    @staticmethod
    def _replace(content: bytes, path: Path) -> None:
        with _beside(path) as stream:
            stream.write(content)


@contextmanager
def _beside(path: Path) -> Iterator[Any]:
    """A file that takes its place when it is whole and on the disk."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=_TEMPORARY)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(handle)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _finished(batch: Batch, rejected: int, *, made: bool) -> FinishedBatch:
    return FinishedBatch(
        file_number=batch.file_number,
        number=batch.number,
        digest=batch.digest,
        first_line=batch.first_line,
        predicted=batch.records - rejected,
        rejected=rejected,
        made=made,
    )


def _rejections_name(batch: Batch | FinishedBatch) -> str:
    # line numbers are those of this place
    return f"{batch.digest}-{batch.file_number}-{batch.first_line}"


def _require(part_format: str) -> None:
    """Raise MissingExtraError unless parts can be written in the format."""
    try:
        if part_format == "parquet":
            import pyarrow  # noqa: F401
        if part_format == "jsonl.zst":
            import zstandard  # noqa: F401
    except ModuleNotFoundError:
        raise MissingExtraError("bulk", f"writing {part_format}") from None


def _encoded(predictions: Sequence[Prediction], part_format: str) -> bytes:
    if part_format == "parquet":
        return _parquet(predictions)
    lines = b"".join(msgspec.json.encode(prediction) + b"\n" for prediction in predictions)
    if part_format == "jsonl.gz":
        return gzip.compress(lines, 6, mtime=0)
    if part_format == "jsonl.zst":
        import zstandard

        return zstandard.compress(lines)
    return lines


def _parquet(predictions: Sequence[Prediction]) -> bytes:
    """A Parquet file with the columns of a prediction line; ids are text, entities lists of structs."""
    import pyarrow
    from pyarrow import parquet

    border, number = pyarrow.int32(), pyarrow.float64()
    span = [("start", border), ("end", border), ("label", pyarrow.string()), ("text", pyarrow.string())]
    entity = pyarrow.struct([*span, ("score", number), ("confidence", number), ("source", pyarrow.struct(span))])
    schema = pyarrow.schema(
        [
            ("id", pyarrow.string()),
            ("text", pyarrow.string()),
            ("entities", pyarrow.list_(entity)),
            ("confidence", number),
            ("pipeline", pyarrow.string()),
            ("note", pyarrow.string()),
        ]
    )
    rows = [msgspec.to_builtins(prediction) | {"id": str(prediction.id)} for prediction in predictions]
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema), sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content
