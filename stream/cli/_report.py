"""``--html``: the page of a replay, written to a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

import driftbus
from driftbus.schemas.configtypes import format_duration
from driftbus.schemas.errors import ConfigError
from driftbus.stream.cli._replaying import Say
from driftbus.stream.files.filetimes import when
from driftbus.stream.plan import MonitorPlan, Plans
from driftbus.stream.replay.filereplay import FileReplay
from driftbus.stream.replay.replay import Replay
from driftbus.stream.replay.topicreplay import TopicReplay
from driftbus.stream.report.build import build, span_of
from driftbus.stream.report.model import Facts
from driftbus.stream.report.page import render
from driftbus.stream.report.ruler import Ruler

Pairs = list[tuple[str, str]]


def writable(path: Path) -> None:
    """Say so before the replay, not after it, when the page can't be written.

    Raises:
        ConfigError: it can't.
    """
    if path.is_dir() or not path.parent.is_dir():
        raise ConfigError(f"{path} can't be written: there is no such folder", key="--html")


def write_page(say: Say, path: Path, replay: Replay, facts: Facts, ruler: Ruler, pane_ms: int) -> None:
    """Write the page and say where it is.

    Raises:
        ConfigError: it can't be written.
    """
    assert replay.tracks is not None
    replay.tracks.finish()
    first, last = span_of(replay.tracks, pane_ms)
    ruler = replace(ruler, first_ms=first, last_ms=max(last, first + 1))
    page = render(build(replay.history, replay.tracks, replace(facts, version=driftbus.__version__), ruler, pane_ms))
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as e:
        raise ConfigError(f"{path} can't be written: {e.strerror}", key="--html") from e
    say(f"  report: {click.style(str(path), bold=True)}")


def file_ruler(file: FileReplay) -> Ruler:
    """The axis of a file: its times, or its rows where it has none."""
    return Ruler(0, 1, timed=bool(file.timeline.column), row_at=file.timeline.row_at)


def file_facts(file: FileReplay, replay: Replay, notes: Sequence[str], steps: Pairs) -> Facts:
    """What is known of a file and its reference."""
    first, last = file.timeline.span()
    times = [("time", f"{when(first)} to {when(last)}, from {file.timeline.column}")] if file.timeline.column else []
    return Facts(
        source=file.table.name,
        reference=f"{file.training.name}, {file.training.rows:,} rows",
        summary=[("rows", f"{file.rows:,}"), *times, ("pane", format_duration(file.pane_ms))],
        left_out=file.left_out,
        notes=[*file.notes, *notes, *_uncounted(replay, "row")],
        settings=_settings(file.plans, [file.monitor]),
        next=steps,
    )


def topic_facts(topics: TopicReplay, replay: Replay, chosen: Sequence[str]) -> Facts:
    """What is known of topics and their profiles."""
    panes = {format_duration(topics.config.pane_ms(name)) for name in chosen}
    references = {
        f"{p.source or p.profile_id[:12]}, {p.rows:,} rows"
        for (name, _), p in topics.profiles.items()
        if name in chosen
    }
    return Facts(
        source=", ".join(topics.topics),
        reference="; ".join(sorted(references)),
        summary=[
            ("monitor", ", ".join(chosen)),
            ("records", f"{replay.rows:,}"),
            ("partitions", f"{sum(topics.topics.values())}"),
            ("pane", ", ".join(sorted(panes))),
        ],
        notes=[*topics.notes, *_uncounted(replay, "record")],
        settings=_settings(topics.plans, chosen),
        next=[("driftbus run", "watches the topic from now on")],
    )


def _uncounted(replay: Replay, noun: str) -> list[str]:
    history = replay.history
    found = [
        f"{count:,} {noun}s were not counted ({reason}); the first is {topic}[{partition}] {offset:,}: {message}"
        for reason, count in history.rejected.items()
        for topic, partition, offset, message in [history.first_rejected[reason]]
    ]
    late = replay.late()
    return [*found, f"{late:,} {noun}s came too late to be judged"] if late else found


def _settings(plans: Plans, chosen: Sequence[str]) -> Pairs:
    found: Pairs = []
    for name in chosen:
        found += _of_monitor(plans.monitors[name], f"{name}: " if len(chosen) > 1 else "")
    return found


def _of_monitor(plan: MonitorPlan, prefix: str) -> Pairs:
    config = plan.config
    detection = config.detection.model_dump(mode="json", exclude_none=True)
    pairs = [(key.replace("_", " "), _words(value)) for key, value in detection.items()]
    pairs.append(("pane", format_duration(plan.pane_ms)))
    if config.segments:
        pairs.append(("segments", ", ".join(config.segments)))
    pairs += [(f"profile of {s.stream}", s.profile.profile_id) for s in plan.streams]
    pairs.append(("fingerprint", plan.fingerprint))
    return [(prefix + key, value) for key, value in pairs]


def _words(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(v)}" for key, v in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)
