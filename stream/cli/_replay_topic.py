"""``driftbus replay -c driftbus.yaml``: the part that meets the terminal."""

from __future__ import annotations

from pathlib import Path

import click

import driftbus
from driftbus.schemas.config import Config
from driftbus.schemas.configtypes import format_duration
from driftbus.schemas.events import DriftEvent
from driftbus.schemas.jsonlines import event_json
from driftbus.stream.cli._replaying import explain_steps, lines_to, progress, say_note, say_result, speaker
from driftbus.stream.cli._report import topic_facts, writable, write_page
from driftbus.stream.files.filetimes import when
from driftbus.stream.judge import Decided
from driftbus.stream.replay.canonical import Event, canonical_lines
from driftbus.stream.replay.live import against_live, verdict
from driftbus.stream.replay.sources import parse_point
from driftbus.stream.replay.topicreplay import TopicReplay, prepare
from driftbus.stream.replay.tracks import Tracks
from driftbus.stream.replay.words import plain
from driftbus.stream.report.ruler import Ruler

DIFFERENT = 1
"""Exit code when live and replay differ."""


def run(
    config: Config,
    monitor: str,
    from_: str,
    to: str,
    out: Path | None,
    html: Path | None,
    fail_on_drift: bool,
    verify: bool,
) -> int | None:
    """Replay, say what there is to say, and give the exit code."""
    if html is not None:
        writable(html)
    topics = prepare(config, monitor, parse_point(from_, "--from"), parse_point(to, "--to"))
    say = speaker(out)
    chosen = [monitor] if monitor else sorted(topics.plans.monitors)
    for line in _introduction(topics, chosen):
        say(line)
    decided: list[Event] = []

    def take(event: Decided) -> None:
        if event.monitor in chosen and (verify or out is not None):
            decided.append(event_json(event))

    with lines_to(out) as write, progress(topics.reader.records, "records") as done:
        replay = topics.run(take, done, Tracks() if html else None)
        # which partition was read first must not show
        for line in canonical_lines(decided):
            write(line)
    history = replay.history
    for reason, count in history.rejected.items():
        topic, partition, offset, message = history.first_rejected[reason]
        first = f"{topic}[{partition}] {offset}: {message}"
        say_note(say, f"{count:,} records not counted ({reason}), the first is {first}")
    if late := replay.late():
        say_note(say, f"{late:,} records came too late to be judged")
    replay.only(chosen)
    profiles = [topics.profiles[name, stream] for name in chosen for stream in topics.config.monitors[name].streams]

    def place(event: DriftEvent) -> str:
        around = (event.since_high_ms - event.since_low_ms) // 2
        return f"since {when(event.since_ms)}" + (f" (±{format_duration(around)})" if around else "")

    say_result(say, history, profiles, place)
    if html is not None:
        pane_ms = min(topics.config.pane_ms(name) for name in chosen)
        write_page(say, html, replay, topic_facts(topics, replay, chosen), Ruler(0, 1), pane_ms)
    if verify:
        found = against_live(config, topics.plans, chosen, decided)
        say()
        for line in verdict(found):
            say(f"  {plain(line)}")
        return None if found.equal else DIFFERENT
    steps = explain_steps(history, out)
    if out is None:
        steps += ["add --out events.jsonl", "driftbus run"]
    if steps:
        say(f"  next: {'  ·  '.join(steps)}")
    return 1 if fail_on_drift and history.episodes else None


def _introduction(topics: TopicReplay, chosen: list[str]) -> list[str]:
    title = click.style(f"driftbus {driftbus.__version__}", bold=True)
    read = ", ".join(f"{topic} ({partitions} partitions)" for topic, partitions in topics.topics.items())
    lines = [f"{title}  {read}, {topics.reader.records:,} records"]
    for name in chosen:
        pane = format_duration(topics.config.pane_ms(name))
        columns = sum(len(topics.profiles[name, s].columns) for s in topics.config.monitors[name].streams)
        lines.append(f"  using     {name}: {columns} columns · pane {pane}")
    return [*lines, *(f"  note      {note}" for note in topics.notes)]
