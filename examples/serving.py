"""A scoring service that tells driftbus what it predicts.

    python examples/serving.py
    curl -d '{"income": 1200, "age": 41, "region": "north"}' localhost:8000

KAFKA and REGISTRY say where they are; without a registry, records carry the fingerprint of their schema.
"""

from __future__ import annotations

import json
import os
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import exp
from typing import Any

from driftbus import Producer

events = Producer(
    os.environ.get("TOPIC", "predictions"),
    bootstrap=os.environ.get("KAFKA", "localhost:29092"),
    registry=os.environ.get("REGISTRY"),
    monitor="credit",
)


def score(features: dict[str, Any]) -> float:
    """The model: yours goes here."""
    return 1 / (1 + exp(float(features.get("income") or 0.0) / 1000 - 2))


class Service(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        features = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        id_, p = str(uuid.uuid4()), score(features)
        # never blocks and never raises, whatever Kafka does; what it had to drop is in events.counters()
        events.prediction(id=id_, version="12", features=features, score=p)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"id": id_, "score": p}).encode() + b"\n")


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8000"))), Service)
    print(f"scoring on http://127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        events.close()
