"""The page of a replay: what stands on it, and that nothing from the data becomes markup."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from driftbus.detectors.reference import profile_column
from driftbus.stream.cli.main import run
from driftbus.stream.files.survey import Wishes
from driftbus.stream.replay.filereplay import FileReplay, prepare
from driftbus.stream.replay.replay import Replay
from driftbus.stream.replay.tracks import STEPS, Tracks
from driftbus.stream.report.build import build, span_of
from driftbus.stream.report.markup import Html, el, name
from driftbus.stream.report.model import Facts, Page
from driftbus.stream.report.page import render
from driftbus.stream.report.ruler import Ruler
from driftbus.stream.report.shares import BARS, bars_of, quantiles

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>\' & "quoted"',
    "\u202eelpmaxe \u05e9\u05dc\u05d5\u05dd",
    "long " + "x" * 10_000,
    "</title></style><svg onload=alert(1)>",
    "nul\x00bell\x07",
]
MINUTE = 60_000


def frame(names: list[str], rows: int, seed: int, drifted: int = 0, *, at: int = 0) -> pa.Table:
    """Numeric columns, the first ones shifted from a row on."""
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {"ts": (1_700_000_000_000 + np.arange(rows) * MINUTE).astype("M8[ms]")}
    for i, column in enumerate(names):
        values = rng.normal(size=rows)
        if i < drifted:
            values[at:] += 0.4 + 1.2 * (drifted - i - 1) / drifted
        columns[column] = values
    return pa.table(columns)


def replayed(folder: Path, reference: pa.Table, data: pa.Table, **options: Any) -> tuple[FileReplay, Replay]:
    pq.write_table(reference, folder / "train.parquet")
    pq.write_table(data, folder / "new.parquet")
    file = prepare(folder / "new.parquet", folder / "train.parquet", Wishes(), **options)
    replay = file.run(lambda event: None, lambda done: None, Tracks())
    assert replay.tracks is not None
    replay.tracks.finish()
    return file, replay


def page_of(file: FileReplay, replay: Replay) -> Page:
    assert replay.tracks is not None
    first, last = span_of(replay.tracks, file.pane_ms)
    facts = Facts(source=file.table.name, reference=file.training.name, left_out=file.left_out, version="1")
    return build(replay.history, replay.tracks, facts, Ruler(first, last, row_at=file.timeline.row_at), file.pane_ms)


@pytest.fixture(scope="module")
def shifted(tmp_path_factory: pytest.TempPathFactory) -> tuple[FileReplay, Replay]:
    """Two of five columns shift at row 3,000 of 6,000."""
    names = ["a", "b", "c", "d", "e"]
    return replayed(tmp_path_factory.mktemp("shifted"), frame(names, 5_000, 1), frame(names, 6_000, 2, 2, at=3_000))


class Seen(HTMLParser):
    """Elements of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_says_what_drifted_worst_first(shifted: tuple[FileReplay, Replay]) -> None:
    page = page_of(*shifted)
    assert re.match(r"1 incident: 2 of 5 columns drifted, severe since 2023-.*row (2,9|3,0)", page.headline)
    assert [(r.column, r.state) for r in page.rows[:2]] == [("a", "drift"), ("b", "drift")]
    assert {(r.column, r.state) for r in page.rows[2:]} == {("c", "stable"), ("d", "stable"), ("e", "stable")}
    assert page.rows[0].effect > page.rows[1].effect
    (incident,) = page.incidents
    assert [m.column for m in incident.members] == ["a", "b"]
    assert 0.45 < incident.span.low <= incident.span.start <= incident.span.high < 0.55
    assert incident.span.open


