"""``xner-label models`` against a hub that is unreachable, silent, or small and local."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.checkpoints import save_bert
from tests.processes import LIMIT

pytestmark = pytest.mark.models
ROOT = Path(__file__).parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def run(*arguments: str, cache: Path, endpoint: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGINGFACE_"))
    }
    environment |= {"PYTHONPATH": str(ROOT), "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1"} | variables
    if endpoint:
        environment["HF_ENDPOINT"] = endpoint
    return subprocess.run(
        [sys.executable, "-m", "xner_label", "models", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=LIMIT,
    )


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[str]:
    """A server that speaks as much of the hub's protocol as fetching one checkpoint takes."""
    folder = save_bert(tmp_path / "checkpoint")
    (folder / "tf_model.h5").write_bytes(b"another format")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    info = {
        "id": "org/tiny",
        "sha": COMMIT,
        "siblings": [{"rfilename": name, "size": len(content)} for name, content in files.items()],
        "cardData": {"license": "apache-2.0"},
    }
    tree = [
        {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
        for name, content in files.items()
    ]

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            name = path.rpartition("/")[2]
            if path.startswith("/api/models/org/tiny/tree/"):
                self.answer(json.dumps(tree).encode())
            elif path.startswith("/api/models/org/tiny"):
                self.answer(json.dumps(info).encode())
            elif path == f"/org/tiny/resolve/{COMMIT}/{name}" and name in files:
                self.answer(files[name])
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()

        def answer(self, content: bytes) -> None:
            self.send_response(200)
            self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_pull_says_size_and_licence_and_fetches_what_is_needed(hub: str, tmp_path: Path) -> None:
    done = run("pull", "org/tiny", cache=tmp_path / "cache", endpoint=hub)
    assert done.returncode == 0, done.stderr
    assert "org/tiny: 0.0 GB, licence apache-2.0" in done.stderr
    folder = Path(done.stdout.strip())
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in folder.iterdir()}
    assert not (folder / "tf_model.h5").exists()
    done = run("pull", "org/other", cache=tmp_path / "cache", endpoint=hub)
    assert done.returncode == 3
    assert "the hub has no model org/other" in done.stderr


def test_a_hub_that_does_not_answer_is_given_up_in_seconds(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        done = run("pull", "org/tiny", cache=tmp_path, endpoint=endpoint)
    assert done.returncode == 3
    assert "can't be fetched" in done.stderr
    assert "HF_ENDPOINT" in done.stderr


def test_an_unreachable_hub_offline_mode_and_bad_names(tmp_path: Path) -> None:
    done = run("pull", "org/tiny", cache=tmp_path, endpoint="http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (3, "")
    done = run("pull", "--preset", "fast", cache=tmp_path, HF_HUB_OFFLINE="1")
    assert done.returncode == 3
    assert "offline mode" in done.stderr
    assert run("pull", "a b/c/d", cache=tmp_path).returncode == 3
    assert run("pull", "--preset", "offline", cache=tmp_path).returncode == 2


def test_list_names_sizes_licences_and_presets(tmp_path: Path) -> None:
    done = run("list", "--json", cache=tmp_path)
    assert done.returncode == 0
    entries = {entry["name"]: entry for entry in json.loads(done.stdout)}
    assert entries["facebook/nllb-200-3.3B"]["licence"] == "CC-BY-NC-4.0"
    assert entries["google/madlad400-3b-mt"]["licence"] == "Apache-2.0"
    assert entries["facebook/nllb-200-distilled-600M"]["presets"] == ["fast"]
    shipped = {entry["name"] for entry in entries.values() if entry["folder"] is not None}
    assert shipped == {"default", "permissive"}  # weights of the projector come with the package
    assert "not here" in run("list", cache=tmp_path).stdout
