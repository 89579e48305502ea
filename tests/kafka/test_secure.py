"""`driftbus run` over TLS with SCRAM and ACLs: nothing without a right, everything with it, and no secret said."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from driftbus.stream.doctor.rights import run_rights
from harness.guarded import GuardedRegistry
from harness.idp import IdentityProvider
from harness.missing import running
from harness.pki import Authority
from harness.process import wait_for
from harness.secure import PASSWORD, SecureBroker

from .access import CLIENT, SECRET
from .labelled import START_MS, Labelled, label, prediction, spread
from .scenario import Scenario, rows

pytestmark = pytest.mark.kafka


@pytest.fixture
def secure_kafka() -> Iterator[SecureBroker]:
    with running(SecureBroker) as broker:
        yield broker


def test_tls_scram_and_acls(secure_kafka: SecureBroker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scenario = Scenario(secure_kafka, overrides={"kafka": {**secure_kafka.section, "session_timeout": "6s"}})
    records = rows(12_000, seed=8, drift_at=8_000)
    scenario.produce(records[:6_000])
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
        monkeypatch.delitem(os.environ, "DRIFTBUS_KAFKA_PASSWORD")
        file = tmp_path / "password"
        file.write_text(f"{PASSWORD}\n")
        monkeypatch.setitem(os.environ, "DRIFTBUS_KAFKA_PASSWORD_FILE", str(file))
        worker = scenario.start()
        worker.wait_ready()

        # another password, while it runs: open connections stay, new ones need it
        secure_kafka.set_password("another-one")
        file.write_text("another-one\n")
        wait_for(lambda: "has changed" in worker.child.log.read_text(), 60, "the worker to see the new password")
        secure_kafka.stop()
        secure_kafka.start()
        scenario.produce(records[6_000:])
        scenario.settle()
        said = worker.child.log.read_text()
        assert PASSWORD not in said
        assert "another-one" not in said
    finally:
        scenario.close()


@pytest.mark.parametrize("copied", [False, True], ids=["joined", "copied and joined"])
def test_labels_with_no_more_rights_than_are_printed(
    secure_kafka: SecureBroker, monkeypatch: pytest.MonkeyPatch, copied: bool
) -> None:
    monkeypatch.setenv("DRIFTBUS_KAFKA_PASSWORD", PASSWORD)
    raw = secure_kafka.create_topic("raw", 3)
    labels = {"repartition": raw, "topic": f"{raw}.by-id", "partitioner": "crc32"} if copied else {}
    s = Labelled(secure_kafka, labels=labels, overrides={"kafka": {**secure_kafka.section, "session_timeout": "6s"}})
    try:
        said = [label(i, START_MS + i, str(i % 2)) for i in range(2_000)]
        secure_kafka.produce(s.predicted, spread([prediction(i, START_MS + i) for i in range(2_000)]))
        given = [one | {"key": None, "partition": i % 3} for i, one in enumerate(said)] if copied else spread(said)
        secure_kafka.produce(raw if copied else s.labelled, given)
        needed = [right.what for right in run_rights(s.config) if not right.optional]
        secure_kafka.allow(needed)
        worker = s.start()
        s.wait_ready(worker)
        wait_for(lambda: sum(secure_kafka.end_offsets(s.labelled)) >= len(said), 60, "all labels, where they belong")
        ends = [(2_000 + i, START_MS + ahead) for ahead in (60_000, 90_000) for i in range(40)]
        secure_kafka.produce(s.predicted, spread([prediction(*end) for end in ends]))
        last = [label(*end, "1") for end in ends]
        secure_kafka.produce(raw if copied else s.labelled, last if copied else spread(last))
        wait_for(lambda: sum(secure_kafka.end_offsets(s.labelled)) >= len(said) + 80, 60, "the last labels")
        wanted = s.expected()
        assert wanted
        wait_for(lambda: wanted.keys() <= s.published().keys(), 90, f"what labels say\n{s.said()}")
        assert s.published() == wanted
        assert worker.stop() == 0, worker.tail()
    finally:
        s.close()


@pytest.mark.node
@pytest.mark.registry
def test_tokens_for_brokers_and_registry_from_one_login(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tokens of 8 s, so that a worker lives through several of them, and a registry that takes TLS and tokens only."""
    authority = Authority("tokens")
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    with (
        running(lambda: IdentityProvider(authority, {CLIENT: SECRET}, ttl_s=8)) as idp,
        running(lambda: SecureBroker(idp)) as broker,
        running(lambda: GuardedRegistry(authority, idp, CLIENT, SECRET)) as registry,
    ):
        login = {**broker.oauth(CLIENT)["oauth"], "client_secret_file": str(secret)}
        sections = {
            "kafka": {**broker.oauth(CLIENT), "oauth": login, "session_timeout": "6s"},
            "registry": {"url": registry.url, "ca": str(authority.certificate), "oauth": login},
        }
        scenario = Scenario(broker, overrides=sections)
        broker.allow((right.what for right in run_rights(scenario.config)), CLIENT)
        records = rows(12_000, seed=8, drift_at=8_000)
        try:
            scenario.produce(records[:6_000])
            worker = scenario.start()
            worker.wait_ready()
            began = time.monotonic()
            wait_for(lambda: time.monotonic() > began + 10, 30, "the first token to end")
            scenario.produce(records[6_000:])
            scenario.settle()
            assert SECRET not in worker.child.log.read_text()
        finally:
            scenario.close()
