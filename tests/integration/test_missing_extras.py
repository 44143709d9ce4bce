"""Where an optional part isn't installed, the command says which extra brings it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import LIMIT

ROOT = Path(__file__).resolve().parents[2]
# Makes importing the module fail as if it weren't installed.
CODE = """
import sys
sys.modules[sys.argv[1]] = None
sys.argv[1:] = sys.argv[2:]
from xner_label.cli.main import main
main()
"""
TASK = '{"id": 1, "text": "Amina Nairobi", "source": "Amina Nairobi", "source_entities": []}'


@pytest.mark.parametrize(
    ("module", "arguments", "extra"),
    [
        ("label_studio_sdk", "connect --database-url sqlite:///{folder}/store.db", "studio"),
        ("fastapi", "serve --database-url sqlite:///{folder}/store.db", "backend"),
        ("matplotlib", "report --database-url sqlite:///{folder}/store.db", "report"),
        ("psycopg", "db upgrade --database-url postgresql://nobody@127.0.0.1:1/none", "postgres"),
        ("eflomal", "align --aligner eflomal -", "eflomal"),
        ("transformers", "align --aligner simalign --model nobody/has-downloaded-this -", "models"),
    ],
)
def test_the_extra_is_named(module: str, arguments: str, extra: str, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "backend")))}
    environment["LABEL_STUDIO_API_KEY"] = "0" * 40

    def run(blocked: str, line: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", CODE, blocked, *line.format(folder=tmp_path).split()]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, input=TASK, capture_output=True, text=True, timeout=LIMIT
        )

    if "sqlite" in arguments:
        assert run("nothing", "db upgrade --database-url sqlite:///{folder}/store.db").returncode == 0
    done = run(module, arguments)
    assert done.returncode == 3, done.stderr
    assert f"pip install 'xner-label[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr
