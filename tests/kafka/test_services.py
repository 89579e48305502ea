"""Each service that the tests rely on makes one round trip, so that a broken harness is told from a broken product."""

from __future__ import annotations

import io
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import fastavro
import httpx
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from harness.broker import Broker
from harness.missing import MissingService, services_required, skipped_when_missing
from harness.mockcluster import MockCluster
from harness.node import Node
from harness.prometheus import Prometheus, check
from harness.registry import Registry

LOAN = {
    "type": "record",
    "name": "Loan",
    "fields": [{"name": "income", "type": "double"}, {"name": "country", "type": ["null", "string"]}],
}


@pytest.mark.kafka
def test_kafka_keeps_bytes_keys_headers_and_timestamps(kafka: Broker) -> None:
    topic = kafka.create_topic("roundtrip", partitions=2)
    record = {
        "value": b"\x00v",
        "key": b"k",
        "headers": [("h", b"\xff"), ("none", None)],
        "timestamp": 1_700_000_000_000,
    }
    kafka.produce(topic, [{**record, "partition": 1}] * 3)
    assert kafka.end_offsets(topic) == [0, 3]
    messages = kafka.read(topic)
    assert [m.offset() for m in messages] == [0, 1, 2]
    first = messages[0]
    assert (first.value(), first.key(), first.headers()) == (b"\x00v", b"k", record["headers"])
    assert first.timestamp() == (1, 1_700_000_000_000)


@pytest.mark.kafka
def test_kafka_has_the_features_of_properly_formatted_storage(kafka: Broker) -> None:
    features = kafka.tool("org.apache.kafka.tools.FeatureCommand", "--bootstrap-server", kafka.bootstrap, "describe")
    levels = {line.split("\t")[0].split()[1]: line for line in features.splitlines() if "FinalizedVersionLevel" in line}
    assert "FinalizedVersionLevel: 1" in levels["group.version"]
    assert "FinalizedVersionLevel: 2" in levels["transaction.version"]


@pytest.mark.kafka
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_kafka_serves_both_group_protocols(kafka: Broker, protocol: str) -> None:
    topic = kafka.create_topic("groups")
    kafka.produce(topic, [{"value": b"1"}, {"value": b"2"}])
    group = f"group-{topic}"
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "group.id": group,
            "group.protocol": protocol,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    seen = [message.value() for message in consumer.consume(2, timeout=30)]
    consumer.commit(offsets=[TopicPartition(topic, 0, 2, metadata="epoch:0")], asynchronous=False)
    consumer.close()
    assert seen == [b"1", b"2"]
    assert kafka.committed(group, topic) == {0: (2, "epoch:0")}


@pytest.mark.kafka
def test_kafka_compacted_topics_can_be_created(kafka: Broker) -> None:
    topic = kafka.create_topic("state", config={"cleanup.policy": "compact"})
    told = kafka.tool(
        "org.apache.kafka.tools.TopicCommand", "--bootstrap-server", kafka.bootstrap, "--describe", "--topic", topic
    )
    assert "cleanup.policy=compact" in told


@pytest.mark.kafka
def test_a_killed_broker_comes_back_with_its_data(fragile_kafka: Broker) -> None:
    topic = fragile_kafka.create_topic("survivor")
    fragile_kafka.produce(topic, [{"value": b"before"}])
    address = fragile_kafka.bootstrap
    fragile_kafka.kill()
    fragile_kafka.start()
    fragile_kafka.produce(topic, [{"value": b"after"}])
    assert fragile_kafka.bootstrap == address
    assert [m.value() for m in fragile_kafka.read(topic)] == [b"before", b"after"]


@pytest.mark.kafka
def test_two_brokers_know_nothing_of_each_other(kafka: Broker, fragile_kafka: Broker) -> None:
    topic = fragile_kafka.create_topic("alone")
    assert topic not in kafka.admin.list_topics(timeout=15).topics


