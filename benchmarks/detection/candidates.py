"""Who is compared, as what, and on how many values: slow detectors judge fewer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """A detector with its defaults.

    Args:
        name: in tables.
        peer: of `peers/run_PEER.py`; empty: driftbus.
        detector: what the peer's process calls it.
        use: how it is used, in a few words.
        takes: "columns" (numbers, texts, nulls), "numbers" (value by value; for nulls and categories an indicator),
            or "bits" (errors, value by value).
        nulls: values per stream without drift.
        runs: per stream with a change.
        before: rows before the change, at most.
        real: values of a real set at most.
        reference: rows at most.
        phase: the change's place in a window of so many rows is random.
        only: names of streams, if not all.
        joint: all columns of a real set are one multivariate stream.
    """

    name: str
    peer: str
    detector: str
    use: str
    takes: str = "columns"
    nulls: int = 1_000_000
    runs: int = 100
    before: int = 5_000
    real: int = 10_000_000
    reference: int = 100_000
    phase: int = 1_000
    only: tuple[str, ...] = ()
    joint: bool = False

    @property
    def window(self) -> bool:
        """Whether it judges windows of `phase` rows, one after the other."""
        return bool(self.peer) and self.takes == "columns"


OURS = (
    Candidate("driftbus, undivided", "", "undivided", "`false_alarms_per_week: null`, panes of 32", nulls=2_000_000),
    Candidate("driftbus", "", "budget", "default budget, one column, 10 events/s; panes of 32", nulls=2_000_000),
)

_FEW = (
    "bernoulli_.2", "gauss", "cauchy", "ar_.9", "daily_sine",
    "shift_.25", "shift_1", "sd_x1.5", "ratio_.50_.55", "nulls_.2", "shift_1_ar_.95",
    "bike", "elec2", "abrupt_insects", "car_loan",
)  # fmt: skip
_SLOW = {"nulls": 5_000, "runs": 3, "before": 500, "real": 6_000, "only": _FEW}

PEERS = (
    Candidate("river ADWIN", "river", "ADWIN", "value by value", "numbers", before=5_000),
    Candidate("river KSWIN", "river", "KSWIN", "value by value", "numbers", **_SLOW),
    Candidate("river PageHinkley", "river", "PageHinkley", "value by value", "numbers"),
    Candidate("river DDM", "river", "DDM", "errors, value by value", "bits"),
    Candidate("river HDDM_A", "river", "HDDM_A", "errors, value by value", "bits", nulls=200_000, runs=20),
    Candidate("river HDDM_W", "river", "HDDM_W", "errors, value by value", "bits", nulls=200_000, runs=20),
    Candidate(
        "Frouros ADWIN", "frouros", "ADWIN", "value by value, reset after an alarm", "numbers",
        nulls=50_000, runs=20, before=1_000, real=100_000,
    ),
    Candidate("Frouros KSWIN", "frouros", "KSWIN", "value by value, reset after an alarm", "numbers", **_SLOW),
    Candidate(
        "Frouros PageHinkley", "frouros", "PageHinkley", "value by value, reset after an alarm", "numbers",
        nulls=100_000, runs=20,
    ),
    Candidate(
        "Frouros KSTest", "frouros", "KSTest",
        "windows of 1,000 rows against the reference, alpha .01 as in its README; ChiSquareTest for categories",
        nulls=200_000, runs=20,
    ),
    Candidate(
        "Evidently, 1,000 rows", "evidently", "1000", "DataDriftPreset, windows of 1,000 rows",
        nulls=200_000, runs=30,
    ),
    Candidate(
        "Evidently, 5,000 rows", "evidently", "5000", "DataDriftPreset, windows of 5,000 rows",
        nulls=200_000, runs=20, phase=5_000,
    ),
    Candidate("NannyML", "nannyml", "chunks", "UnivariateDriftCalculator, chunks of 1,000 rows"),
    Candidate("whylogs", "whylogs", "drift scores", "calculate_drift_scores, windows of 1,000 rows, DRIFT alarms"),
    Candidate(
        "alibi-detect CVM", "alibi_detect", "CVMDriftOnline",
        "ert 150, windows 20 and 40 (the documentation's example), reference of 1,000", "numbers",
        reference=1_000, **_SLOW,
    ),
    Candidate(
        "alibi-detect MMD", "alibi_detect", "MMDDriftOnline",
        "ert 150, window 20, reference of 1,000; real sets: all columns together, standardised", "numbers",
        nulls=2_000, runs=2, before=100, real=1_500, reference=1_000, joint=True,
        only=("gauss", "shift_.25", "shift_1", "abrupt_insects"),
    ),
)  # fmt: skip

CANDIDATES = (*OURS, *PEERS)

QUICK_STREAMS = ("gauss", "bernoulli_.2", "ar_.9", "daily_sine", "shift_.25", "shift_1", "sd_x1.5", "nulls_.05",
                 "ratio_.50_.55")  # fmt: skip
"""What `--quick` runs, with a tenth of the values and runs."""
