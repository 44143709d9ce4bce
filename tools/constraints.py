"""Resolve what the project depends on and write the pins: ``python tools/constraints.py [--upgrade]``.

``constraints.txt`` holds every extra and the build tools, ``constraints-studio.txt`` the environment of the Label
Studio server that the demo and the tests start. Pins are plain ``name==version`` lines. A local version such as
``+cpu``, an index or a hash would tie the file to the machine that resolved it, so none is written.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TORCH = "torch==2.13.0"
STUDIO = "label-studio==1.23.2"
# The build environments of the package itself and of eflomal, the only dependency that comes as source.
BUILD = ("editables", "setuptools", "wheel", "cython")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="ignore the present pins and take the newest")
    upgrade: bool = parser.parse_args().upgrade
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = document["project"]
    extras = [name for group in project["optional-dependencies"].values() for name in group]
    ours = [*project["dependencies"], *extras, *document["build-system"]["requires"], *BUILD, TORCH]
    for name, requirements in (("constraints.txt", ours), ("constraints-studio.txt", [STUDIO])):
        path = ROOT / name
        present = [] if upgrade or not path.exists() else ["--constraint", str(path)]
        pins = resolve(requirements, present)
        header = "# Written by `make constraints`; every line is one pin for `pip install --constraint`.\n"
        path.write_text(header + "".join(f"{pin}\n" for pin in pins), encoding="utf-8")
        print(f"{name}: {len(pins)} pins")


def resolve(requirements: list[str], options: list[str]) -> list[str]:
    """The pins of everything that installing ``requirements`` into an empty environment would bring."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        command += ["--report", str(report), *options, *requirements]
        subprocess.run(command, check=True)
        installed = json.loads(report.read_text(encoding="utf-8"))["install"]
    pins = {item["metadata"]["name"].lower(): item["metadata"]["version"].partition("+")[0] for item in installed}
    return [f"{name}=={version}" for name, version in sorted(pins.items())]


if __name__ == "__main__":
    main()
