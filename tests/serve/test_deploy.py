"""The files in deploy/ are well formed, and start the server with options that it has."""

import configparser
import importlib
import json
import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml

from mamtra.cli.app import build
from mamtra.serve import replicas
from mamtra.serve.keys import KEY_VARIABLE, make_key
from mamtra.serve.settings import ServeSettings

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
pytestmark = pytest.mark.skipif(not DEPLOY.is_dir(), reason="deployment files are not part of this copy")


def check_options(words):
    command = typer.main.get_command(build()).commands["serve"]
    command.make_context("serve", list(words))


def test_the_dockerfile():
    text = re.sub(r"\\\n", " ", (DEPLOY / "Dockerfile").read_text())
    steps = [line.split(None, 1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    kinds = [kind for kind, _ in steps]
    assert kinds[0] == "FROM" and kinds[-1] == "ENTRYPOINT" and "HEALTHCHECK" in kinds
    assert dict(steps)["USER"] == "mamtra"
    entry = json.loads(dict(steps)["ENTRYPOINT"])
    assert entry[:2] == ["mamtra", "serve"]
    check_options(entry[2:])
    for kind, rest in steps:
        if kind == "COPY":
            assert all((ROOT / name).exists() for name in rest.split()[:-1])
    pyproject = (ROOT / "pyproject.toml").read_text()
    for extra in re.search(r"EXTRAS=(\S+)", text)[1].split(","):
        assert re.search(rf"^{extra} = \[", pyproject, re.M)


def test_the_compose_file():
    service = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["mamtra"]
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_the_manifest():
    deployment, service = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    spec = deployment["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    check_options(container["args"])
    assert deployment["spec"]["selector"]["matchLabels"] == deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]
    ports = {each["name"] for each in container["ports"]}
    probes = [container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")]
    assert {probe["port"] for probe in probes} | {each["targetPort"] for each in service["spec"]["ports"]} == ports
    assert {probe["path"] for probe in probes} == {"/health/ready", "/health/live"}
    drain = float(container["args"][container["args"].index("--drain") + 1])
    assert drain < spec["terminationGracePeriodSeconds"]


def test_the_unit():
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str
    unit.read_string((DEPLOY / "mamtra.service").read_text())
    words = shlex.split(unit["Service"]["ExecStart"])
    assert words[0].endswith("/mamtra") and words[1] == "serve" and unit["Install"]["WantedBy"]
    check_options(words[2:])


def test_the_manifest_for_ray(monkeypatch):
    manifest = yaml.safe_load((DEPLOY / "kuberay.yaml").read_text())
    (application,) = yaml.safe_load(manifest["spec"]["serveConfigV2"])["applications"]
    module, name = application["import_path"].split(":")
    assert getattr(importlib.import_module(module), name) is replicas.application
    given = {"keys": (make_key("0123456789abcdef"),), "host": "0.0.0.0", **application["args"]}
    settings = ServeSettings(**given)
    settings.check_reach()
    (deployment,) = application["deployments"]
    assert deployment["name"] == replicas.NAME
    assert deployment["max_ongoing_requests"] == settings.streams + settings.waiting
    assert deployment["autoscaling_config"]["target_ongoing_requests"] == settings.streams
    assert deployment["graceful_shutdown_timeout_s"] == settings.drain_seconds
    cluster = manifest["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        assert [each["name"] for each in container["env"]] == [KEY_VARIABLE]
