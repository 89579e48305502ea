"""`driftbus run` over TLS with SCRAM and ACLs: nothing without a right, everything with it, and no secret said."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from driftbus.stream.doctor.rights import run_rights
from harness.missing import running
from harness.secure import PASSWORD, SecureBroker

from .scenario import Scenario, rows

pytestmark = pytest.mark.kafka


@pytest.fixture
def secure_kafka() -> Iterator[SecureBroker]:
    with running(SecureBroker) as broker:
        yield broker


def test_tls_scram_and_acls(secure_kafka: SecureBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = Scenario(secure_kafka, overrides={"kafka": {**secure_kafka.section, "session_timeout": "6s"}})
    scenario.produce(rows(12_000, seed=8, drift_at=8_000))
    try:
        monkeypatch.setitem(os.environ, "DRIFTBUS_KAFKA_PASSWORD", PASSWORD)
        refused = scenario.start()
        assert refused.child.wait(60) in (2, 3), refused.child.tail()
        assert "not" in refused.child.tail()
        scenario.workers.clear()

        monkeypatch.setitem(os.environ, "DRIFTBUS_KAFKA_PASSWORD", "a-wrong-one")
        wrong = scenario.start()
        assert wrong.child.wait(60) in (2, 3), wrong.child.tail()
        assert "a-wrong-one" not in wrong.child.log.read_text()
        scenario.workers.clear()

        secure_kafka.allow(right.what for right in run_rights(scenario.config))
        monkeypatch.setitem(os.environ, "DRIFTBUS_KAFKA_PASSWORD", PASSWORD)
        worker = scenario.start()
        worker.wait_ready()
        scenario.settle()
        assert PASSWORD not in worker.child.log.read_text()
    finally:
        scenario.close()