def test_histograms_are_of_the_reference_and_of_what_came_after(shifted: tuple[FileReplay, Replay]) -> None:
    drifted, *_, stable = page_of(*shifted).rows
    for row in (drifted, stable):
        assert row.bars is not None
        assert row.bars.before.sum() == pytest.approx(1)
        assert row.bars.after.sum() == pytest.approx(1)
    assert drifted.bars is not None
    centre = np.arange(drifted.bars.before.size)
    assert (drifted.bars.after - drifted.bars.before) @ centre > 3
    assert "from the last alarm to the end" in drifted.after
    assert stable.after.startswith("last ")


def test_the_same_replay_gives_the_same_bytes(shifted: tuple[FileReplay, Replay], tmp_path: Path) -> None:
    names = ["a", "b", "c", "d", "e"]
    again = replayed(tmp_path, frame(names, 5_000, 1), frame(names, 6_000, 2, 2, at=3_000))
    assert render(page_of(*shifted)) == render(page_of(*again))


def test_no_drift_is_a_page_too(tmp_path: Path) -> None:
    page = page_of(*replayed(tmp_path, frame(["a", "b"], 4_000, 1), frame(["a", "b"], 3_000, 2)))
    assert page.headline == "No drift in 2 columns"
    assert "✓ Stable" in render(page)


def test_names_from_the_data_are_never_markup(tmp_path: Path) -> None:
    reference, data = frame(HOSTILE, 5_000, 3), frame(HOSTILE, 4_000, 4, 6, at=2_000)
    tones = np.array([*HOSTILE, "plain"])
    rng = np.random.default_rng(5)
    reference = reference.append_column("tone", pa.array(rng.choice(tones, 5_000)))
    data = data.append_column("tone", pa.array(rng.choice(tones[:3], 4_000)))
    file, replay = replayed(tmp_path, reference, data)
    html = render(page_of(file, replay))
    seen = Seen(html)
    assert "<script>alert(1)</script>" in seen.text
    assert not {tag for tag, _ in seen.tags} & {"img", "iframe", "object", "link", "form", "base", "embed"}
    attributes = {attribute for _, attributes in seen.tags for attribute in attributes}
    assert not {a for a in attributes if a.startswith("on")}
    assert [tag for tag, _ in seen.tags].count("script") == 1
    assert "x" * 500 not in html
    assert "\x00" not in html
    assert html.encode("utf-8")


