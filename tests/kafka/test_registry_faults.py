"""A registry that fails in every way it can, in the middle of a run: partitions wait, and no event changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from driftbus.schemas.config import Config
from driftbus.schemas.errors import ConfigError, Unavailable
from driftbus.schemas.framing import by_id, frame
from driftbus.schemas.registry import Registry as Schemas
from driftbus.stream.worker.deadletter import read_dead_letter
from driftbus.stream.worker.publish import register_outputs
from harness.broker import Broker
from harness.nursery import Nursery
from harness.process import wait_for
from harness.registry import Registry
from harness.registryproxy import DOWN, FAILING, REFUSING, TROUBLES, WRONG_PAGE, RegistryProxy, Trouble

from .deployments import SCHEMA, Deployment, oracle, records, stream

pytestmark = [pytest.mark.kafka, pytest.mark.registry]

ROWS, DRIFT_FROM = 16_000, 8_000


@pytest.fixture
def proxy(registry: Registry) -> Iterator[RegistryProxy]:
    between = RegistryProxy(registry.url)
    between.start()
    yield between
    between.close()


@pytest.fixture
def deploy(
    kafka: Broker, proxy: RegistryProxy, tmp_path: Path, nursery: Nursery
) -> Iterator[Callable[..., Deployment]]:
    made: list[Deployment] = []

    def make(**overrides: Any) -> Deployment:
        section = {"url": proxy.url, "timeout": "1s"}
        made.append(
            Deployment.make(kafka, tmp_path, schema_files=False, registry=section, nursery=nursery, **overrides)
        )
        return made[-1]

    yield make
    for deployment in made:
        deployment.close()


def registered(registry: Registry, topic: str, number: int) -> int:
    """Id of a schema that says the same under a name of its own, as if the producer had changed it."""
    return registry.register(f"{topic}-{number}-value", json.dumps(SCHEMA | {"name": f"Scored{number}"}))


def chunks(schema_ids: list[int]) -> Iterator[list[dict[str, Any]]]:
    """The stream in as many pieces as there are ids, each piece written with one of them."""
    partitions = stream(ROWS, DRIFT_FROM)
    for i, schema_id in enumerate(schema_ids):
        pieces = [values[len(values) * i // len(schema_ids) : len(values) * (i + 1) // len(schema_ids)]
                  for values in partitions]  # fmt: skip
        yield records([[frame(by_id(schema_id), value) for value in piece] for piece in pieces])


def test_partitions_wait_through_every_trouble_and_no_event_changes(
    kafka: Broker, registry: Registry, proxy: RegistryProxy, deploy: Callable[..., Deployment]
) -> None:
    deployment = deploy()
    wanted = oracle(deployment, stream(ROWS, DRIFT_FROM))
    ids = [registered(registry, deployment.topic, i) for i in range(len(TROUBLES))]
    worker = deployment.worker()
    deployment.wait_said(worker, "judging")
    for (name, trouble), piece in zip(TROUBLES.items(), chunks(ids), strict=True):
        waited, went_on = (worker.log.read_text().count(words) for words in (" waits: ", " goes on"))
        proxy.fail(trouble)
        kafka.produce(deployment.topic, piece)
        deployment.wait_said(worker, " waits: ", waited + 1)
        wait_for(lambda: deployment.get(worker, "/readyz")[0] == 503, 15, f"readyz to say so: {name}")
        assert deployment.get(worker, "/healthz")[0] == 200, name
        proxy.fail(None)
        deployment.wait_said(worker, " goes on", went_on + worker.log.read_text().count(" waits: ") - waited)
        wait_for(lambda: deployment.get(worker, "/readyz")[0] == 200, 15, f"readyz to say so: {name}")
    wait_for(lambda: deployment.events().keys() >= wanted.keys(), 60, "all events")
    assert deployment.events() == wanted
    assert kafka.read(deployment.config.topics.deadletter) == []
    assert worker.stop() == 0, worker.tail()


def test_a_registry_that_lies_makes_dead_letters_and_a_new_app_reads_them_again(
    kafka: Broker, registry: Registry, proxy: RegistryProxy, deploy: Callable[..., Deployment]
) -> None:
    """Restored from an old backup, it knows less than was registered, and gives ids to others."""
    deployment = deploy()
    wanted = oracle(deployment, stream(ROWS, DRIFT_FROM))
    ids = [registered(registry, deployment.topic, i) for i in range(4)]
    other = {"type": "record", "name": "Other", "fields": [{"name": "note", "type": "string"}]}
    answers = {
        ids[1]: Trouble(200, json.dumps({"schema": json.dumps(other)}).encode()),
        ids[2]: Trouble(404, b'{"error_code": 40403, "message": "Schema not found"}'),
        ids[3]: Trouble(200, b'{"schema": "not Avro"}'),
    }
    proxy.trouble = lambda path: next((a for i, a in answers.items() if path.startswith(f"/schemas/ids/{i}")), None)
    for piece in chunks(ids):
        kafka.produce(deployment.topic, piece)
    lied = sum(kafka.end_offsets(deployment.topic)) * 3 // 4
    worker = deployment.worker()
    letters = deployment.config.topics.deadletter
    wait_for(lambda: sum(kafka.end_offsets(letters)) >= lied - 100, 60, "dead letters")
    assert worker.stop() == 0, worker.tail()
    assert {read_dead_letter(one).reason for one in kafka.read(letters)} >= {"unknown_schema", "bad_schema"}

    proxy.fail(None)
    deployment.configure(app=f"{deployment.config.app}-again")
    again = deployment.worker()
    wait_for(lambda: deployment.events().keys() >= wanted.keys(), 60, "all events")
    assert deployment.events() == wanted
    assert again.stop() == 0, again.tail()


@pytest.mark.parametrize(
    ("trouble", "error", "said"),
    [
        (DOWN, Unavailable, "can't be reached"),
        (FAILING, Unavailable, "answers 500"),
        (REFUSING, ConfigError, "refuses the credentials"),
        (WRONG_PAGE, ConfigError, "does not answer like a schema registry"),
        (Trouble(200, b'{"id": "seven"}'), ConfigError, "is not a number"),
        (Trouble(409, b'{"error_code": 40901, "message": "incompatible schema"}'), ConfigError, "incompatible"),
    ],
    ids=["down", "failing", "refusing", "a page", "no number", "incompatible"],
)
def test_our_own_schemas_can_t_be_registered(
    proxy: RegistryProxy, trouble: Trouble, error: type[Exception], said: str
) -> None:
    """`driftbus run` ends with 3 when it is `Unavailable`, with 2 when it is a `ConfigError`."""
    config = Config.model_validate(
        {
            "kafka": {"bootstrap": "none:1"},
            "registry": {"url": proxy.url, "timeout": "1s"},
            "monitors": {"m": {"predictions": {"topic": "t"}}},
            "output": {"format": "avro"},
        }
    )
    proxy.fail(trouble)
    with pytest.raises(error, match=said):
        register_outputs(config, Schemas(config.registry))
    proxy.fail(None)
    assert len(set(register_outputs(config, Schemas(config.registry)).values())) == 5
