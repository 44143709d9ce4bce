"""Cutting a stream of records into batches by their content.

A batch ends where the hash of a record says so, as in content-defined chunking (Muthitacharoen et al. 2001, "A
low-bandwidth network file system"): a record that is added to a file or taken out of it changes the batch it is in
and leaves those before and after it as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path

import msgspec

from xner_label.entities import Task
from xner_label.errors import RecordError
from xner_label.exchange.readers.formats import open_records
from xner_label.exchange.readers.interface import Numbered, ReadOptions
from xner_label.exchange.readers.lines import undecodable

_DIGEST_BYTES = 10


class RejectedRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A record that has no prediction: where it stands, and what is wrong with it."""

    file: str
    line: int
    field: str
    problem: str
    id: str | int | None = None

    @classmethod
    def of(cls, file: str, line: int, error: RecordError, key: str | int | None = None) -> RejectedRecord:
        """What an error says."""
        return cls(file, line, error.field, error.problem, key)


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Consecutive records of a file.

    ``digest`` hashes the good ones and ``signature``, which names what predicts them; ``first_line`` is that of
    the first record, good or bad. ``tasks`` are numbered by their lines, ``rejected`` couldn't be read; ``splits``
    holds, by line, what records say of their split, which no prediction depends on.
    """

    file: str
    file_number: int
    number: int
    digest: str
    first_line: int
    tasks: list[tuple[int, Task]]
    rejected: list[RejectedRecord]
    splits: dict[int, str] = {}

    @property
    def records(self) -> int:
        """How many there are, good and bad."""
        return len(self.tasks) + len(self.rejected)


def batches_of_file(
    path: Path, file_number: int, options: ReadOptions, signature: str, size: int
) -> Iterator[Batch]:
    """The records of a file in batches of about ``size`` of them, at most twice as many.

    Raises what :func:`xner_label.exchange.readers.formats.open_records` does.
    """
    with open_records(path, options) as (_, records):
        for number, (numbered, hashes) in enumerate(_cut(records, size)):
            yield _batch(str(path), file_number, number, signature, numbered, hashes)


# A record's line, its task or what is wrong with it, and its split.
_Cut = tuple[int, Task | RecordError, str | None]


def _cut(records: Iterable[Numbered], size: int) -> Iterator[tuple[list[_Cut], list[bytes]]]:
    """Consecutive records, and hashes of the good ones among them."""
    least, odds = (size + 1) // 2, max(size // 2, 1)
    batch: list[_Cut] = []
    hashes: list[bytes] = []
    for line, record in records:
        task = record if isinstance(record, RecordError) else _readable(record.task)
        batch.append((line, task, None if isinstance(record, RecordError) else record.split))
        ends = False
        if isinstance(task, Task):
            hashes.append(blake2b(msgspec.json.encode(task), digest_size=_DIGEST_BYTES).digest())
            ends = int.from_bytes(hashes[-1][:4], "little") % odds == 0
        if (ends and len(batch) >= least) or len(batch) >= 2 * size:
            yield batch, hashes
            batch, hashes = [], []
    if batch:
        yield batch, hashes


def _readable(task: Task) -> Task | RecordError:
    for field in ("text", "source"):
        problem = undecodable(getattr(task, field) or "")
        if problem:
            return RecordError(field, problem)
    # what people say of the text is no part of what a prediction depends on
    return task if task.entities is None else msgspec.structs.replace(task, entities=None)


def _batch(
    file: str,
    file_number: int,
    number: int,
    signature: str,
    numbered: list[_Cut],
    hashes: list[bytes],
) -> Batch:
    digest = blake2b(signature.encode(), digest_size=_DIGEST_BYTES)
    digest.update(b"".join(hashes))
    return Batch(
        file=file,
        file_number=file_number,
        number=number,
        digest=digest.hexdigest(),
        first_line=numbered[0][0],
        tasks=[(line, task) for line, task, _ in numbered if isinstance(task, Task)],
        rejected=[
            RejectedRecord.of(file, line, error) for line, error, _ in numbered if isinstance(error, RecordError)
        ],
        splits={line: split for line, _, split in numbered if split},
    )
