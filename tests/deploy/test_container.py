"""The image and how it is run: nobody in particular, nothing to write to, nothing to gain."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from driftbus.schemas.config import Config
from harness.cache import REPOSITORY
from harness.missing import MissingService, skipped_when_missing

OURS = ("worker", "own-topics")


def services() -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load(REPOSITORY / "docker-compose.yml")["services"]
    return found


def documents() -> list[dict[str, Any]]:
    return list(YAML(typ="safe").load_all(REPOSITORY / "deploy" / "kubernetes" / "driftbus.yaml"))


def test_no_service_of_compose_can_gain_rights() -> None:
    for name, service in services().items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not {"privileged", "cap_add", "pid", "network_mode", "devices"} & service.keys(), name
    for name in OURS:
        assert services()[name]["read_only"] is True
        assert services()[name]["tmpfs"] == ["/tmp"]


def test_kubernetes_runs_it_as_the_image_means_it() -> None:
    (pod,) = [d["spec"]["template"]["spec"] for d in documents() if d["kind"] == "Deployment"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    users = re.findall(r"^USER (\d+):(\d+)$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
    assert users == [(str(pod["securityContext"]["runAsUser"]), str(pod["securityContext"]["runAsGroup"]))]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    assert container["resources"]["limits"]["memory"]


def test_the_configuration_of_kubernetes_is_one() -> None:
    (text,) = [d["data"]["driftbus.yaml"] for d in documents() if d["kind"] == "ConfigMap"]
    config = Config.model_validate(YAML(typ="safe").load(text))
    (container,) = [d["spec"]["template"]["spec"]["containers"][0] for d in documents() if d["kind"] == "Deployment"]
    paths = [mount["mountPath"] for mount in container["volumeMounts"]]
    for path in (config.kafka.ca, config.kafka.password_file, config.run.store):
        assert path is not None
        assert any(path == mount or path.startswith(f"{mount}/") for mount in paths)
    assert config.run.metrics_port == container["ports"][0]["containerPort"]


def test_the_dockerfile_has_no_known_weakness() -> None:
    program = Path(sys.executable).with_name("hadolint")
    with skipped_when_missing():
        if not program.exists():
            raise MissingService("hadolint: its wheel is for x86-64 Linux")
    done = subprocess.run([program, REPOSITORY / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
