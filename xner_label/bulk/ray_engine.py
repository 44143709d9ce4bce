"""Bulk prediction on Ray Data: tasks cut files into batches, actors that hold the pipeline write the parts.

Files and output must lie where every node sees them. An actor that dies is started again and its batch is made
again; parts are whole or absent, and named by their content, so that making one twice changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from xner_label.bulk.annotator import BulkAnnotator
from xner_label.bulk.batches import Batch, batches_of_file
from xner_label.bulk.options import BulkOptions, RayCluster
from xner_label.bulk.parts import FinishedBatch, PartsFolder
from xner_label.bulk.store_output import StoreOutput, StoreTarget
from xner_label.errors import ConfigurationError, MissingExtraError
from xner_label.settings.table import Settings

# How often a batch is given to another actor before the run gives up.
_RETRIES = 5
# Bytes of batches that go to an actor together. Ray's own 128 MiB would give the whole of a file to one actor and
# leave the others idle; much less would send each of many batches that are there already on its own.
_BLOCK_BYTES = 256 << 10


def predict_on_ray(
    settings: Settings,
    signature: str,
    files: Sequence[Path],
    target: Path | StoreTarget,
    options: BulkOptions,
    cluster: RayCluster,
) -> Iterator[FinishedBatch]:
    """The batches of the files as they are finished, in no particular order.

    Raises MissingExtraError without the extra ``ray``, ConfigurationError where the cluster can't be reached or an
    actor has another pipeline than this process, and what reading the files raises.
    """
    try:
        import ray
        from ray import data
    except ModuleNotFoundError:
        raise MissingExtraError("ray", "--engine ray") from None
    joined = ray.is_initialized()
    if not joined:
        _start(ray, cluster)
    try:
        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        context.max_errored_blocks = 0
        context.target_max_block_size = _BLOCK_BYTES
        rows = [{"number": number, "path": str(path.resolve())} for number, path in enumerate(files)]
        if isinstance(target, Path):
            target = target.resolve()
        cut = data.from_items(rows, override_num_blocks=max(len(rows), 1)).flat_map(
            _CutFile([str(path) for path in files], target, options, signature)
        )
        done = cut.map_batches(
            _Actor,
            fn_constructor_args=(settings, target, options.part_format, signature),
            batch_size=1,
            compute=data.ActorPoolStrategy(size=cluster.actors),
            num_gpus=cluster.gpus or None,
            max_restarts=-1,
            max_task_retries=_RETRIES,
        )
        for row in done.iter_rows():
            yield msgspec.msgpack.decode(row["finished"], type=FinishedBatch)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        raise cause if isinstance(cause, Exception) else error from None
    finally:
        if not joined:
            ray.shutdown()


def _start(ray: Any, cluster: RayCluster) -> None:
    # workers import what this process imports, and send nothing home
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        if cluster.address:
            ray.init(cluster.address, log_to_driver=False)
        else:
            ray.init(
                num_cpus=cluster.actors + 1,
                object_store_memory=256 << 20,
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
            )
    except (ConnectionError, ValueError, RuntimeError) as error:
        where = cluster.address or "on this machine"
        raise ConfigurationError(
            f"Ray can't be used {where}: {error}", hint="check --address; `ray status` shows whether it runs"
        ) from error


@contextmanager
def _output(target: Path | StoreTarget, part_format: str, signature: str) -> Iterator[PartsFolder | StoreOutput]:
    if isinstance(target, StoreTarget):
        with StoreOutput.opened(target, signature) as output:
            yield output
        return
    folder = PartsFolder(target, part_format)
    folder.look()
    yield folder


class _CutFile:
    """Cuts a file; a batch that was made before is passed on as finished."""

    def __init__(
        self, names: Sequence[str], target: Path | StoreTarget, options: BulkOptions, signature: str
    ) -> None:
        self._names = names
        self._target = target
        self._options = options
        self._signature = signature

    def __call__(self, row: dict[str, Any]) -> Iterator[dict[str, bytes]]:
        with _output(self._target, self._options.part_format, self._signature) as output:
            yield from self._batches(output, int(row["number"]), Path(row["path"]))

    def _batches(self, output: PartsFolder | StoreOutput, number: int, path: Path) -> Iterator[dict[str, bytes]]:
        for batch in batches_of_file(path, number, self._options, self._signature, self._options.part_size):
            named = msgspec.structs.replace(
                batch,
                file=self._names[number],
                rejected=[msgspec.structs.replace(record, file=self._names[number]) for record in batch.rejected],
            )
            finished = output.finished(named)
            if finished is None:
                yield {"batch": msgspec.msgpack.encode(named), "finished": b""}
            else:
                yield {"batch": b"", "finished": msgspec.msgpack.encode(finished)}


class _Actor:
    """Holds a pipeline. Raises ConfigurationError where it isn't the one of the process that asked."""

    def __init__(self, settings: Settings, target: Path | StoreTarget, part_format: str, signature: str) -> None:
        self._annotator = BulkAnnotator(settings)
        # what is open is returned when the process ends
        self._output = ExitStack().enter_context(_output(target, part_format, signature))
        if self._annotator.signature != signature:
            raise ConfigurationError(
                f"this node's pipeline is {self._annotator.signature!r}, not {signature!r}",
                hint="install the same version with the same models and settings on every node",
            )

    def __call__(self, rows: dict[str, Any]) -> dict[str, list[bytes]]:
        finished = []
        for batch, done in zip(rows["batch"], rows["finished"], strict=True):
            if not done:
                result = self._output.write(msgspec.msgpack.decode(batch, type=Batch), self._annotator)
                done = msgspec.msgpack.encode(result)
            finished.append(done)
        return {"finished": finished}
