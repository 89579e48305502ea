"""``driftbus explain``: what happened, since when, where, and what may be the cause."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console

from driftbus.schemas.errors import ConfigError
from driftbus.stream.cli._options import config_option, configured

_PIPE_WIDTH = 140


@click.command(short_help="Tell what an incident is about.")
@click.argument("name", metavar="ID", required=False)
@click.option(
    "--events",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file that `driftbus replay --out` wrote, instead of the topics.",
)
@config_option
@click.option("--monitor", default="", help="Only incidents of this monitor.")
@click.option("--limit", type=click.IntRange(min=1), default=10, show_default=True, help="Newest incidents to list.")
@click.option("--json", "as_json", is_flag=True, help="The event as JSON, one line each.")
def command(
    name: str | None, events: Path | None, config_path: Path, monitor: str, limit: int, as_json: bool
) -> int | None:
    """Tell what the incident, episode or event ID is about; without ID, list the latest incidents.

    \b
    driftbus explain
    driftbus explain 7f3a
    driftbus explain 7f3a --events events.jsonl

    ID is the beginning of the id of an incident, an episode or an event, as much as makes it unique.
    """
    from driftbus.stream.explain.find import from_file, from_topics
    from driftbus.stream.explain.screen import episode_screen, incident_list, incident_screen, shown

    known = from_file(events) if events else from_topics(configured(config_path), episodes=name is not None)
    if known.unreadable:
        click.echo(f"note: {known.unreadable:,} records are no events of ours, or of an unknown schema", err=True)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPE_WIDTH
    console = Console(width=width, highlight=False)
    if name is None:
        with _readable():
            latest = [e for e in known.latest() if monitor in ("", e["monitor"])]
        if as_json:
            for event in latest[:limit]:
                click.echo(json.dumps(event, ensure_ascii=False))
        elif latest:
            with _readable():
                console.print(incident_list(shown(latest[:limit]), limit))
            console.print(f"\nnext: driftbus explain ID{f' --events {events}' if events else ''}", style="dim")
        else:
            click.echo("no incidents")
        return None
    incident, episode = known.find(name)
    if as_json:
        click.echo(json.dumps(incident or episode[-1], ensure_ascii=False))
    else:
        with _readable():
            incident, episode = shown(incident), shown(episode)
            console.print(episode_screen(episode) if incident is None else incident_screen(incident, episode))
    return None


@contextmanager
def _readable() -> Iterator[None]:
    """An event that lacks something, or has it in another form, is not one of ours."""
    try:
        yield
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"an event can't be told: {type(error).__name__} {error}",
            fix="It takes what `driftbus replay --out` and `driftbus run` of this version write",
        ) from error
