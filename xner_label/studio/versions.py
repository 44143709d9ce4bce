"""What Label Studio calls a pipeline or a model: its ``model_version``.

The signature of a pipeline is a line of two hundred characters with commas in it. Label Studio shows the whole of
it to people, and joins and splits the versions of a task's predictions at commas, so that such a one is never
found again.
"""

from __future__ import annotations

import hashlib
import re


def short_version(version: str) -> str:
    """The version under which a pipeline or a model run is shown: itself when it is short and plain already."""
    if re.fullmatch(r"[\w.+-]{1,40}", version):
        return version
    return f"projection-{hashlib.sha256(version.encode()).hexdigest()[:8]}"
