"""What came of a benchmark as one value, kept as JSON: its page can be drawn again without running anything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.detection.scoring import Found, OnReal, Quiet


@dataclass(slots=True)
class Results:
    """Everything the page shows; the first key is the candidate's name, the second the stream's or set's.

    Args:
        quick: whether sizes were cut.
        quiet, found, real: see `scoring`.
        errors: why a candidate has no answer, in its own words.
        versions: per candidate: package → version.
        sets: rows, columns, changes and so on of every real set; empty if none was run.
    """

    quick: bool = False
    quiet: dict[str, dict[str, Quiet]] = field(default_factory=dict)
    found: dict[str, dict[str, Found]] = field(default_factory=dict)
    real: dict[str, dict[str, OnReal]] = field(default_factory=dict)
    errors: dict[str, dict[str, str]] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    sets: dict[str, dict[str, Any]] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write it down."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read it back."""
        stored = json.loads(path.read_text())
        for key, kind in (("quiet", Quiet), ("found", Found), ("real", OnReal)):
            stored[key] = {name: _typed(kind, streams) for name, streams in stored[key].items()}
        return cls(**stored)


def _typed(kind: type[Any], streams: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    return {stream: kind(**{k: tuple(v) if k == "found" else v for k, v in values.items()})
            for stream, values in streams.items()}  # fmt: skip
