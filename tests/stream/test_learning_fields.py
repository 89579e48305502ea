"""What fields are learned does not depend on how many records a poll brings, or on the first being readable."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest

from driftbus.schemas.config import Config
from driftbus.schemas.errors import ConfigError
from driftbus.stream.records import RecordBatch
from driftbus.stream.worker.learning import _Learning

SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "R",
    "fields": [{"name": "ts", "type": "long"}, {"name": "x", "type": "double"}],
}
START_MS = 1_700_000_000_000


class Polls:
    """Batches of one partition as a reader brings them, and then its end."""

    def __init__(self, values: list[bytes | None], sizes: list[int]) -> None:
        self._values, self._sizes, self._at, self._polls = values, list(sizes), 0, 0
        self.left, self.resting = {("t", 0)}, set[tuple[str, int]]()

    def poll(self) -> list[RecordBatch]:
        self._polls += 1
        assert self._polls < 1_000, "what there is was not enough"
        size = self._sizes.pop(0) if self._sizes else 1_000
        values = self._values[self._at : self._at + size]
        offsets = np.arange(self._at, self._at + len(values))
        self._at += len(values)
        if self._at == len(self._values):
            self.resting = {("t", 0)}
            self.left = set()
        times = np.full(len(values), START_MS, np.int64)
        return [RecordBatch("t", 0, offsets, times, values, lambda row: None, lambda row: ())] if values else []

    def hold(self, parts: object) -> None:
        pass


def learning(tmp_path: Path, reader: Polls) -> _Learning:
    (tmp_path / "r.avsc").write_text(json.dumps(SCHEMA))
    config = Config.model_validate(
        {
            "kafka": {"bootstrap": "none:1"},
            "limits": {"lateness": "1s"},
            "monitors": {
                "m": {
                    "features": {"topic": "t", "schema_file": str(tmp_path / "r.avsc"), "time": "ts"},
                    "learn": {"period": "10s", "min_rows": 100},
                    "retrain": None,
                }
            },
        }
    )
    return _Learning(config, "m", "features", 1, reader)  # type: ignore[arg-type]


def records(count: int) -> list[bytes | None]:
    found: list[bytes | None] = []
    for i in range(count):
        out = io.BytesIO()
        fastavro.schemaless_writer(out, fastavro.parse_schema(SCHEMA), {"ts": START_MS + 100 * i, "x": i % 97})
        found.append(out.getvalue())
    return found


@pytest.mark.parametrize("sizes", [[1], [1, 1, 2], [30], []])
@pytest.mark.parametrize("wait", [True, False])
def test_a_first_poll_without_a_readable_record_is_no_topic_without_fields(
    tmp_path: Path, sizes: list[int], wait: bool
) -> None:
    reader = Polls([None, b"\xff", None, *records(400)], sizes)
    learner = learning(tmp_path, reader).run(wait, None, lambda: False)
    assert [c.name for c in learner.profile(0).columns] == ["x"]


def test_a_topic_whose_records_cannot_be_read_has_no_fields(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no field to learn from"):
        learning(tmp_path, Polls([None] * 300, [7])).run(True, None, lambda: False)
