"""The built distributions work outside a checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.processes import LIMIT
from xner_label import __version__

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``xner-label`` of a fresh environment; it borrows the dependencies of the one that runs the tests."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(command, check=True, timeout=LIMIT)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    # A folder named in a .pth file has its own .pth files ignored, so an editable install doesn't shine through.
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder / "bin" / "xner-label"


def test_the_wheel_holds_the_package_with_its_data_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for expected in (
        "xner_label/_migrations/env.py",
        "xner_label/_migrations/versions/0001_initial_schema.py",
        "xner_label/sample/en-sw.jsonl",
        "xner_label/sample/en-hi.jsonl",
        "xner_label/sample/en-labelled.jsonl",
        "xner_label_backend/__init__.py",
    ):
        assert expected in names
    assert {name.split("/")[0] for name in names} == {
        "xner_label",
        "xner_label_backend",
        f"xner_label-{__version__}.dist-info",
    }
    assert [name for name in names if name.endswith((".pyc", ".so"))] == []


def test_the_source_distribution_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    archive = _build("sdist", ROOT, tmp_path)
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    again = _build("wheel", tmp_path / archive.name.removesuffix(".tar.gz"), tmp_path / "again")
    assert sorted(zipfile.ZipFile(again).namelist()) == sorted(zipfile.ZipFile(wheel).namelist())


def test_an_installed_command_runs_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    assert _run(installed, tmp_path, "--version") == f"xner-label, version {__version__}\n"
    assert "Commands:" in _run(installed, tmp_path, "--help")


def test_an_installed_command_brings_its_migrations(installed: Path, tmp_path: Path) -> None:
    _run(installed, tmp_path, "db", "upgrade")
    assert (tmp_path / "xner-label.db").exists()


def test_an_installed_command_imports_nothing_from_the_checkout(installed: Path, tmp_path: Path) -> None:
    code = "import xner_label, xner_label.sample as s; print(xner_label.__file__, len(s.read_sample()) > 0)"
    shown = subprocess.run(
        [installed.parent / "python", "-c", code], cwd=tmp_path, env=_environment(), capture_output=True, text=True
    )
    assert shown.stdout.startswith(str(installed.parents[1])), shown.stderr
    assert shown.stdout.endswith("True\n")


def _build(kind: str, source: Path, target: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(target)]
    subprocess.run(command, cwd=source, check=True, timeout=LIMIT, capture_output=True)
    return next(iter(target.glob("xner_label-*.whl" if kind == "wheel" else "xner_label-*.tar.gz")))


def _run(executable: Path, folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [executable, *arguments], cwd=folder, env=_environment(), capture_output=True, text=True, timeout=LIMIT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
