"""What the demo shows: a picture of the running system, redrawn on a terminal, or lines in a log."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from driftbus.schemas.events import ComparisonEvent, DriftEvent, Incident, Published, RetrainTrigger
from driftbus.schemas.outcomeevents import PerformanceReport
from driftbus.stream.demo.performance import Performance, summary_lines

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 34
_STYLE = {"": "green", "minor": "yellow", "moderate": "dark_orange", "severe": "bold red"}
_FULL_SCALE_PSI = 0.5
_BOLD = ("retrain", "incident")


def sparkline(values: list[float]) -> str:
    """Population stability indices as bars; a full bar is 0.5 or the largest value, whichever is greater."""
    top = max([_FULL_SCALE_PSI, *values])
    return "".join(_BARS[min(len(_BARS) - 1, int(v / top * len(_BARS)))] for v in values)


@dataclass
class ColumnLine:
    """One monitored column: its index over time and its open episode."""

    psi: deque[float] = field(default_factory=lambda: deque(maxlen=_WIDTH))
    state: str = ""
    since: str = ""


@dataclass
class Picture:
    """Everything on the screen.

    Attributes:
        where: broker, worker and topics in a line.
        total: rows that will be played.
        sent, labelled: predictions and labels played.
        rate: events counted by the worker, per second.
        watermark_ms: event time that the worker has reached, None before the first pane.
        columns: by name, in the order of the profile.
        events: drift events, the latest last.
        incidents: latest event of each, by id.
        triggers: retrain triggers.
        performance: what labels say.
    """

    where: str
    total: int
    sent: int = 0
    labelled: int = 0
    rate: float = 0.0
    watermark_ms: int | None = None
    columns: dict[str, ColumnLine] = field(default_factory=dict)
    events: list[DriftEvent] = field(default_factory=list)
    incidents: dict[str, Incident] = field(default_factory=dict)
    triggers: list[RetrainTrigger] = field(default_factory=list)
    performance: Performance = field(default_factory=Performance)

    def sample(self, column: str, psi: float) -> None:
        """The next value of a column's index."""
        self.columns[column].psi.append(max(0.0, psi))

    def take(self, event: Published) -> bool:
        """A record of the topics of results; False when it is only drawn, or known (topics repeat after a crash)."""
        if isinstance(event, PerformanceReport):
            self.performance.take(event)
            return False
        if isinstance(event, Incident):
            known = self.incidents.get(event.incident_id)
            if known is not None and known.decided_ms >= event.decided_ms:
                return False
            self.incidents[event.incident_id] = event
            return True
        if isinstance(event, RetrainTrigger):
            if any(t.id == event.id for t in self.triggers):
                return False
            self.triggers.append(event)
            return True
        if isinstance(event, ComparisonEvent) or any(e.id == event.id for e in self.events):
            return False
        self.events.append(event)
        line = self.columns.get(event.column)
        if line is not None:
            line.state = "" if event.status == "closed" else event.severity
            change = f"{event.what} {event.direction}".strip()
            line.since = "" if event.status == "closed" else f"{change} since {day(event.since_ms)}"
        return True

    def draw(self) -> RenderableType:
        """The picture for a terminal."""
        head = Table.grid(padding=(0, 3))
        head.add_row(
            Text(f"{self.sent:,} of {self.total:,} predictions, {self.labelled:,} labels"),
            Text(f"{self.rate:,.0f} events/s"),
            Text(f"watermark {'…' if self.watermark_ms is None else day(self.watermark_ms)}"),
            ProgressBar(total=2 * self.total, completed=self.sent + self.labelled, width=24),
        )
        table = Table(box=None, pad_edge=False, show_header=False)
        for name, line in self.columns.items():
            style = _STYLE[line.state]
            table.add_row(
                Text(name),
                Text(sparkline(list(line.psi)).ljust(_WIDTH), style),
                Text("stable" if not line.state else f"drift, {line.state}", style),
                Text(line.since),
            )
        table.add_row()
        for row in self.performance.rows():
            table.add_row(*row)
        lines: list[RenderableType] = [Text(self.where, "dim", no_wrap=True, overflow="ellipsis"), head, Text(), table]
        latest = sorted(self.incidents.values(), key=lambda i: i.decided_ms)[-2:]
        shown: list[Published] = [*self.events[-4:], *latest, *self.triggers[-2:]]
        told = [line_of(e) for e in shown]
        if told:
            lines += [
                Text(),
                *(
                    Text(text, "bold" if text.startswith(_BOLD) else "", no_wrap=True, overflow="ellipsis")
                    for text in told
                ),
            ]
        return Panel(Group(*lines), title="driftbus demo: car loans, ten months in a minute", title_align="left")


def day(ms: int) -> str:
    """A point of event time to the minute."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M}"


def event_line(event: DriftEvent) -> str:
    """A drift event in a line."""
    return f"{event.status:9} {day(event.window_end_ms)}  {event.message}"


def line_of(event: Published) -> str:
    """A drift event, an incident or a retrain trigger in a line."""
    if isinstance(event, DriftEvent):
        return event_line(event)
    if isinstance(event, PerformanceReport):
        return f"labels    {day(event.decided_ms)}  {event.message}"
    if isinstance(event, ComparisonEvent):
        return f"{event.status:9} {day(event.decided_ms)}  {event.message}"
    word, text = ("incident", event.message) if isinstance(event, Incident) else ("retrain", event.reason)
    return f"{word:9} {day(event.decided_ms)}  {text}"


def progress_line(picture: Picture) -> str:
    """The head of the picture in a line, for a log."""
    reached = "…" if picture.watermark_ms is None else day(picture.watermark_ms)
    states = ", ".join(f"{name} {line.state}" for name, line in picture.columns.items() if line.state)
    played = f"{picture.sent:,} of {picture.total:,} predictions, {picture.labelled:,} labels, {picture.rate:,.0f}/s"
    return f"{played}, watermark {reached}: {states or 'all columns stable'}"


def summary(picture: Picture, controls: Sequence[str], topic: str | None) -> RenderableType:
    """What was seen, and where to go from here.

    Args:
        picture: at its end.
        controls: columns that are known not to drift.
        topic: a topic that goes on existing, None for the demo's own broker.
    """
    opened = [e for e in picture.events if e.status == "opened" and e.column in picture.columns]
    drifted = list(dict.fromkeys(e.column for e in opened))
    calm = [name for name in controls if name not in drifted]
    judged = f"{picture.sent:,} predictions judged: {len(drifted)} columns drifted ({', '.join(drifted) or 'none'})"
    lines = ["", f"{judged}, {len(calm)} of {len(controls)} negative controls stayed quiet ({', '.join(calm)})."]
    incidents = sorted(picture.incidents.values(), key=lambda i: i.opened_ms)
    lines += [f"{len(incidents)} incident{'' if len(incidents) == 1 else 's'}{':' if incidents else '.'}"]
    lines += [f"  {i.message}." for i in incidents]
    lines += summary_lines(picture.performance)
    count = len(picture.triggers)
    lines += [f"{count} retrain trigger{'' if count == 1 else 's'}:" if count else "No retrain trigger."]
    lines += [f"  {t.policy}: {t.reason}." for t in picture.triggers]
    lines += [
        "",
        "Next:",
        "  driftbus replay NEW.csv --reference TRAIN.csv        the same on two files of yours",
        f"  driftbus init --bootstrap HOST:9092 --topic {topic or 'TOPIC'}    a configuration for a topic of yours",
        "  README.md                                            from here to a running monitor in ten minutes",
    ]
    return Text("\n".join(lines))
