"""What replays of files and of topics share on the terminal: events out, progress, the result."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TextIO

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from driftbus.detectors.profile import Profile
from driftbus.schemas.configtypes import parse_duration_ms
from driftbus.schemas.errors import ConfigError
from driftbus.schemas.jsonlines import event_json, json_line
from driftbus.stream.judge import Decided
from driftbus.stream.replay import summary
from driftbus.stream.replay.history import History
from driftbus.stream.replay.performance import performance_lines
from driftbus.stream.replay.words import plain
from driftbus.stream.scene import rank

STANDARD_OUTPUT = "-"


class Say(Protocol):
    """Prints a line for a person."""

    def __call__(self, line: str = "") -> None: ...


class Duration(click.ParamType):
    """A duration such as 10s, 5m or 1h, in milliseconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            found = parse_duration_ms(value)
        except ValueError as e:
            self.fail(str(e), param, ctx)
        if found < 1:
            self.fail("it must be at least 1ms", param, ctx)
        return found


def speaker(out: Path | None) -> Say:
    """Lines go to standard output, or to standard error when that is where events go."""
    err = str(out) == STANDARD_OUTPUT

    def say(line: str = "") -> None:
        click.echo(line, err=err)

    return say


@contextmanager
def lines_to(out: Path | None) -> Iterator[Callable[[str], None]]:
    """A function that writes a line; it does nothing when `out` is None."""
    if out is None:
        yield lambda line: None
        return
    if str(out) == STANDARD_OUTPUT:
        yield lambda line: click.echo(line)
        return
    try:
        file: TextIO = out.open("w", encoding="utf-8")
    except OSError as e:
        raise ConfigError(f"{out} can't be written: {e.strerror}", key="--out") from e
    with file:
        yield lambda line: print(line, file=file)


@contextmanager
def events_to(out: Path | None) -> Iterator[Callable[[Decided], None]]:
    """A function that writes an event as a line of JSON; it does nothing when `out` is None."""
    with lines_to(out) as write:
        yield (lambda event: None) if out is None else lambda event: write(json_line(event_json(event)))


@contextmanager
def progress(total: int | None, noun: str) -> Iterator[Callable[[int], None]]:
    """A function that moves a progress bar on; there is none unless standard error is a terminal."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    columns = (TextColumn("  "), BarColumn(32), MofNCompleteColumn(), TextColumn(noun), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=False) as bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.advance(task, done)


def say_note(say: Say, note: str) -> None:
    """A remark; what it quotes from the data can't reach the terminal's controls."""
    say(f"  note      {plain(note)}")


def say_result(say: Say, history: History, profiles: Sequence[Profile], place: summary.Place) -> None:
    """The columns, the incidents, the trigger."""
    for section in summary.sections_of(history, profiles):
        say(f"\n  {click.style(section.title, bold=True)}" if section.title else "")
        for line in summary.column_lines(section, history, place):
            say(line)
    measured = performance_lines(history)
    if measured:
        say(f"\n  {click.style('performance', bold=True)}")
        for line in measured:
            say(line)
    columns = sum(len(profile.columns) for profile in profiles)
    say(f"\n  {summary.verdict_line(history, columns)}; {summary.trigger_line(history.triggers)}")


def explain_steps(history: History, out: Path | None) -> list[str]:
    """How the worst incident is explained, from a file of events."""
    if not history.incidents or out is None or str(out) == STANDARD_OUTPUT:
        return []
    worst = max(history.incidents.values(), key=lambda i: (rank(i.severity), i.columns))
    return [f"driftbus explain {worst.incident_id[:8]} --events {out}"]
