"""deploy/: the compose file, the image and the units say what the program understands, and run as nobody much."""

from __future__ import annotations

import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.processes import LIMIT
from xner_label.cli.main import COMMANDS
from xner_label.settings.table import table

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
VARIABLES = {name for entry in table() for name in entry.metadata["env"]}
SECRETS = {name for entry in table() if entry.metadata["secret"] for name in entry.metadata["env"]}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text("utf-8"))
    return document


@pytest.fixture(scope="module")
def dockerfile() -> str:
    return (DEPLOY / "Dockerfile").read_text("utf-8")


def ours(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: service for name, service in compose["services"].items() if service["image"] == "xner-label"}


def test_everything_a_service_refers_to_is_there(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for service in services.values():
        assert set(service.get("secrets", ())) <= set(compose["secrets"])
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert (
                (DEPLOY / "compose" / source).is_file() if source.startswith(".") else source in compose["volumes"]
            )
        for other, condition in service.get("depends_on", {}).items():
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in services[other]
            else:
                assert services[other]["restart"] == "no", "one that starts again never completes"
    build = ours(compose)["backend"]["build"]
    assert (DEPLOY / "compose" / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()


def test_services_of_ours_are_told_in_words_that_the_program_knows(compose: dict[str, Any]) -> None:
    for service in ours(compose).values():
        for name, value in service["environment"].items():
            assert name in VARIABLES or (name.endswith("_FILE") and name.removesuffix("_FILE") in VARIABLES)
            assert name not in SECRETS, "secrets come from files"
            if value.startswith("/run/secrets/"):
                assert value.removeprefix("/run/secrets/") in service["secrets"]
        assert service["user"] == "10001:10001"
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "ports" not in service
        if "command" in service:
            assert service["command"][0] in COMMANDS


def test_only_loopback_reaches_what_is_published(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_image_is_built_in_two_stages_and_runs_as_somebody_else(dockerfile: str) -> None:
    stages = re.split(r"^FROM ", dockerfile, flags=re.M)[1:]
    assert len(stages) == 2
    assert "apt-get" not in stages[-1]
    assert re.search(r"^USER 10001:10001$", stages[-1], re.M)


def test_the_image_gets_all_that_it_copies(dockerfile: str) -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    copied = [
        source for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.M) for source in line.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists()
        assert f"!{source}" in ignored
    extras = re.search(r"^ARG EXTRAS=(.+)$", dockerfile, re.M)
    assert extras is not None
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert all(re.search(rf"^{extra} = \[", project, re.M) for extra in extras[1].split(","))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_start_what_there_is_and_are_confined(unit: Path) -> None:
    parsed = ConfigParser(interpolation=None, strict=False)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read(unit, "utf-8")
    if unit.suffix == ".timer":
        assert (unit.with_suffix(".service")).is_file()
        return
    service = parsed["Service"]
    program, *arguments = service["ExecStart"].split()
    if program.endswith("/xner-label"):
        assert arguments[0] in COMMANDS
    else:
        assert (DEPLOY / Path(program).name).is_file()
    assert service["User"] == "xner-label"
    assert service["ProtectSystem"] == "strict"
    assert service["NoNewPrivileges"] == "yes"
    assert service["ReadWritePaths"] == "/var/lib/xner-label/%i"


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze")
    for unit in UNITS:  # as instances, whose programs exist
        text = re.sub(r"/usr/local/bin/\S+", "/bin/true", unit.read_text("utf-8"))
        (tmp_path / unit.name.replace("@.", "@swahili.")).write_text(text)
    names = [str(path) for path in sorted(tmp_path.iterdir())]
    done = subprocess.run([analyze, "verify", "--man=no", *names], capture_output=True, text=True, timeout=LIMIT)
    complaints = [line for line in done.stderr.splitlines() if "xner-label" in line]
    assert complaints == []
