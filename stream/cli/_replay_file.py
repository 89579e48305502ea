"""``driftbus replay DATA``: the part that meets the terminal."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import click

import driftbus
from driftbus.schemas.config import Config
from driftbus.schemas.configtypes import format_duration
from driftbus.schemas.events import DriftEvent
from driftbus.schemas.vectorparts import DIRECTIONS, derived_columns
from driftbus.stream.cli._replaying import events_to, explain_steps, progress, say_note, say_result, speaker
from driftbus.stream.cli._report import file_facts, file_ruler, writable, write_page
from driftbus.stream.files.filetimes import when
from driftbus.stream.files.survey import Wishes
from driftbus.stream.replay.filelabels import LabelWishes
from driftbus.stream.replay.filereplay import EVERY_MS, FileReplay, prepare
from driftbus.stream.replay.tracks import Tracks
from driftbus.stream.replay.words import plain


@dataclass(frozen=True, slots=True)
class FileArguments:
    """The command line of a replay over a file."""

    data: Path
    reference: Path
    wishes: Wishes
    every_ms: int | None
    pane_ms: int | None
    segments: tuple[str, ...]
    config: Config | None
    monitor: str
    out: Path | None
    html: Path | None
    fail_on_drift: bool
    labels: LabelWishes = field(default_factory=LabelWishes)


def run(arguments: FileArguments) -> int | None:
    """Replay, say what there is to say, and give the exit code."""
    a = arguments
    file = prepare(
        a.data,
        a.reference,
        a.wishes,
        every_ms=a.every_ms,
        pane_ms=a.pane_ms,
        segments=a.segments,
        config=a.config,
        monitor=a.monitor,
        labels=a.labels,
    )
    if a.html is not None:
        writable(a.html)
    say = speaker(a.out)
    for line in _introduction(file, a):
        say(line)
    with events_to(a.out) as write, progress(file.rows, "rows") as done:
        replay = file.run(write, done, Tracks() if a.html else None)
    history = replay.history
    if file.table.misfit_note():
        say_note(say, file.table.misfit_note())
    for reason, count in history.rejected.items():
        _, _, row, message = history.first_rejected[reason]
        say_note(say, f"{count:,} rows not counted ({reason}), the first is row {row:,}: {message}")

    def place(event: DriftEvent) -> str:
        row, low, high = map(file.timeline.row_at, (event.since_ms, event.since_low_ms, event.since_high_ms))
        around = (high - low) // 2
        return f"since row {row:,}" + (f" (±{around:,})" if around else "")

    say_result(say, history, [s.profile for s in file.plans.monitors[file.monitor].streams], place)
    if a.html is not None:
        notes = list(filter(None, [file.table.misfit_note()]))
        facts = file_facts(file, replay, notes, _explained(a, file.monitor))
        write_page(say, a.html, replay, facts, file_ruler(file), file.pane_ms)
    say(f"  next: {'  ·  '.join([*explain_steps(history, a.out), *_next_steps(a, file.monitor)])}")
    return 1 if a.fail_on_drift and history.episodes else None


def _introduction(file: FileReplay, a: FileArguments) -> list[str]:
    columns = file.profile.columns
    numeric = sum(column.kind == "numeric" for column in columns)
    first, last = file.timeline.span()
    timed = file.timeline.column
    title = click.style(f"driftbus {driftbus.__version__}", bold=True)
    span = f", {when(first)} .. {when(last)}" if timed else ""
    reference = f"reference {file.training.name} {file.training.rows:,} rows"
    using = f"{len(columns)} columns ({numeric} numeric, {len(columns) - numeric} categorical)"
    times = timed or f"every {format_duration(a.every_ms or EVERY_MS)}"
    lines = [
        f"{title}  {a.data.name} {file.rows:,} rows{span} · {reference}",
        f"  using     {using} · time: {times} · pane {format_duration(file.pane_ms)}",
    ]
    roles = [f"{column.role}: {column.name}" for column in columns if column.role != "feature"]
    if roles:
        lines.append(f"  read as   {' · '.join(roles)}")
    embeddings = dict.fromkeys(derived_columns(column.name for column in columns).values())
    if embeddings:
        names = ", ".join(map(plain, embeddings))
        lines.append(f"  embedding {names}: by length, norm and {DIRECTIONS} projections each")
    if file.labels is not None:
        of = f"{file.labels.topic} · " if a.labels.path is not None else ""
        cohort = file.plans.monitors[file.monitor].config.performance.cohort
        told = f"{of}{file.labels.label}, {file.labels.time_ms.size:,} labels · cohort {format_duration(cohort)}"
        lines.append(f"  labels    {plain(told)}")
    if file.left_out:
        lines.append(f"  left out  {', '.join(f'{plain(name)} ({why})' for name, why in file.left_out)}")
    return [*lines, *(f"  note      {plain(note)}" for note in file.notes)]


def _next_steps(a: FileArguments, monitor: str) -> list[str]:
    steps = [
        f"driftbus profile {a.reference} --monitor {monitor} --publish",
        "driftbus init --bootstrap HOST:9092 --topic TOPIC",
    ]
    if a.out is None:
        return ["add --out events.jsonl", *steps]
    return [f"events are in {a.out}", *steps] if str(a.out) != "-" else steps


def _explained(a: FileArguments, monitor: str) -> list[tuple[str, str]]:
    """The same for the page, with what each is for."""
    return [
        (f"driftbus replay {a.data} --reference {a.reference} --out events.jsonl", "gives the events, one a line"),
        ("driftbus explain ID --events events.jsonl", "tells one incident at a terminal"),
        (f"driftbus backtest {a.data} --reference {a.reference}", "says how large a drift is found how fast"),
        (
            f"driftbus profile {a.reference} --monitor {monitor} --publish",
            "makes it the reference of a live monitor",
        ),
        ("driftbus init --bootstrap HOST:9092 --topic TOPIC", "proposes a configuration for your topic"),
    ]
