"""Writer schemas from a real registry: found, remembered, not there, not reachable."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import httpx
import pytest
from pydantic import SecretStr

from driftbus.schemas.columns import Projection
from driftbus.schemas.config import RegistryConfig
from driftbus.schemas.decode.batch import BatchDecoder
from driftbus.schemas.errors import ConfigError, DecodeError, Unavailable
from driftbus.schemas.framing import by_fingerprint, by_guid, by_id, frame
from driftbus.schemas.registry import LARGEST_ANSWER, MAX_SCHEMAS, UNKNOWN_FOR_S, Reference, Registry
from harness.registry import Registry as Server
from harness.registryproxy import (
    DOWN,
    DRIPPING,
    FAILING,
    NOT_THERE,
    REFUSING,
    SILENT,
    WRONG_PAGE,
    RegistryProxy,
    Trouble,
)


def record(name: str, *fields: tuple[str, Any]) -> str:
    return json.dumps({"type": "record", "name": name, "fields": [{"name": n, "type": t} for n, t in fields]})


class Clock:
    """Time that passes only when someone sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def client(url: str, clock: Clock | None = None, **config: Any) -> Registry:
    made = RegistryConfig(url=url, **config)
    return Registry(made, monotonic=clock, sleep=clock.sleep) if clock else Registry(made)


def answering(status: int, body: Any = None, *, counted: list[str] | None = None, **config: Any) -> Registry:
    """A client whose transport gives one answer to everything, for what a real registry can't be made to say."""
    clock = Clock()

    def answer(request: httpx.Request) -> httpx.Response:
        if counted is not None:
            counted.append(request.url.path)
        return httpx.Response(status, json=body)

    made = Registry(
        RegistryConfig(url="http://registry.example:8081", **config), monotonic=clock, sleep=clock.sleep,
        transport=httpx.MockTransport(answer),
    )  # fmt: skip
    clock.pauses.clear()
    return made


@pytest.mark.registry
def test_a_schema_is_registered_found_and_looked_up(registry: Server) -> None:
    schemas = client(registry.url)
    text = record("Reg1", ("id", "string"), ("x", "double"))
    schema_id = schemas.register("reg1-value", text)
    assert schemas.register("reg1-value", text) == schema_id
    assert schemas.lookup("reg1-value", text) == schema_id
    assert schemas.lookup("reg1-value", record("Reg1", ("id", "string"))) is None
    assert schemas.lookup("no-such-subject", text) is None
    assert "reg1-value" in schemas.subjects()
    latest = schemas.latest("reg1-value")
    assert latest is not None
    assert (latest.id, latest.version, latest.subject) == (schema_id, 1, "reg1-value")
    assert schemas.latest("no-such-subject") is None
    decoder = BatchDecoder(Projection(("x",), ("id",), ""), schemas)
    decoded = decoder.decode([frame(by_id(schema_id), b"\2a" + struct.pack("<d", 1.5))])
    assert decoded.good.all()
    assert decoded.block.numeric[0, 0] == 1.5


@pytest.mark.registry
def test_workers_that_register_the_same_schema_at_once_all_get_its_id(registry: Server) -> None:
    """Apicurio refuses a part of them: "already exists"."""
    clients = [client(registry.url) for _ in range(4)]
    together = threading.Barrier(len(clients))

    def registers(one: Registry, subject: str) -> int:
        together.wait(20)
        return one.register(subject, record("Together", ("id", "string")))

    with ThreadPoolExecutor(len(clients)) as pool:
        for number in range(40):
            subject = f"together-{number}-value"
            ids = [pool.submit(registers, one, subject) for one in clients]
            assert len({one.result() for one in ids}) == 1


@pytest.mark.registry
def test_incompatible_schemas_are_told_apart(registry: Server) -> None:
    schemas = client(registry.url)
    first = record("Reg2", ("id", "string"))
    assert schemas.incompatibilities("reg2-value", first) == []
    schemas.register("reg2-value", first)
    assert schemas.incompatibilities("reg2-value", record("Reg2")) == []
    assert schemas.incompatibilities("reg2-value", record("Reg2", ("id", "string"), ("x", "int"))) != []
    with pytest.raises(ConfigError, match="refuses the schema"):
        schemas.register("reg2-value", record("Reg2", ("id", "string"), ("x", "int")))
    with pytest.raises(ConfigError, match="refuses the schema"):
        schemas.register("reg2-value", '{"type": "no such type"}')


