"""Replays, learning and profiles over topics of a real Kafka."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka.scenario import MONITOR, START_MS, Scenario, rows

from driftbus.schemas.config import Config
from driftbus.schemas.errors import ConfigError
from driftbus.stream.cli.main import run
from driftbus.stream.replay.sources import Point, SourceReader, parse_point
from driftbus.stream.worker.learning import learn_from_topic
from driftbus.stream.worker.profiles import find_profiles
from harness.broker import Broker
from harness.process import wait_for

pytestmark = pytest.mark.kafka

ROWS = 12_000


@pytest.fixture(scope="module")
def scenario(kafka: Broker) -> Iterator[Scenario]:
    """Records with a change in the middle."""
    made = Scenario(kafka, partitions=4, overrides={"run": {"seal_after": "2s", "preview_every": "500ms"}})
    records = rows(ROWS, seed=2, drift_at=ROWS // 2)
    made.produce(records)
    yield made
    made.close()


def configured(scenario: Scenario, tmp_path: Path, **monitor: Any) -> Path:
    document = scenario._document()
    document["monitors"][MONITOR] |= monitor
    path = tmp_path / "driftbus.yaml"
    path.write_text(json.dumps(document))
    return path


def replay(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[str, list[dict[str, Any]]]:
    capsys.readouterr()
    assert run(["replay", *map(str, arguments), "--out", "-"]) == 0
    printed = capsys.readouterr()
    return printed.err, [json.loads(line) for line in printed.out.splitlines()]


def test_a_replay_gives_the_events_that_the_worker_gave(
    scenario: Scenario, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said, events = replay(capsys, "-c", configured(scenario, tmp_path))
    ids = {event["id"] for event in events}
    assert scenario.expected().keys() <= ids
    assert f"{scenario.source} (4 partitions), {ROWS:,} records" in said
    assert "segment" not in said
    assert "country=PT" in said
    assert "1 incident" in said
    scenario.start()
    wait_for(lambda: scenario.published().keys() >= ids, 60.0, "the worker's events")
    assert scenario.published().keys() == ids
    explained(scenario, capsys, tmp_path)


def explained(scenario: Scenario, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What the worker published is told as what a replay wrote is."""
    config = configured(scenario, tmp_path)
    out = tmp_path / "events.jsonl"
    assert run(["replay", "-c", str(config), "--out", str(out)]) == 0
    assert "next: driftbus explain " in capsys.readouterr().out
    assert run(["explain", "-c", str(config)]) == 0
    listed = capsys.readouterr().out
    assert run(["explain", "--events", str(out)]) == 0
    assert capsys.readouterr().out.replace(f" --events {out}", "") == listed
    name = listed.splitlines()[1].split()[0]
    assert run(["explain", name, "-c", str(config)]) == 0
    told = capsys.readouterr().out
    assert run(["explain", name, "--events", str(out)]) == 0
    assert capsys.readouterr().out == told
    assert f"{scenario.source}[3]" in told


