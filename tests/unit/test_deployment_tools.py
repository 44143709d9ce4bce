"""What the tools that read deploy/ say of it; each skips where its tool is absent."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.processes import LIMIT

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def compose_command() -> tuple[list[str], bool]:
    """How compose is called here, and whether it is the second version, which knows all of the present format."""
    for command, is_second in ((["docker", "compose"], True), (["docker-compose"], False)):
        if shutil.which(command[0]):
            done = subprocess.run([*command, "version", "--short"], capture_output=True, text=True, timeout=LIMIT)
            if done.returncode == 0:
                return command, is_second or not done.stdout.startswith("1.")
    pytest.skip("no docker compose")


def test_compose_reads_its_file(tmp_path: Path) -> None:
    command, is_second = compose_command()
    folder = tmp_path / "compose"
    shutil.copytree(DEPLOY / "compose", folder)
    subprocess.run(["bash", str(folder / "secrets.sh")], check=True, timeout=LIMIT)
    file = folder / "compose.yaml"
    if not is_second:
        file.write_text(re.sub(r"^name: .*\n", "", file.read_text("utf-8"), flags=re.M), "utf-8")
    done = subprocess.run(
        [*command, "--file", str(file), "--project-name", "tried", "config"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stderr
    assert "variable is not set" not in done.stderr
    read = yaml.safe_load(done.stdout)
    written = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text("utf-8"))
    assert set(read["services"]) == set(written["services"])
    password = (folder / "secrets/label_studio_database_password").read_text()
    assert read["services"]["label-studio"]["environment"]["POSTGRE_PASSWORD"] == password


def pod_templates(document: Any) -> list[dict[str, Any]]:
    """Every pod that a manifest makes, wherever it stands."""
    if isinstance(document, list):
        return [template for item in document for template in pod_templates(item)]
    if not isinstance(document, dict):
        return []
    inside = [template for value in document.values() for template in pod_templates(value)]
    return [document, *inside] if "containers" in document.get("spec", {}) else inside


@pytest.mark.parametrize("manifest", sorted((DEPLOY / "kubernetes").iterdir()), ids=lambda path: path.name)
def test_kubernetes_knows_every_field_of_the_pods(manifest: Path) -> None:
    """The schema of a RayJob is KubeRay's own; what it starts are pods as Kubernetes describes them."""
    validation = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate isn't installed")
    pods = [
        template
        for document in yaml.safe_load_all(manifest.read_text("utf-8"))
        for template in pod_templates(copy.deepcopy(document))
    ]
    assert pods
    for pod in pods:
        named = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tried"}, **pod}
        validation.validate(named, validation.latest_version(), strict=True)
    pods[0]["spec"]["containers"][0]["imagee"] = "x"
    with pytest.raises(validation.ValidationError):
        validation.validate({**named, **pods[0]}, validation.latest_version(), strict=True)


# What KubeRay's types of ray.io/v1 name (rayjob_types.go, raycluster_types.go), each with the type of its value;
# no schema is published apart from the operator. Pods have a schema of their own.
RAY_JOB: dict[str, dict[str, type]] = {
    "spec": {
        **dict.fromkeys(("entrypoint", "jobId", "submissionMode", "runtimeEnvYAML", "schedule"), str),
        **dict.fromkeys(("backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"), int),
        **dict.fromkeys(("shutdownAfterJobFinishes", "suspend"), bool),
        **dict.fromkeys(("submitterPodTemplate", "submitterConfig", "rayClusterSpec", "clusterSelector"), dict),
    },
    "rayClusterSpec": {
        **{"headGroupSpec": dict, "workerGroupSpecs": list, "rayVersion": str},
        **{"enableInTreeAutoscaling": bool, "autoscalerOptions": dict},
    },
    "headGroupSpec": {"serviceType": str, "rayStartParams": dict, "template": dict},
    "workerGroupSpec": {
        **dict.fromkeys(("replicas", "minReplicas", "maxReplicas", "numOfHosts"), int),
        **{"groupName": str, "rayStartParams": dict, "template": dict},
    },
}
RAY_JOB_NEEDS = {
    "spec": {"entrypoint", "rayClusterSpec"},
    "rayClusterSpec": {"headGroupSpec"},
    "headGroupSpec": {"rayStartParams", "template"},
    "workerGroupSpec": {"groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"},
}


def test_kuberay_knows_every_other_field_of_the_job() -> None:
    job = yaml.safe_load((DEPLOY / "kubernetes/predict-rayjob.yaml").read_text("utf-8"))
    cluster = job["spec"]["rayClusterSpec"]
    parts = [("spec", job["spec"]), ("rayClusterSpec", cluster), ("headGroupSpec", cluster["headGroupSpec"])]
    parts += [("workerGroupSpec", group) for group in cluster["workerGroupSpecs"]]
    for kind, part in parts:
        assert part.keys() <= RAY_JOB[kind].keys()
        assert part.keys() >= RAY_JOB_NEEDS[kind]
        assert {name: type(value) for name, value in part.items()} == {name: RAY_JOB[kind][name] for name in part}
        parameters = part.get("rayStartParams", {})
        assert all(isinstance(value, str) for value in parameters.values())


def test_pip_installs_what_the_image_holds(tmp_path: Path) -> None:
    """The steps of the Dockerfile up to the program: what it copies is enough to build and to start it."""
    dockerfile = (DEPLOY / "Dockerfile").read_text("utf-8")
    source = tmp_path / "source"
    source.mkdir()
    for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.M):
        *names, target = line.split()
        for name in names:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, source / target, ignore=ignored)
            else:
                shutil.copy(ROOT / name, source / name)
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--target", str(tmp_path / "installed")]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "."],
        cwd=source,
        env=os.environ | {"PIP_CONSTRAINT": "constraints.txt", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    if "No module named pip" in done.stderr:
        pytest.skip("no pip")
    assert done.returncode == 0, done.stderr
    command = re.search(r"^CMD (\[.*\])$", dockerfile, re.M)
    assert command is not None
    program = "from xner_label.cli.main import main; main()"
    for arguments in ([*json.loads(command[1]), "--help"], ["db", "upgrade"]):
        started = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(tmp_path / "installed"), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
        assert started.returncode == 0, started.stderr
    assert (tmp_path / "xner-label.db").is_file()
