"""The files of model runs in the models' folder: written beside their place, moved there whole, known by a hash.

A killed training may leave a workspace, or a folder that was never recorded. Both carry the name of their project
and database, so that the next training of the same project knows them as its own and removes them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from xner_label.errors import ConfigurationError
from xner_label.store.tables import ModelRun
from xner_label.training.model import NerModel

_TRAINED_ON = "trained-on.json"
# In a run's folder until the run is recorded; holds whose it is.
_UNRECORDED = "unrecorded"
# Files of a run that are no part of its model.
INTERNAL_FILES = (_TRAINED_ON, _UNRECORDED)
_WORKSPACE = ".unfinished-"
_RESUMABLE = ".resumable-"


class RunFiles:
    """The models' ``folder`` as one project of one database uses it."""

    def __init__(self, folder: Path, store_url: str, project: str) -> None:
        self.folder = folder
        self._owner = hashlib.sha256(f"{store_url}\n{project}".encode()).hexdigest()[:16]

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """A folder inside the models' folder that is gone afterwards.

        Raises ConfigurationError where the models' folder can't be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            workspace = tempfile.TemporaryDirectory(dir=self.folder, prefix=f"{_WORKSPACE}{self._owner}-")
        except OSError as error:
            raise ConfigurationError(
                f"can't write models to {self.folder}: {error.strerror}",
                hint="set training.folder to a folder you own",
            ) from error
        with workspace as name:
            yield Path(name)

    def resumable(self, digest: str) -> Path:
        """A folder in which a training of this data and these options goes on after a kill.

        What trainings of the project with another ``digest`` left there is removed. Only for who holds the lock on
        training; removed by them when the training is over.
        """
        folder = self.folder / f"{_RESUMABLE}{self._owner}-{digest}"
        for other in self.folder.glob(f"{_RESUMABLE}{self._owner}-*"):
            if other != folder:
                shutil.rmtree(other, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def remove_unfinished(self, recorded: Collection[str]) -> int:
        """Remove what killed trainings of this project left; ``recorded`` are the versions that are runs.

        Only for who holds the lock on training. Returns how many folders went.
        """
        removed = 0
        for workspace in self.folder.glob(f"{_WORKSPACE}{self._owner}-*"):
            shutil.rmtree(workspace, ignore_errors=True)
            removed += 1
        for mark in self.folder.glob(f"*/{_UNRECORDED}"):
            if mark.read_text("utf-8") != self._owner:
                continue
            if mark.parent.name in recorded:  # killed between the record and the mark's end
                mark.unlink()
            else:
                shutil.rmtree(mark.parent, ignore_errors=True)
                removed += 1
        return removed

    def put(
        self, model: NerModel, learned_texts: Collection[str], version: str, workspace: Path
    ) -> tuple[Path, str]:
        """Save a model and the hashes of the texts whose gold it has learned from, as files of ``version``.

        Returns its folder and the SHA-256 of the model's files. Call :meth:`recorded` or :meth:`withdraw` next.
        """
        beside, target = workspace / version, self.folder / version
        beside.mkdir()
        model.save(beside)
        artefact = hash_of_files(beside)
        (beside / _TRAINED_ON).write_bytes(msgspec.json.encode(sorted(learned_texts)))
        (beside / _UNRECORDED).write_text(self._owner, encoding="utf-8")
        for file in beside.rglob("*"):
            if file.is_file():
                _flush(file)
        os.replace(beside, target)
        return target.resolve(), artefact

    def recorded(self, version: str) -> None:
        """The run is in the store: its files stay."""
        (self.folder / version / _UNRECORDED).unlink(missing_ok=True)

    def withdraw(self, version: str) -> None:
        """The run couldn't be recorded: its files go."""
        shutil.rmtree(self.folder / version, ignore_errors=True)


def hash_of_files(folder: Path) -> str:
    """SHA-256 (hex) of the names and contents of a model's files."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in INTERNAL_FILES):
        content = hashlib.sha256()
        with open(file, "rb") as stream:
            while block := stream.read(1 << 20):
                content.update(block)
        digest.update(f"{file.relative_to(folder).as_posix()}\0{content.hexdigest()}\n".encode())
    return digest.hexdigest()


def run_folder(run: ModelRun, folder: Path) -> Path:
    """Where the files of a run are, in the models' ``folder`` of this machine.

    Earlier versions recorded an absolute path; it counts where it still leads to the files.
    """
    recorded = Path(run.path)
    if recorded.is_absolute() and recorded.is_dir():
        return recorded
    return folder / recorded.name


def trained_on(run: ModelRun, folder: Path) -> frozenset[str]:
    """SHA-256 (hex) of the texts whose gold a run in the models' ``folder`` has learned from."""
    file = run_folder(run, folder) / _TRAINED_ON
    try:
        return frozenset(msgspec.json.decode(file.read_bytes(), type=list[str]))
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigurationError(
            f"{file} can't be read: {error}", hint="put it back, or train again with `xner-label train`"
        ) from None


def _flush(file: Path) -> None:
    """Make sure that the file's content outlives a power cut before the run is recorded."""
    with open(file, "rb") as stream:
        os.fsync(stream.fileno())
