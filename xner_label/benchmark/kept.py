"""Results that outlive a process: what each stage added to each text, and what each method reached.

Everything is kept by its content and by the signature of what made it, in files that are written beside their
place and renamed: a process that is killed leaves whole files, and the next one goes on after them. Several
processes may share a folder; the same result kept twice does no harm.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from xner_label.benchmark.stages import DeferredStage
from xner_label.entities import Task
from xner_label.errors import ConfigurationError
from xner_label.jsonl import open_output
from xner_label.pipeline.stage import Added, Stage, fingerprint
from xner_label.stages.usage import Usage

T = TypeVar("T")


class Cost(msgspec.Struct):
    """What work took: wall-clock seconds, and the most memory in MiB that the process held meanwhile; ``usage``
    of an endpoint, where one was asked."""

    seconds: float = 0.0
    mib: float = 0.0
    texts: int = 0
    usage: Usage | None = None

    def add(self, other: Cost) -> None:
        """Another part of the same work."""
        self.seconds += other.seconds
        self.mib = max(self.mib, other.mib)
        self.texts += other.texts
        if other.usage is not None:
            self.usage = self.usage or Usage()
            self.usage.add(other.usage)


class _Part(msgspec.Struct):
    """A file of results: what was added, by fingerprint of the input, and what it took."""

    cost: Cost
    added: dict[str, dict[str, Any]]


class _PartCost(msgspec.Struct):
    """What a file of results took, without the results, which are most of it."""

    cost: Cost


class Stopwatch:
    """Measures one piece of work from the moment it is made."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()
        _forget_peak()

    def cost(self, texts: int) -> Cost:
        """What was used since, for so many texts."""
        return Cost(time.perf_counter() - self._begun, _peak_mib(), texts)


class Kept:
    """A folder of results. Raises ConfigurationError where it can't be made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stages: dict[str, StageFolder] = {}
        try:
            (folder / "methods").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"can't keep results in {folder}: {error.strerror}", hint="name another folder with --cache"
            ) from None

    def stage(self, signature: str) -> StageFolder:
        """The results of the stage of that signature, read when they are first asked for."""
        if signature not in self._stages:
            self._stages[signature] = StageFolder(self._folder / "stages" / _digest(signature))
        return self._stages[signature]

    def method(self, key: str, result_type: type[T]) -> T | None:
        """What is kept under a key; None where nothing is, or nothing that can be read."""
        return _read(self._method_file(key), result_type)

    def keep_method(self, key: str, result: object) -> None:
        """Keep what a method reached."""
        _write(self._method_file(key), result)

    def _method_file(self, key: str) -> Path:
        return self._folder / "methods" / f"{_digest(key)}.json"


class StageFolder:
    """What one stage has added, as :class:`~xner_label.pipeline.stage.StageResults`, and what it took."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stopwatch: Stopwatch | None = None

    @cached_property
    def cost(self) -> Cost:
        """What all results took."""
        total = Cost()
        for file in sorted(self._folder.glob("*.json")):
            part = _read(file, _PartCost)
            if part is not None:
                total.add(part.cost)
        return total

    @cached_property
    def _added(self) -> dict[str, dict[str, Any]]:
        added: dict[str, dict[str, Any]] = {}
        for file in sorted(self._folder.glob("*.json")):
            part = _read(file, _Part)
            if part is not None:
                added.update(part.added)
        return added

    def begin(self) -> None:
        """Work for the next results begins now."""
        self._stopwatch = Stopwatch()

    def unknown(self, stage: Stage, tasks: Sequence[Task]) -> int:
        """How many tasks there are no results for."""
        return sum(fingerprint(stage, task) not in self._added for task in tasks)

    def known(self, stage: Stage, tasks: Sequence[Task]) -> list[Added | None]:
        """What the stage added to each task before; None where it hasn't."""
        if self._stopwatch is None:
            self.begin()
        return [self._added.get(fingerprint(stage, task)) for task in tasks]

    def keep(self, stage: Stage, results: Sequence[tuple[Task, Added]]) -> None:
        """Keep what the stage has added since :meth:`begin`, in one file."""
        added: dict[str, dict[str, Any]] = {
            fingerprint(stage, task): dict(msgspec.to_builtins(dict(values))) for task, values in results
        }
        part = _Part((self._stopwatch or Stopwatch()).cost(len(results)), added)
        if isinstance(stage, DeferredStage):
            part.cost.usage = stage.take_usage()
        self._stopwatch = None
        known, cost = self._added, self.cost  # of what is in the folder without the new file
        self._folder.mkdir(parents=True, exist_ok=True)
        _write(self._folder / f"{uuid.uuid4().hex}.json", part)
        known.update(added)
        cost.add(part.cost)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _read(file: Path, record_type: type[T]) -> T | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=record_type)
    except (OSError, msgspec.MsgspecError):
        return None


def _write(file: Path, record: object) -> None:
    with open_output(file) as stream:
        stream.write(msgspec.json.encode(record))


def _forget_peak() -> None:
    """Have Linux measure the peak of memory anew; elsewhere it stays that of the whole process."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def _peak_mib() -> float:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        fields: Mapping[str, str] = dict(
            line.split(":", 1) for line in status.splitlines() if line.startswith("VmHWM:")
        )
        return int(fields["VmHWM"].split()[0]) / 1024
    except (OSError, KeyError, ValueError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