def test_nothing_is_loaded_from_anywhere(shifted: tuple[FileReplay, Replay]) -> None:
    html = render(page_of(*shifted))
    tags = Seen(html).tags
    policy = next(a["content"] or "" for tag, a in tags if tag == "meta" and a.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    assert not [a for _, a in tags if "src" in a]
    assert {a["href"][:1] for _, a in tags if a.get("href")} == {"#"}  # type: ignore[index]
    assert "url(" not in html
    assert "@import" not in html


def test_escaping_is_where_text_enters() -> None:
    assert el("p", "<b> & 'x'", title='"<') == "<p title=\"&quot;&lt;\">&lt;b&gt; &amp; 'x'</p>"
    assert el("p", Html("<b>ok</b>"), None, ["a", "b"]) == "<p><b>ok</b>ab</p>"
    assert el("i", "\ud800\x1b\ufffe") == "<i>\ufffd\ufffd\ufffd</i>"
    assert len(name("x" * 10_000)) < 1_000


def test_500_columns_are_below_5_mb(tmp_path: Path) -> None:
    names = [f"feature_{i:03d}" for i in range(500)]
    file, replay = replayed(tmp_path, frame(names, 2_000, 6), frame(names, 3_000, 7, 200, at=1_500))
    page = page_of(file, replay)
    assert sum(row.state == "drift" for row in page.rows) >= 190
    assert len(page.rows) == 500
    assert len(render(page).encode()) < 5_000_000


def test_tracks_add_up_whatever_their_number_of_steps(shifted: tuple[FileReplay, Replay]) -> None:
    file, replay = shifted
    assert replay.tracks is not None
    (track,) = replay.tracks.tracks.values()
    assert track.rows[: track.size].sum() == file.rows
    assert STEPS // 2 <= track.size <= STEPS
    assert (np.diff(track.first[: track.size]) > 0).all()
    whole = track.counts[: track.size].sum(axis=0)
    track.shorten(16)
    assert track.size <= 16
    assert (track.counts[: track.size].sum(axis=0) == whole).all()
    assert track.rows[: track.size].sum() == file.rows


def test_tracks_stay_within_their_bound(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("driftbus.stream.replay.tracks._MOST_CELLS", 20_000)
    data = frame(["a", "b"], 4_000, 8)
    regions = pa.array(np.random.default_rng(9).choice(["north", "south", "east"], 4_000))
    data = data.append_column("region", regions)
    _, replay = replayed(tmp_path, data, data, segments=("region",))
    assert replay.tracks is not None
    held = sum(track.counts.size for track in replay.tracks.tracks.values())
    assert 0 < held <= 20_000
    assert any(not group.segment for group in replay.tracks.tracks)


def test_bars_of_many_values_few_values_and_categories() -> None:
    rng = np.random.default_rng(10)
    values = rng.lognormal(3, 1, 20_000)
    column = profile_column("x", values, kind="numeric")
    counts = np.array([*column.counts, 0, 0])
    bars = bars_of(column, counts, counts)
    assert (bars.before.size, bars.even, bars.scale) == (BARS, True, "log")
    assert quantiles(column, counts, np.array([0.5]))[0] == pytest.approx(np.median(values), rel=0.02)
    few = profile_column("n", rng.integers(1, 4, 5_000).astype(float), kind="numeric")
    assert bars_of(few, np.array([*few.counts, 0, 0]), np.array([0, 1, 1, 1, 1, 0, 0])).labels == (
        "1", "2", "3", "above 3",
    )  # fmt: skip
    names = [f"k{i:02d}" for i in range(30)]
    many = profile_column("c", list(np.repeat(names, 10)), kind="categorical")
    after = np.zeros(many.width, np.int64)
    after[29], after[many.value_cells - 1] = 5, 5
    bars = bars_of(many, np.array([*many.counts, 0, 0]), after)
    assert {names[29], "all others", "unseen before"} <= set(bars.labels)
    assert bars.before.sum() == pytest.approx(1)
    assert bars.after.tolist()[-1] == 0.5


@pytest.mark.parametrize(
    ("span_ms", "words"),
    [
        (40, "00:00:00"),
        (7_200_000, "00:30"),
        (30 * 86_400_000, "2023-11-2"),
        (3_000 * 86_400_000, "2024"),
        (0, "00:00"),
    ],
)
def test_ticks_are_round_and_few(span_ms: int, words: str) -> None:
    start = 1_700_006_400_000  # 2023-11-15T00:00Z
    ticks = Ruler(start, start + span_ms).ticks()
    assert len(ticks) <= 8
    assert any(words in text for _, text in ticks)
    assert all(0 <= place <= 1 for place, _ in ticks)


def test_rows_without_times_are_numbered(tmp_path: Path) -> None:
    data = frame(["a"], 4_000, 1)
    file, replay = replayed(tmp_path, data, data, every_ms=1_000)
    page = page_of(file, replay)
    ruler = replace(page.ruler, timed=False)
    assert "2,000" in [words for _, words in ruler.ticks()]
    assert ruler.point(ruler.first_ms) == "row 0"


def test_the_command_writes_it_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replayed(tmp_path, frame(["a", "b"], 4_000, 1), frame(["a", "b"], 3_000, 2, 1, at=1_500))
    page = tmp_path / "report.html"
    command = ["replay", str(tmp_path / "new.parquet"), "--reference", str(tmp_path / "train.parquet")]
    assert run([*command, "--html", str(page)]) == 0
    assert f"report: {page}" in capsys.readouterr().out
    assert "1 incident: 1 of 2 columns drifted" in page.read_text(encoding="utf-8")
    assert run([*command, "--html", str(tmp_path / "no" / "report.html")]) == 2