@pytest.mark.registry
def test_registry_gives_ids_and_refuses_what_is_incompatible(registry: Registry) -> None:
    subject = "services-loan-value"
    number = registry.register(subject, json.dumps(LOAN))
    assert registry.register(subject, json.dumps(LOAN)) == number
    held = httpx.get(f"{registry.url}/schemas/ids/{number}").json()["schema"]
    assert json.loads(held) == LOAN
    changed = {**LOAN, "fields": [{"name": "income", "type": "string"}]}
    with pytest.raises(httpx.HTTPStatusError, match="409"):
        registry.register(subject, json.dumps(changed))
    assert httpx.get(f"{registry.url}/schemas/ids/987654").status_code == 404


@pytest.mark.kafka
@pytest.mark.registry
@pytest.mark.node
def test_javascript_reads_and_writes_registry_avro(kafka: Broker, registry: Registry, node: Node) -> None:
    source, target = kafka.create_topic("to-javascript"), kafka.create_topic("from-javascript")
    number = registry.register(f"{target}-value", json.dumps(LOAN))
    body = io.BytesIO()
    loan = {"income": 1234.5, "country": "PT"}
    fastavro.schemaless_writer(body, LOAN, loan)
    kafka.produce(source, [{"value": b"\x00" + number.to_bytes(4, "big") + body.getvalue()}])
    told = node.run("roundtrip.js", kafka.bootstrap, registry.url, source, target, f"{target}-value")
    assert json.loads(told)["income"] == 1234.5
    (message,) = kafka.read(target)
    value = message.value()
    assert value is not None
    assert value[:5] == b"\x00" + number.to_bytes(4, "big")
    assert fastavro.schemaless_reader(io.BytesIO(value[5:]), LOAN, None) == loan


class _Metrics(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"# TYPE driftbus_up gauge\ndriftbus_up 1\n")

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Silence: pytest's output is for failures."""


@pytest.mark.prometheus
def test_prometheus_scrapes_and_answers() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Metrics)
    Thread(target=server.serve_forever, daemon=True).start()
    with skipped_when_missing():
        prometheus = Prometheus(f"127.0.0.1:{server.server_port}")
        try:
            (sample,) = prometheus.query("driftbus_up")
            assert sample["value"][1] == "1"
        finally:
            prometheus.close()
            server.shutdown()
            server.server_close()


@pytest.mark.prometheus
def test_promtool_and_amtool_are_there() -> None:
    with skipped_when_missing():
        assert "promtool" in check("promtool", "--version")
        assert "amtool" in check("amtool", "--version")


def test_mock_cluster_takes_and_gives_records(mock_cluster: MockCluster) -> None:
    producer = Producer({"bootstrap.servers": mock_cluster.bootstrap})
    producer.produce("quick", b"v", partition=0)
    assert producer.flush(10) == 0
    consumer = Consumer({"bootstrap.servers": mock_cluster.bootstrap, "group.id": "g"})
    consumer.assign([TopicPartition("quick", 0, 0)])
    (message,) = consumer.consume(1, timeout=10)
    consumer.close()
    assert message.value() == b"v"


@pytest.mark.parametrize(
    ("ci", "flag", "outcome"),
    [("", "", pytest.skip.Exception), ("true", "", pytest.fail.Exception), ("", "1", pytest.fail.Exception)],
)
def test_a_missing_service_is_skipped_at_home_and_a_failure_in_ci(
    monkeypatch: pytest.MonkeyPatch, ci: str, flag: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("DRIFTBUS_REQUIRE_SERVICES", flag)
    assert services_required() == (outcome is pytest.fail.Exception)
    with pytest.raises(outcome, match="install it"), skipped_when_missing():
        raise MissingService("Thing: install it")


def test_no_other_test_is_ever_skipped() -> None:
    """So that where services are required every test has run: nothing but `skipped_when_missing` can skip one."""
    tests = Path(__file__).parents[1]
    words = (
        r"pytest\.skip\(",
        "importorskip",
        r"mark\.(skip|xfail)",
        r"unittest\.skip",
        "SkipTest",
        "allow_module_level",
    )
    skipping = re.compile("|".join(words))
    found = {
        (str(path.relative_to(tests)), line.strip())
        for path in tests.rglob("*.py")
        if path != Path(__file__)
        for line in path.read_text().splitlines()
        if skipping.search(line)
    }
    assert found == {("harness/missing.py", 'pytest.skip(f"service missing: {error}")')}