@pytest.mark.registry
def test_references_are_followed(registry: Server) -> None:
    schemas = client(registry.url)
    schemas.register("reg3-zip", record("reg3.Zip", ("code", "int")))
    zip_reference = Reference("reg3.Zip", "reg3-zip", 1)
    schemas.register("reg3/address", record("reg3.Address", ("zip", "reg3.Zip")), [zip_reference])
    event = record("reg3.Event", ("home", ["null", "reg3.Address"]), ("zip", "reg3.Zip"))
    schema_id = schemas.register("reg3-value", event, [Reference("reg3.Address", "reg3/address", 1), zip_reference])
    decoder = BatchDecoder(Projection(("home.zip.code", "zip.code"), (), ""), client(registry.url))
    decoded = decoder.decode([frame(by_id(schema_id), b"\2\x0a\x0e")])
    assert decoded.good.all()
    assert decoded.block.numeric[:, 0].tolist() == [5, 7]


@pytest.mark.registry
def test_an_id_that_is_not_there_is_asked_for_again_only_after_a_while(registry: Server) -> None:
    clock = Clock()
    schemas = client(registry.url, clock)
    missing = by_id(987_654)
    for _ in range(2):
        with pytest.raises(DecodeError) as caught:
            schemas.resolve(missing)
        assert caught.value.reason == "unknown_schema"
        assert "987654" in str(caught.value)
    assert schemas.knows(missing)
    assert clock.pauses == []
    clock.now += UNKNOWN_FOR_S
    assert not schemas.knows(missing)


@pytest.mark.registry
def test_a_wrong_address_is_not_a_missing_schema(registry: Server) -> None:
    with pytest.raises(ConfigError, match="does not answer like a schema registry"):
        client(registry.url.replace("ccompat", "nothing")).resolve(by_id(1))


@pytest.mark.registry
def test_a_registry_without_guids_and_an_id_beyond_all_are_no_reason_to_stop(registry: Server) -> None:
    schemas = client(registry.url)
    for key in (by_guid(UUID(int=5)), by_id(2**31), by_id(2**32 - 1)):
        with pytest.raises(DecodeError) as caught:
            schemas.resolve(key)
        assert caught.value.reason == "unknown_schema"
    with pytest.raises(ConfigError, match="does not answer like a schema registry"):
        client(registry.url.replace("ccompat", "nothing")).resolve(by_guid(UUID(int=5)))


@pytest.mark.registry
def test_what_was_found_outlives_the_registry(fragile_registry: Server) -> None:
    schemas = client(fragile_registry.url, timeout=500)
    schema_id = schemas.register("reg4-value", record("Reg4", ("x", "int")))
    found = schemas.resolve(by_id(schema_id))
    fragile_registry.kill()
    assert schemas.resolve(by_id(schema_id)) is found
    with pytest.raises(Unavailable, match="can't be reached"):
        schemas.resolve(by_id(schema_id + 1))
    fragile_registry.start()
    again = schemas.register("reg4-value", record("Reg4", ("x", "int")))
    assert schemas.resolve(by_id(again)) is not None


def test_a_closed_port_is_tried_until_the_timeout() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    clock = Clock()
    schemas = client(f"http://user:geheim@127.0.0.1:{port}", clock, timeout=2_000)
    with pytest.raises(Unavailable) as caught:
        schemas.resolve(by_id(1))
    assert f"127.0.0.1:{port}" in str(caught.value)
    assert "geheim" not in repr(caught.value)
    assert clock.pauses == [0.1, 0.2, 0.4, 0.8]
    assert not schemas.knows(by_id(1))


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_an_overloaded_registry_is_waited_for(status: int) -> None:
    asked: list[str] = []
    with pytest.raises(Unavailable, match=str(status)):
        answering(status, {"message": "busy"}, counted=asked, timeout=1_000).resolve(by_id(1))
    assert len(asked) == 4


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_a_matter_of_configuration(status: int) -> None:
    registry = answering(status, {"message": "no"}, username="u", password=SecretStr("geheim"))
    with pytest.raises(ConfigError, match="refuses the credentials") as caught:
        registry.resolve(by_id(1))
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body"), [(200, ["x"]), (200, {"schemaType": "AVRO"}), (302, None), (404, {"detail": "no page"})]
)
def test_something_else_at_the_address_is_recognised(status: int, body: Any) -> None:
    with pytest.raises((ConfigError, DecodeError)):
        answering(status, body).resolve(by_id(1))


def test_only_avro_is_read() -> None:
    with pytest.raises(DecodeError, match="JSON, not Avro") as caught:
        answering(200, {"schema": "{}", "schemaType": "JSON"}).resolve(by_id(1))
    assert caught.value.reason == "bad_schema"


