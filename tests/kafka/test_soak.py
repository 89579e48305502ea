"""The short form of `make soak`, and that its report finds what grows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.measure import Figure
from benchmarks.soak.__main__ import soak
from benchmarks.soak.report import QUANTITIES, Run, report
from benchmarks.soak.watch import Sample
from harness.missing import skipped_when_missing

FLAT = Sample(0.0, 0.0, 300 << 20, 200 << 20, 40, 20, 400, 9 << 20, 50_000, 4 << 20, 1 << 20, 3, 0.0, 0, 0.0, 3)
ENDED = Run(30.0, 3_600.0, 1, 1, "", [0], 0)


def samples(**grown: float) -> list[Sample]:
    """Thirty days of a saw tooth, with some quantities that grow by a share a day."""
    found = []
    for i in range(240):
        values = {key: int(getattr(FLAT, key) * (1 + i / 8 * share)) for key, share in grown.items()}
        resident = FLAT.resident + (i % 7 << 20)
        found.append(replace(FLAT, seconds=15.0 * i, day=i / 8, **{"resident": resident, **values}))
    return found


def verdicts(found: list[Sample], run: Run = ENDED) -> dict[str, bool | None]:
    return {row.name: row.holds for row in report(found, run).rows if isinstance(row, Figure)}


class TestReport:
    def test_a_saw_tooth_is_flat(self) -> None:
        assert all(holds is not False for holds in verdicts(samples()).values())

    @pytest.mark.parametrize("quantity", ["resident", "descriptors", "threads", "series", "store", "state", "waiting"])
    def test_what_grows_is_named(self, quantity: str) -> None:
        growing = samples(**{quantity: 0.02})
        named = {name for name, holds in verdicts(growing).items() if holds is False}
        assert named == {q.name for q in QUANTITIES if q.of(growing[0]) != q.of(growing[-1])} - (
            set() if quantity == "resident" else {"resident memory"}
        )

    def test_a_worker_that_hardly_judges_proves_nothing(self) -> None:
        found = [replace(one, judged=3 if i % 4 else 0) for i, one in enumerate(samples())]
        assert verdicts(found)["moments at which it judged everything"]
        found = [replace(one, judged=0 if i % 4 else 3) for i, one in enumerate(samples())]
        assert verdicts(found)["moments at which it judged everything"] is False

    def test_a_difference_to_the_replay_is_one(self) -> None:
        assert verdicts(samples(), replace(ENDED, different="lost (1)"))["events published, against a replay"] is False


@pytest.mark.kafka
def test_half_a_day_in_seconds() -> None:
    with skipped_when_missing():
        *found, run = soak(0.5, 0.25, every_s=2.0, restarts=1, scale=0.5)
    assert isinstance(run, Run)
    watched = [sample for sample in found if isinstance(sample, Sample)]
    assert run.different == ""
    assert run.events > 0
    assert run.codes == [0, 0]
    assert sum(sample.judged == 3 for sample in watched) > len(watched) // 2
    assert watched[-1].contradictions == 0
    # one more client and its connections, when partitions moved
    assert max(s.descriptors for s in watched) <= watched[0].descriptors + 30
    assert watched[-1].keys <= 2 * 3
