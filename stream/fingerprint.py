"""Short names of plain data, and where a monitor lives: the same in every process and on every machine."""

from __future__ import annotations

import hashlib
import json


def shard_of(monitor: str, shards: int) -> int:
    """The summaries partition of a monitor."""
    return int.from_bytes(hashlib.sha256(monitor.encode()).digest()[:8], "big") % shards


def fingerprint(value: object) -> str:
    """Short hash of plain data, equal for equal data."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]
