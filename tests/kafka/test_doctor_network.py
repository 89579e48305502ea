"""`driftbus doctor` on the way to the brokers: names, ports, TLS, logins, rights."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from driftbus.schemas.errors import ConfigError
from driftbus.stream.cli._options import configured
from driftbus.stream.doctor.granted import require_rights
from driftbus.stream.doctor.rights import doctor_rights
from driftbus.stream.worker.topics import admin_client
from harness.broker import Broker
from harness.missing import running
from harness.process import free_ports, wait_for
from harness.secure import PASSWORD, SecureBroker

from .doctored import Doctored, execute
from .scenario import Scenario, rows

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def broker() -> Iterator[SecureBroker]:
    with running(SecureBroker) as broker:
        yield broker


@pytest.fixture(scope="module")
def scenario(broker: SecureBroker) -> Scenario:
    made = Scenario(broker, overrides={"kafka": broker.section})
    broker.configure(made.source, {"retention.ms": "-1"})
    made.produce(rows(100, seed=8, drift_at=100))
    return made


@pytest.fixture
def doctor(scenario: Scenario, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Doctored:
    monkeypatch.setenv("DRIFTBUS_KAFKA_PASSWORD", PASSWORD)
    return Doctored(scenario.home / "driftbus.yaml", scenario._document(), capsys)


def test_rights_are_told_with_the_commands_that_give_them(
    doctor: Doctored, scenario: Scenario, broker: SecureBroker
) -> None:
    needed = doctor_rights(scenario.config)
    broker.allow(right.what for right in needed)
    wait_for(lambda: doctor() == 0, 30, "everything to be green")
    assert f"{len(needed)} that could be looked at" in doctor.found["rights"]["found"]
    for id_, right in {
        f"rights.group.{scenario.config.app}": ("group", scenario.config.app, "READ"),
        f"rights.topic.{scenario.config.topics.deadletter}": ("topic", scenario.config.topics.deadletter, "WRITE"),
        f"rights.topic.{scenario.source}": ("topic", scenario.source, "READ"),
    }.items():
        broker.take(right)
        wait_for(lambda: doctor() == 1, 30, f"{right} to be missed")
        fixes = doctor.wrong()
        assert id_ in fixes, doctor.said
        with pytest.raises(ConfigError, match=f"{right[2]} {right[0]} {right[1]}"):  # a worker does not start either
            require_rights(admin_client(configured(doctor.path).kafka), scenario.config)
        execute(fixes[id_], broker, scenario.home, admin=broker.bootstrap)
        wait_for(lambda: doctor() == 0, 30, f"{right} to be there again")
    assert PASSWORD not in doctor.said


def test_a_right_that_only_shows_more_is_advice(doctor: Doctored, scenario: Scenario, broker: SecureBroker) -> None:
    broker.allow(right.what for right in doctor_rights(scenario.config))
    wait_for(lambda: doctor() == 0, 30, "everything to be green")
    broker.take(("topic", scenario.source, "DESCRIBE_CONFIGS"))
    id_ = f"rights.topic.{scenario.source}"
    wait_for(lambda: doctor() == 0 and id_ in doctor.found, 30, "it to be missed")
    assert doctor.found[id_]["status"] == "advice"
    assert f"topic.{scenario.source}.settings" in doctor.unchecked()
    require_rights(admin_client(configured(doctor.path).kafka), scenario.config)


def refused(doctor: Doctored, kafka: dict[str, Any], id_: str, fix: str, code: int) -> None:
    """Examine with another way to the brokers; the check that is red, and what waits for it."""
    assert doctor({"kafka": kafka}) == code, doctor.said
    assert set(doctor.wrong()) == {id_}, doctor.said
    assert fix in doctor.wrong()[id_]
    assert {"topics", "records"} <= doctor.unchecked()
    assert all("not checked, because" in doctor.found[name]["found"] for name in doctor.unchecked())
    assert PASSWORD not in doctor.said


def test_a_name_that_nobody_knows(doctor: Doctored) -> None:
    refused(doctor, {"bootstrap": "kafka.invalid:9092"}, "dns.kafka.invalid", "Correct the host in kafka.bootstrap", 3)


def test_a_port_where_nobody_listens(doctor: Doctored) -> None:
    (port,) = free_ports(1)
    refused(doctor, {"bootstrap": f"127.0.0.1:{port}"}, f"tcp.127.0.0.1:{port}", "Correct the port", 3)


def test_tls_that_one_side_does_not_speak(doctor: Doctored, broker: SecureBroker) -> None:
    plain, secure = broker.bootstrap, broker.section["bootstrap"]
    refused(doctor, {"bootstrap": plain}, f"tls.{plain}", "Check the port, and whether this listener speaks TLS", 3)
    unsafe = {"bootstrap": secure, "security_protocol": "SASL_PLAINTEXT"}
    refused(doctor, unsafe, f"kafka.{secure}", "write security_protocol: SASL_SSL or SSL", 3)


@pytest.mark.parametrize(
    ("listener", "fix"), [("EXPIRED", "Renew it there"), ("ELSEWHERE", "Use a name that stands in the certificate")]
)
def test_certificates_that_are_no_good(doctor: Doctored, broker: SecureBroker, listener: str, fix: str) -> None:
    kafka = broker.at(listener, sasl_mechanism=None, username=None)
    refused(doctor, kafka, f"tls.{kafka['bootstrap']}", fix, 3)


def test_a_certificate_of_a_stranger(doctor: Doctored, broker: SecureBroker) -> None:
    from harness.pki import Authority

    other = str(Authority().certificate)
    refused(doctor, {"ca": other}, f"tls.{broker.section['bootstrap']}", "as kafka.ca", 3)


def test_a_wrong_password(doctor: Doctored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTBUS_KAFKA_PASSWORD", "a-wrong-one")
    refused(doctor, {}, "kafka.login", "Check the name and the password", 1)
    assert "a-wrong-one" not in doctor.said


def test_a_port_where_somebody_listens_and_says_nothing(doctor: Doctored) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        begun = time.monotonic()
        assert doctor({"kafka": {"bootstrap": address}}, timeout_s=20) == 3
        assert set(doctor.wrong()) == {f"tls.{address}"}
        assert time.monotonic() - begun < 120


def test_addresses_that_brokers_advertise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The address of the configuration works, those that the brokers give do not: the classic of containers."""
    (port,) = free_ports(1)
    with running(lambda: Broker({"advertised.listeners": f"PLAINTEXT://kafka.invalid:{port}"})) as broker:
        document = {
            "kafka": {"bootstrap": broker.bootstrap},
            "monitors": {"m": {"predictions": {"topic": "scored"}}},
        }
        doctor = Doctored(tmp_path / "driftbus.yaml", document, capsys)
        assert doctor() == 3
        assert set(doctor.wrong()) == {"dns.kafka.invalid"}
        assert {"topics", "records"} <= doctor.unchecked()
        assert "set its advertised.listeners" in doctor.wrong()["dns.kafka.invalid"]
