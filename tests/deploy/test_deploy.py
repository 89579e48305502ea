"""What is deployed beside the code: it parses, it agrees with itself, and alerts fire when they should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import compose_spec
import pytest
from prometheus_client import CollectorRegistry
from ruamel.yaml import YAML

from driftbus.schemas.config import Config
from driftbus.stream.worker.health import Health
from driftbus.stream.worker.metrics import Metrics
from harness.cache import REPOSITORY
from harness.missing import MissingService, skipped_when_missing
from harness.prometheus import check

DEPLOY = REPOSITORY / "deploy"
COMPOSE = REPOSITORY / "docker-compose.yml"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "driftbus.json"


def load(path: Path) -> Any:
    return YAML(typ="safe").load(path)


def expressions() -> list[str]:
    dashboard = json.loads(DASHBOARD.read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    return found + [annotation["expr"] for annotation in dashboard["annotations"]["list"]]


def test_compose_file_is_valid_by_the_specification() -> None:
    compose = compose_spec.PyCompose.from_yaml(COMPOSE.read_text())
    assert "worker" in compose.service_names()


def test_compose_file_is_valid_for_docker_compose() -> None:
    with skipped_when_missing():
        if shutil.which("docker-compose") is None:
            raise MissingService("docker-compose: install it (Debian: apt-get install docker-compose)")
    done = subprocess.run(["docker-compose", "-f", COMPOSE, "config", "-q"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_compose_has_every_service_and_mounts_only_what_exists() -> None:
    services = load(COMPOSE)["services"]
    assert {"kafka", "registry", "worker", "prometheus", "alertmanager", "grafana"} <= services.keys()
    mounted = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])]
    assert [path for path in mounted if path.startswith("./") and not (REPOSITORY / path).exists()] == []


def test_compose_opens_ports_to_this_machine_only() -> None:
    ports = [port for service in load(COMPOSE)["services"].values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_worker_configuration_is_valid_and_names_the_services() -> None:
    config = Config.model_validate(load(DEPLOY / "driftbus.yaml"))
    services = load(COMPOSE)["services"]
    assert config.kafka.bootstrap.split(":")[0] in services
    assert str(config.registry.url).split("/")[2].split(":")[0] in services
    assert config.run.metrics_host == "0.0.0.0"
    topics = {stream.topic for monitor in config.monitors.values() for stream in monitor.streams.values()}
    assert {f"--topic={topic}" for topic in topics} <= set(services["source-topic"]["command"])


def test_image_runs_without_root_and_copies_what_the_build_may_see() -> None:
    lines = (REPOSITORY / "Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("USER ")] == ["USER 10001:10001"]
    visible = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {name for line in lines if re.match(r"COPY (?!--from)", line) for name in line.split()[1:-1]}
    assert copied == visible


@pytest.mark.prometheus
def test_alert_rules_and_their_cases() -> None:
    with skipped_when_missing():
        check("promtool", "check", "rules", DEPLOY / "prometheus" / "rules.yml")
        check("promtool", "test", "rules", DEPLOY / "prometheus" / "rules_test.yml")
        check("promtool", "check", "config", DEPLOY / "prometheus" / "prometheus.yml")
        check("amtool", "check-config", DEPLOY / "alertmanager" / "alertmanager.yml")


def test_every_alert_says_who_should_care_and_what_happened() -> None:
    rules = [rule for group in load(DEPLOY / "prometheus" / "rules.yml")["groups"] for rule in group["rules"]]
    assert {rule["labels"]["severity"] for rule in rules} == {"info", "warning", "page"}
    assert {rule["labels"]["team"] for rule in rules} == {"models", "platform"}
    assert all(rule["annotations"]["summary"] for rule in rules)
    for rule in rules:
        page, _, heading = rule["annotations"]["runbook"].partition("#")
        text = (REPOSITORY / page).read_text()
        assert not heading or f"## {heading.replace('-', ' ').capitalize()}" in text, rule["alert"]


@pytest.mark.prometheus
def test_every_dashboard_expression_is_promql(tmp_path: Path) -> None:
    concrete = [
        text.replace("$__rate_interval", "1m").replace("$monitor", ".*").replace("\\", "\\\\") for text in expressions()
    ]
    rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(concrete)]
    path = tmp_path / "dashboard.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    with skipped_when_missing():
        check("promtool", "check", "rules", path)


def test_alerts_and_dashboard_ask_only_for_metrics_that_exist() -> None:
    registry = CollectorRegistry()
    Metrics(registry)
    Health().app(registry)
    exist = {sample for family in registry.collect() for sample in _sample_names(family.name, family.type)}
    rules = [rule["expr"] for group in load(DEPLOY / "prometheus" / "rules.yml")["groups"] for rule in group["rules"]]
    asked = {name for text in rules + expressions() for name in re.findall(r"driftbus_\w+", text)}
    assert asked - exist == set()


def _sample_names(name: str, kind: str) -> list[str]:
    suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    return [name + suffix for suffix in suffixes.get(kind, [""])]


def test_dashboard_is_provisioned_where_compose_mounts_it() -> None:
    provider = load(DEPLOY / "grafana" / "provisioning" / "dashboards" / "driftbus.yml")["providers"][0]
    mounts = dict(volume.split(":")[:2] for volume in load(COMPOSE)["services"]["grafana"]["volumes"])
    assert mounts["./deploy/grafana/dashboards"] == provider["options"]["path"]
    source = load(DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml")["datasources"][0]
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert {panel["datasource"]["uid"] for panel in panels if "datasource" in panel} == {source["uid"]}
    assert len({panel["id"] for panel in panels}) == len(panels)