def test_references_in_circles_end() -> None:
    circle = {"schema": '"int"', "references": [{"name": "A", "subject": "a", "version": 1}]}
    with pytest.raises(DecodeError, match="go round"):
        answering(200, circle).resolve(by_id(1))


def test_memory_of_schemas_is_bounded() -> None:
    asked: list[str] = []
    schemas = answering(200, {"schema": '"int"'}, counted=asked)
    for i in range(MAX_SCHEMAS + 10):
        schemas.resolve(by_id(i))
    assert not schemas.knows(by_id(0))
    assert schemas.knows(by_id(MAX_SCHEMAS))
    absent = answering(404, {"error_code": 40403, "message": "Schema not found"}, counted=asked)
    asked.clear()
    for i in [*range(MAX_SCHEMAS + 10), MAX_SCHEMAS]:
        with pytest.raises(DecodeError):
            absent.resolve(by_id(i))
    assert len(asked) == MAX_SCHEMAS + 10
    assert not absent.knows(by_id(0))


def test_guids_are_asked_for_by_name() -> None:
    asked: list[str] = []
    guid = UUID(int=2**127 + 5)
    answering(200, {"schema": '"int"', "guid": str(guid)}, counted=asked).resolve(by_guid(guid))
    assert asked == [f"/schemas/guids/{guid}"]
    with pytest.raises(DecodeError, match="can't look up"):
        answering(200).resolve(by_fingerprint(bytes(8)))


@pytest.mark.parametrize("url", ["registry:8081", "ftp://x", "", "http://"])
def test_an_address_must_be_one(url: str) -> None:
    with pytest.raises(ConfigError, match=r"registry\.url"):
        client(url)


def test_a_ca_must_be_there(tmp_path: Any) -> None:
    with pytest.raises(ConfigError, match=r"registry\.ca"):
        client("https://registry:8081", ca=str(tmp_path / "none.pem"))


@pytest.fixture
def proxy(registry: Server) -> Iterator[RegistryProxy]:
    between = RegistryProxy(registry.url)
    between.start()
    yield between
    between.close()


@pytest.mark.registry
@pytest.mark.parametrize("trouble", [DOWN, SILENT, FAILING, DRIPPING], ids=["down", "silent", "failing", "dripping"])
def test_a_registry_in_trouble_is_unavailable_within_the_timeout_and_then_itself_again(
    registry: Server, proxy: RegistryProxy, trouble: Trouble
) -> None:
    text = record("Troubled", ("id", "string"))
    schema_id = registry.register("troubled-value", text)
    schemas = client(proxy.url, timeout="1s")
    proxy.fail(trouble)
    with pytest.raises(Unavailable):
        schemas.resolve(by_id(schema_id))
    assert not schemas.knows(by_id(schema_id))
    proxy.fail(None)
    assert schemas.resolve(by_id(schema_id)).root.name == "Troubled"


@pytest.mark.registry
@pytest.mark.parametrize("trouble", [REFUSING, WRONG_PAGE, NOT_THERE], ids=["refusing", "a page", "no path"])
def test_an_answer_that_is_no_registry_s_is_not_remembered(
    registry: Server, proxy: RegistryProxy, trouble: Trouble
) -> None:
    schema_id = registry.register("troubled-value", record("Troubled", ("id", "string")))
    schemas = client(proxy.url, timeout="1s")
    proxy.fail(trouble)
    with pytest.raises(ConfigError):
        schemas.resolve(by_id(schema_id))
    proxy.fail(None)
    assert schemas.resolve(by_id(schema_id)).root.name == "Troubled"


@pytest.mark.registry
def test_while_a_registry_is_silent_one_caller_at_a_time_hangs(registry: Server, proxy: RegistryProxy) -> None:
    schema_id = registry.register("troubled-value", record("Troubled", ("id", "string")))
    schemas = client(proxy.url, timeout="2s")
    proxy.fail(SILENT)
    with pytest.raises(Unavailable):
        schemas.resolve(by_id(schema_id))
    asked = len(proxy.asked)

    def ask(_: int) -> bool:
        with pytest.raises(Unavailable):
            schemas.resolve(by_id(schema_id))
        return True

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(8)))
    assert len(proxy.asked) - asked <= 2, "the others were told at once"


def test_an_answer_without_end_is_given_up() -> None:
    schemas = answering(200, "x" * (LARGEST_ANSWER + 1))
    with pytest.raises(ConfigError, match="does not end"):
        schemas.resolve(by_id(1))
