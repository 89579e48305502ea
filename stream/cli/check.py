"""``driftbus check``: what is wrong with a configuration, line by line."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import click

from driftbus.schemas.config import Config
from driftbus.schemas.configfile import Problem, config_json_schema, read_config
from driftbus.schemas.configtypes import format_duration
from driftbus.schemas.errors import ConfigError
from driftbus.stream.cli._options import config_option


@click.command(short_help="Check a configuration, without Kafka.")
@click.argument("path", required=False, type=click.Path(path_type=Path, dir_okay=False))
@config_option
@click.option("--json", "as_json", is_flag=True, help="Problems as JSON lines, for editors and pipelines.")
@click.option("--json-schema", is_flag=True, help="Print the JSON Schema of the file and stop.")
def command(path: Path | None, config_path: Path, as_json: bool, json_schema: bool) -> int | None:
    """Check a configuration (PATH, or -c), without Kafka.

    Unknown keys, wrong values, durations, cron lines and missing files are named with line and column
    and with what to write instead. Environment variables override the file as in `driftbus run`.
    Exit code 0 when all is well, 1 when not.
    """
    if json_schema:
        click.echo(config_json_schema(), nl=False)
        return None
    file = path or config_path
    if not file.is_file():
        raise ConfigError(f"there is no file {file}", fix="`driftbus init` writes a first one")
    config, found = read_config(file, os.environ)
    if config is None:
        for problem in found:
            click.echo(json.dumps(asdict(problem)) if as_json else _line(file, problem))
        if not as_json:
            click.echo(f"{len(found)} problem{'s' if len(found) != 1 else ''}", err=True)
        return 1
    if not as_json:
        click.echo(_summary(file, config))
    return None


def _line(file: Path, problem: Problem) -> str:
    place = f"{file}:{problem.line}:{problem.column}" if problem.line else str(file)
    said = f"{problem.key}: {problem.message}" if problem.key else problem.message
    return f"{click.style(place, bold=True)}: {said}" + (f"\n    {problem.fix}" if problem.fix else "")


def _summary(file: Path, config: Config) -> str:
    lines = [f"{file} is fine: {len(config.monitors)} monitor{'s' if len(config.monitors) != 1 else ''}"]
    for name, monitor in config.monitors.items():
        topics = ", ".join(f"{stream} from {settings.topic}" for stream, settings in monitor.streams.items())
        lines.append(f"  {name}: {topics}; pane {format_duration(config.pane_ms(name))}")
    return "\n".join(lines)
