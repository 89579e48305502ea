"""The detection benchmark can't lie: known alarms give known figures, and what a peer's process says is checked."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.detection import page, running, tasks
from benchmarks.detection.candidates import CANDIDATES, OURS, PEERS, Candidate
from benchmarks.detection.losses import losses
from benchmarks.detection.peers.protocol import Job, Said, Sequential, Windowed, read_answer, read_job, write_job
from benchmarks.detection.real import RealSet
from benchmarks.detection.results import Results
from benchmarks.detection.scoring import Found, Quiet, found, on_real, quiet

FAKE = """
from protocol import Said, serve

def at_known_places(job):
    said = Said(rows=job.values.shape[1])
    for at in (100, 5_040, 5_050, 6_000, 9_000):
        said.alarm(at, new=at != 5_050, since=at - 30)
    return [said for _ in job.kinds]

def broken(job):
    raise ValueError("can't")

serve(["numpy"], {"known": at_known_places, "broken": broken})
"""


def said(*at: int, rows: int = 10_000, since: int | None = None) -> Said:
    one = Said(rows=rows)
    for row in at:
        one.alarm(row, since=since)
    return one


def test_alarms_at_known_places_have_their_delay_duplicates_and_error() -> None:
    run = said(100, 5_040, 6_000, 9_000, since=5_010)
    scored = found([run], [5_000], 10_000)
    assert (scored.delays, scored.duplicates, scored.errors) == ([40], [1], [10])
    assert (scored.quantile(0.5), scored.missed) == (40, 0)


def test_an_alarm_at_the_change_is_not_of_it_and_one_after_the_horizon_is_none() -> None:
    assert found([said(5_000)], [5_000], 1_000).delays == [math.inf]
    assert found([said(6_001)], [5_000], 1_000).delays == [math.inf]
    assert found([said(6_000)], [5_000], 1_000).delays == [1_000]


def test_a_detector_that_says_nothing_misses_everything_and_has_no_false_alarm() -> None:
    scored = found([said(), said()], [10, 20], 1_000)
    assert (scored.missed, scored.quantile(0.5), scored.duplicates) == (1, math.inf, [])
    assert quiet([said(), said()]) == Quiet(20_000, 0, 0)
    assert page.rate(Quiet(20_000, 0, 0)) == "< 150"


def test_a_miss_is_longer_than_any_delay() -> None:
    scored = Found([10, 20, math.inf, math.inf], [], [], [])
    assert (scored.quantile(0.5), scored.quantile(0.95), scored.missed) == (20, math.inf, 0.5)
    assert page.delay(scored, "shift_1") == "20 / > 10k; missed 50 %"


def test_a_continuous_alarm_is_one_false_alarm_and_counted_in_full_beside_it() -> None:
    job = Job("x", ["numeric"], np.zeros((1, 10)), np.repeat([[0.0, 1, 1, 0, 1]], 10, axis=1), [-1])
    always = Windowed(lambda _: lambda columns, window: [bool(x.mean() > 0) for x in window], rows=10)
    (run,) = always(job)
    assert (run.at, run.new, run.since, run.rows) == ([20, 30, 50], [True, False, True], [10, 20, 40], 50)
    assert quiet([run]) == Quiet(50, 2, 3)
    assert page.rate(Quiet(50, 2, 3)) == "40k (60k)"


def test_a_stream_is_followed_for_a_while_after_the_first_alarm_that_follows_the_change() -> None:
    job = Job("x", ["numeric"] * 2, np.zeros((2, 1)), np.zeros((2, 100)), [50, -1], after=20)
    job.values[:, [9, 59, 99]], job.values[0, 3] = 1, np.nan
    first, second = Sequential(lambda seed: None, lambda _, x: (x == 1, 5))(job)
    assert (first.at, first.since, first.rows) == ([10, 60], [5, 55], 80)
    assert (second.at, second.rows) == ([10, 60, 100], 100)


def test_a_real_set_counts_before_after_and_on_controls() -> None:
    scored = on_real([said(50, 150), said(400), said(160)], ["a", "b", "c"], [100], 100, ["c"])
    assert (scored.before, scored.found, scored.controls, scored.episodes) == (1, (2,), 1, 4)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Candidate:
    """A peer of this environment whose alarms are known."""
    peers = tmp_path / "peers"
    peers.mkdir()
    (peers / "run_fake.py").write_text(FAKE)
    (peers / "protocol.py").write_bytes((running.PEERS / "protocol.py").read_bytes())
    (peers / "fake.txt").write_text("")
    monkeypatch.setattr(running, "PEERS", peers)
    monkeypatch.setattr(running, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(running, "environment", lambda peer: Path(sys.executable))
    return Candidate("fake", "fake", "known", "", nulls=100_000)


def test_a_peers_process_gets_arrays_and_its_answers_are_kept(fake: Candidate, monkeypatch: pytest.MonkeyPatch) -> None:
    task = next(t for t in tasks.simulated(fake, quick=True) if t.stream == "gauss")
    (answer,) = running.run_peer([task])
    assert answer.versions == {"numpy": np.__version__}
    assert (quiet(answer.said), answer.error) == (Quiet(10_000, 4, 5), "")
    monkeypatch.setattr(running, "environment", lambda peer: pytest.fail("it was asked again"))
    assert running.run_peer([task]) == [answer]


def test_what_a_peer_cannot_judge_is_told_in_its_words(fake: Candidate) -> None:
    broken = Candidate("fake", "fake", "broken", "", nulls=20_000, runs=1, only=("gauss",))
    (answer,) = running.run_peer(list(tasks.simulated(broken, quick=True)))
    assert (answer.said, answer.error) == ([], "ValueError: can't")


@pytest.mark.parametrize(
    "wrong",
    [
        {"at": [20, 10], "new": [True, True], "since": [None, None], "rows": 50},
        {"at": [10], "new": [], "since": [None], "rows": 50},
        {"at": [60], "new": [True], "since": [None], "rows": 50},
    ],
)
def test_answers_that_do_not_fit_are_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    path = tmp_path / "answer.json"
    path.write_text(json.dumps({"said": [wrong], "versions": {}}))
    with pytest.raises(ValueError):
        read_answer(path)


def test_jobs_survive_their_file(tmp_path: Path) -> None:
    job = Job("x", ["bits", "categorical"], np.ones((2, 3)), np.array([[1, np.nan], [2, -1]]), [1, -1], 5, True, 7)
    write_job(tmp_path / "job.npz", job)
    back = read_job(tmp_path / "job.npz")
    assert (back.detector, back.kinds, back.changes, back.after, back.joint, back.seed) == (
        "x", ["bits", "categorical"], [1, -1], 5, True, 7,
    )  # fmt: skip
    np.testing.assert_array_equal(back.values, job.values)


def test_all_candidates_judge_the_same_values() -> None:
    """The change stays where it is relative to the values, whatever is left out before it."""
    long, short = (Candidate("x", "x", "x", "", "numbers", runs=1, before=n, only=("shift_1",)) for n in (5_000, 500))
    (whole,), (part,) = (list(tasks.simulated(one, quick=True)) for one in (long, short))
    assert part.job.changes[0] == 500
    after = whole.job.values[0, whole.job.changes[0] - 500 :][:5_000]
    np.testing.assert_array_equal(part.job.values[0, :5_000], after)


def test_detectors_of_errors_get_zeros_and_ones_and_nothing_else() -> None:
    bits = Candidate("x", "x", "x", "", "bits", nulls=50_000, runs=1)
    given = {task.stream: task.job for task in tasks.simulated(bits, quick=True)}
    assert "gauss" not in given
    assert set(given) >= {"bernoulli_.2", "ratio_.50_.55", "nulls_.05"}
    assert all(np.isin(job.values, (0, 1)).all() and job.reference.mean() <= 0.5 for job in given.values())


def test_ours_is_the_real_group_and_finds_a_shift(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "CACHE", tmp_path)
    ours = Candidate("driftbus, undivided", "", "undivided", "", runs=10, only=("shift_1",))
    (task,) = tasks.simulated(ours, quick=True)
    scored = found(running.run_ours(task).said, task.job.changes, 10_000)
    assert scored.missed == 0
    assert scored.quantile(0.5) < 150


def test_a_set_is_judged_shuffled_as_well_and_cut_around_its_change() -> None:
    rows = np.arange(60_000, dtype=np.float64)
    whole = RealSet("some", {"a": rows[:100], "b": rows[:100]}, {"a": rows, "b": -rows}, 32, 1.0, (30_000,), 600)
    real, shuffled = tasks.on_set(Candidate("x", "x", "x", "", real=8_000), whole)
    assert real.job.values.shape == shuffled.job.values.shape == (2, 4_000)
    assert real.real is not None
    assert (real.real.changes, real.job.values[0, 0]) == ((2_000,), 28_000)
    assert shuffled.stream == "some shuffled"
    assert np.any(np.diff(shuffled.job.values[0]) < 0)


def results() -> Results:
    """driftbus beside one peer that is better at a shift and worse at another."""
    ours, peer = OURS[0].name, PEERS[0].name
    return Results(
        quiet={ours: {"gauss": Quiet(10**6, 2, 2)}, peer: {"gauss": Quiet(10**5, 0, 0)}},
        found={
            ours: {"shift_1": Found([50, 60], [0, 0], [0, 0], [3, -3]), "shift_.5": Found([70], [0], [0], [1])},
            peer: {"shift_1": Found([40, 45], [1, 0], [2, 0], []), "shift_.5": Found([math.inf], [], [], [])},
        },
    )


def test_losses_are_drawn_from_the_results_and_none_is_hidden() -> None:
    lost = losses(results())
    assert len(lost.changes) == 1
    assert lost.changes[0].startswith(f"- shift_1: {PEERS[0].name} 40 / 45 values, none in 100,000 values")
    swapped = results()
    swapped.found = dict(zip(swapped.found, reversed(swapped.found.values()), strict=True))
    assert [line.split(":")[0] for line in losses(swapped).changes] == ["- shift_.5"]


def test_results_survive_their_file_and_the_page_has_a_place_for_each_table(tmp_path: Path) -> None:
    results().save(tmp_path / "results.json")
    again = Results.load(tmp_path / "results.json")
    assert again == results()
    document = tmp_path / "page.md"
    document.write_text(page.DOCUMENT.read_text())
    page.write(again, document)
    first = document.read_text()
    page.write(again, document)
    assert document.read_text() == first
    assert "40 / 45" in first


def test_every_peer_has_a_script_that_compiles_and_pins_but_those_of_this_environment() -> None:
    for peer in {one.peer for one in CANDIDATES} - {""}:
        script = running.PEERS / f"run_{peer}.py"
        subprocess.run([sys.executable, "-m", "py_compile", script], check=True)
        assert "driftbus" not in script.read_text().split('"""', 2)[2]
        if peer not in running.IN_THIS_ENVIRONMENT:
            assert "==" in (running.PEERS / f"{peer}.txt").read_text()
