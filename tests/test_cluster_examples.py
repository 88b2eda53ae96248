"""Tests of `examples/clusters`: the script for Slurm, and the manifest for Kubernetes, which is checked with the schema of Dask's operator."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest

import engine as keras

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest requires it

ROOT = Path(__file__).parents[1]
CLUSTERS = ROOT / "examples" / "clusters"
SLURM = CLUSTERS / "slurm.py"
SECONDS = 60


def run(*arguments: str, folder: Path) -> str:
    command = [sys.executable, str(SLURM), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_script_for_slurm_trains_on_this_machine(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    pytest.importorskip("sklearn")
    pytest.importorskip("h5py")
    printed = run("--local", "--epochs", "2", folder=tmp_path)
    assert len(re.findall(r"^0\.\d{4} with \d+ units and a learning rate of 0\.\d{4}$", printed, re.M)) == 8
    assert "saved ensemble.keras" in printed
    ensemble = keras.saving.load_model(tmp_path / "ensemble.keras")
    assert ensemble.predict(np.zeros((2, 64)), verbose=0).shape == (2, 10)


def test_the_job_of_slurm(tmp_path: Path) -> None:
    pytest.importorskip("dask_jobqueue")
    pytest.importorskip("sklearn")
    script = run("--job-script", "--partition", "short", "--cores", "16", "--memory", "3GB", folder=tmp_path)
    assert script.startswith("#!")
    for line in ("#SBATCH -p short", "#SBATCH --cpus-per-task=16", "#SBATCH --mem=3G", "#SBATCH -t 00:30:00"):
        assert line in script
    assert re.search(r"distributed\.cli\.dask_worker tcp://\S+ .*--nthreads 16", script)


def manifest() -> Any:
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load((CLUSTERS / "kubernetes.yaml").read_text(encoding="utf-8"))


def complaints(content: Any) -> list[str]:
    """Returns what the schema of Dask's operator finds wrong with a manifest."""
    pytest.importorskip("dask_kubernetes")
    jsonschema = pytest.importorskip("jsonschema")
    yaml = pytest.importorskip("yaml")
    file = (
        resources.files("dask_kubernetes.operator.deployment")
        / "helm/dask-kubernetes-operator/crds/daskcluster.yaml"
    )
    definition = yaml.safe_load(file.read_text(encoding="utf-8"))
    version = next(
        each for each in definition["spec"]["versions"] if each["name"] == content["apiVersion"].split("/")[1]
    )
    assert definition["spec"]["group"] == content["apiVersion"].split("/")[0]
    assert definition["spec"]["names"]["kind"] == content["kind"]
    validator = jsonschema.Draft202012Validator(closed(version["schema"]["openAPIV3Schema"]))
    return [error.message for error in validator.iter_errors(content)]


def closed(schema: Any, top: bool = True) -> Any:
    """Returns a schema in which objects have no other names than those it lists, so that misspelt ones are found."""
    if isinstance(schema, list):
        return [closed(each, False) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {
        name: {key: closed(value, False) for key, value in part.items()}
        if name == "properties"
        else closed(part, False)
        for name, part in schema.items()
    }
    is_open = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if "properties" in schema and not is_open and not top:
        found["additionalProperties"] = False
    if "x-kubernetes-int-or-string" in schema:
        found.pop("type", None)
    return found


def test_the_manifest_has_the_schema_of_the_operator() -> None:
    assert complaints(manifest()) == []


@pytest.mark.parametrize("path", ["worker.spec.containers.0.arg", "scheduler.services", "worker.replica"])
def test_the_schema_finds_misspelt_names(path: str) -> None:
    content = manifest()
    *parents, name = path.split(".")
    place: Any = content["spec"]
    for parent in parents:
        place = place[int(parent) if parent.isdigit() else parent]
    place[name] = place.pop(name + "s", None) or place.pop(name[:-1], 1)
    assert complaints(content)


def test_the_containers_of_the_manifest_run(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    spec = manifest()["spec"]
    commands = {part: spec[part]["spec"]["containers"][0]["args"] for part in ("scheduler", "worker")}
    health = spec["scheduler"]["spec"]["containers"][0]["readinessProbe"]["httpGet"]["path"]
    file = tmp_path / "scheduler.json"

    def begun(part: str, *more: str) -> subprocess.Popen[bytes]:
        arguments = [text.replace("$(DASK_WORKER_NAME)", "one") for text in commands[part]]
        return subprocess.Popen(
            [sys.executable, "-m", *arguments, "--scheduler-file", str(file), *more],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"DASK_DISTRIBUTED__WORKER__DAEMON": "False"},
        )

    scheduler = begun("scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0")
    worker = begun("worker", "--no-dashboard", "--local-directory", str(tmp_path))
    try:
        with distributed.Client(scheduler_file=str(file), set_as_default=False, timeout=SECONDS) as client:
            client.wait_for_workers(1, timeout=SECONDS)
            assert list(client.nthreads().values()) == [4]
            services = client.scheduler_info()["services"]
            with urlopen(f"http://127.0.0.1:{services['dashboard']}{health}") as answer:
                assert answer.status == 200
    finally:
        worker.terminate()
        scheduler.terminate()
        worker.wait()
        scheduler.wait()


def test_the_image_installs_extras_that_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    text = (CLUSTERS / "Dockerfile").read_text(encoding="utf-8")
    named = re.findall(r"\[([a-z,]+)\]", text)
    assert len(named) == 2
    assert {name for names in named for name in names.split(",")} <= extras.keys()
