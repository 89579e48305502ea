"""Save golden files of the schemas that have none yet. Existing files are never touched.

Run it after a deliberate change of a schema: ``PYTHONPATH=tests python -m harness.golden``.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from fastavro import schemaless_reader, schemaless_writer

from driftbus.schemas import codec
from driftbus.schemas.contracts import contract, contract_names, schema_text
from harness import samples

GOLDEN = Path(__file__).parents[1] / "schemas" / "golden"

_BODIES = {
    "DriftEvent": codec.encode_drift(samples.DRIFT),
    "Incident": codec.encode_incident(samples.INCIDENT),
    "PerformanceReport": codec.encode_performance(samples.REPORT),
    "ComparisonEvent": codec.encode_comparison(samples.COMPARISON),
    "RetrainTrigger": codec.encode_retrain(samples.RETRAIN),
    "SummaryPart": codec.encode_part(samples.PART),
    "ManualRetrain": codec.encode_manual(samples.MANUAL),
    "Registration": codec.encode_registration(samples.REGISTRATION),
    "MonitorState": codec.encode_state(samples.STATE),
    "Profile": codec.encode_profile(samples.PROFILE),
}


def records(name: str) -> list[dict[str, Any]]:
    """Full records of a schema, as plain values: every optional field once with a value and once without."""
    plain: Any = contract(name).plain
    body = _BODIES.get(name)
    full: Any = samples.EVENTS[name] if body is None else schemaless_reader(io.BytesIO(body), plain, None)
    optional = [field["name"] for field in plain["fields"] if isinstance(field["type"], list)]
    return [full, full | dict.fromkeys(optional)]


def as_json(value: Any) -> Any:
    """Plain values as JSON has them, bytes as hexadecimal text."""
    return json.loads(json.dumps(value, default=lambda raw: raw.hex()))


def add() -> list[str]:
    """Write what is missing; returns the names of the files."""
    written = []
    for name in contract_names():
        current = contract(name)
        record = records(name)[0]
        stream = io.BytesIO()
        schemaless_writer(stream, current.plain, record)
        files = {
            ".avsc": schema_text(name).encode(),
            ".bin": current.header + stream.getvalue(),
            ".json": (json.dumps(as_json(record), indent=1, ensure_ascii=False) + "\n").encode(),
        }
        for suffix, content in files.items():
            path = GOLDEN / f"{name}.{current.fingerprint.hex()}{suffix}"
            if not path.exists():
                path.write_bytes(content)
                written.append(path.name)
    return written


if __name__ == "__main__":
    print("\n".join(add()) or "nothing is missing")