def test_part_of_a_topic(scenario: Scenario, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = configured(scenario, tmp_path)
    said, events = replay(capsys, "-c", config, "--to", 1_000)
    assert "4,000 records" in said
    # within a segment its own field has one value only, which the reference of all rows does not
    assert {event["column"] for event in events} <= {"country"}
    said, events = replay(capsys, "-c", config, "--from", "0:2500,1:2500,2:2500", "--to", "3:100")
    assert "1,600 records" in said
    for event in events:
        for r in event["evidence"]["ranges"]:
            assert r["from_offset"] >= 2_500 or r["partition"] == 3
            assert r["to_offset"] <= 3_000


def test_a_page_of_a_topic(scenario: Scenario, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    _, events = replay(capsys, "-c", configured(scenario, tmp_path), "--html", page)
    html = page.read_text(encoding="utf-8")
    [incident] = {event["incident_id"] for event in events if event["kind"] == "incident"}
    assert incident[:8] in html
    for column in {event["column"] for event in events if event["kind"] == "drift" and event["column"]}:
        assert f'<bdi class="name">{column}</bdi>' in html
    assert scenario.source in html
    assert "http://" not in html.replace("http://www.w3.org/", "")
    assert run(["replay", "-c", str(configured(scenario, tmp_path)), "--html", str(tmp_path)]) == 2


def test_a_backtest_over_a_range_of_the_topic(
    scenario: Scenario, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "study.json"
    arguments = ["--try", "false_alarms_per_week=1", "--drift", "shift=1", "--starts", "2", "--json", str(out)]
    calm = ["--to", str(ROWS // 8)]
    assert run(["backtest", "-c", str(configured(scenario, tmp_path)), *calm, *arguments]) == 0
    assert f"{scenario.source} {ROWS // 2:,} rows" in capsys.readouterr().out
    told = json.loads(out.read_text())
    [configuration] = told["configurations"]
    assert configuration["alarms"] == 0
    [shift] = configuration["drifts"]
    assert shift["found"] == shift["trials"] == 6, "three numeric columns, two places"
    assert shift["median_delay_rows"] < 500


def test_points(scenario: Scenario) -> None:
    assert parse_point("2023-11-14T22:13:20Z", "--from") == Point(time_ms=START_MS)
    assert parse_point("0:5, 3:7", "--from") == Point(offsets={0: 5, 3: 7})
    assert parse_point("", "--from") is None
    with pytest.raises(ConfigError, match="neither a time nor offsets"):
        parse_point("yesterday", "--from")
    reader = SourceReader(scenario.config.kafka, {scenario.source: 4}, Point(time_ms=0), Point(time_ms=1))
    try:
        assert reader.records == 0
        assert not reader.left
    finally:
        reader.close()


def test_a_reader_holds_what_is_ahead_and_reads_everything_once(scenario: Scenario) -> None:
    reader = SourceReader(scenario.config.kafka, {scenario.source: 4})
    seen: dict[int, list[int]] = {p: [] for p in range(4)}
    try:
        while reader.left:
            for batch in reader.poll():
                seen[batch.partition] += batch.offsets.tolist()
            least = min((len(offsets) for p, offsets in seen.items() if (scenario.source, p) in reader.left), default=0)
            reader.hold({(scenario.source, p) for p, offsets in seen.items() if len(offsets) > least + 100})
    finally:
        reader.close()
    assert all(offsets == list(range(ROWS // 4)) for offsets in seen.values())


def test_a_missing_profile_is_learned_from_the_topic(
    scenario: Scenario, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    learn = {"period": "60s", "min_rows": 1_000, "max_rows": 2_000}
    path = configured(scenario, tmp_path, profile=None, learn=learn)
    said, events = replay(capsys, "-c", path)
    assert "has no recorded profile: learned from the beginning" in said
    assert {e["column"] for e in events if e["kind"] == "drift" and e["aspect"] != "volume"} >= {"income", "country"}
    document = json.loads(path.read_text())
    config = Config.model_validate(document)
    told: list[float] = []
    found = [
        learn_from_topic(config, MONITOR, "predictions", 4, wait=wait, tell=lambda share, _: told.append(share))
        for wait in (True, False)
    ]
    assert found[0].profile_id == found[1].profile_id
    assert [c.name for c in found[0].columns] == ["income", "age", "country", "p_default"]
    assert found[0].column("p_default").role == "score"
    assert found[0].learned_until_ms == START_MS + 60_000
    assert found[0].rows == 2_000
    assert told[-1] == 1.0


def test_profiles_are_published_and_found(
    scenario: Scenario, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = configured(scenario, tmp_path, profile=None)
    lines = ["ts,id,income,age,country,p_default"]
    lines += [
        f"{r['ts']},{r['id']},{r['income']},{r['age']},{r['country'] or ''},{r['p_default']}" for r in rows(900, 5, 900)
    ]
    train = tmp_path / "train.csv"
    train.write_text("\n".join(lines))
    assert run(["profile", str(train), "-c", str(path), "--publish"]) == 0
    assert f"published {MONITOR}/predictions" in capsys.readouterr().out
    config = Config.model_validate(json.loads(path.read_text()))
    profile = find_profiles(config, 1)[MONITOR, "predictions"]
    assert [(c.name, c.role) for c in profile.columns] == [
        ("income", "feature"),
        ("age", "feature"),
        ("country", "feature"),
        ("p_default", "score"),
    ]
    assert profile.rows == 900


def test_without_a_broker_the_exit_code_says_so(tmp_path: Path) -> None:
    path = tmp_path / "driftbus.yaml"
    path.write_text("kafka: {bootstrap: '127.0.0.1:1'}\nmonitors: {m: {predictions: {topic: t}}}\n")
    assert run(["replay", "-c", str(path)]) == 3
