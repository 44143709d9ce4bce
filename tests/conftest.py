"""What every test gets: a clean environment and the folder of the benchmark data, if it is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_PREFIXES = ("XNER_LABEL_", "LABEL_STUDIO_")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine's own reaches a test."""
    for name in list(os.environ):
        if name.startswith(_PREFIXES) and name != "XNER_LABEL_BENCH_DATA":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def bench_data() -> Path:
    """The folder of real data that may not be redistributed; skips where it is absent."""
    folder = Path(os.environ.get("XNER_LABEL_BENCH_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the benchmark data is not here: set XNER_LABEL_BENCH_DATA to its folder")
    return folder
