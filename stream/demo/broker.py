"""The demo's own Kafka and schema registry, in a process of their own.

Kafka is librdkafka's mock cluster; the registry keeps schemas in memory and speaks the three
requests that a producer and a consumer of Avro need. Both are for demonstrations: every topic has
four partitions, nothing is compacted, nothing survives.
"""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from confluent_kafka import Producer


class Registry(ThreadingHTTPServer):
    """Schemas by id, in memory, on a free port of the loopback interface."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.schemas: list[str] = []

    def register(self, schema: str) -> int:
        """The id of a schema, equal for equal text."""
        with self.lock:
            if schema not in self.schemas:
                self.schemas.append(schema)
            return self.schemas.index(schema) + 1


class _Handler(BaseHTTPRequestHandler):
    server: Registry

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts[0] == "subjects" and "schema" in body:
            self._answer(200, {"id": self.server.register(body["schema"]), "schema": body["schema"], "version": 1})
        else:
            self._answer(404, {"error_code": 404, "message": "not in this registry"})

    def do_GET(self) -> None:
        parts = self.path.split("?")[0].strip("/").split("/")
        known = self.server.schemas
        if parts[:2] == ["schemas", "ids"] and parts[2].isdigit() and 1 <= int(parts[2]) <= len(known):
            self._answer(200, {"schema": known[int(parts[2]) - 1], "schemaType": "AVRO"})
        else:
            self._answer(404, {"error_code": 40403, "message": "Schema not found"})

    def _answer(self, status: int, body: dict[str, object]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """The terminal belongs to the demo."""


def main() -> None:
    """Serve until standard input closes, so that no demo leaves a broker behind."""
    registry = Registry()
    threading.Thread(target=registry.serve_forever, daemon=True).start()
    producer = Producer({"test.mock.num.brokers": 1, "log_level": 3})
    brokers = ",".join(f"{b.host}:{b.port}" for b in producer.list_topics(timeout=10).brokers.values())
    host, port = registry.server_address[:2]
    print(json.dumps({"bootstrap": brokers, "registry": f"http://{host!s}:{port}"}), flush=True)
    threading.Thread(target=_poll, args=(producer,), daemon=True).start()
    sys.stdin.read()


def _poll(producer: Producer) -> None:
    while True:
        producer.poll(1.0)


if __name__ == "__main__":
    main()
