"""A folder that is whole or absent."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xner_label.errors import UsageError


@contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """A folder beside ``output`` to write into, which takes its place at the end; an exception leaves nothing.

    ``output`` must not be there, or be an empty folder. Raises UsageError where it can't be written.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}."))
    except OSError as error:
        raise UsageError(f"can't write {output}: {error.strerror}", hint="check the folder") from None
    try:
        yield beside
        beside.chmod(0o755)
        os.replace(beside, output)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
