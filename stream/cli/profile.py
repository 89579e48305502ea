"""``driftbus profile``: the reference of a monitor, from training data."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from time import time_ns

import click

import driftbus
from driftbus.detectors.profile import ColumnProfile, Profile
from driftbus.schemas.config import Config
from driftbus.schemas.configfile import load_config
from driftbus.schemas.errors import ConfigError
from driftbus.stream.files.survey import Wishes
from driftbus.stream.files.table import open_table
from driftbus.stream.files.training import (
    Training,
    make_profile,
    monitor_name,
    read_training,
    save_profile,
    season_note,
    with_mapping,
)

_FILE = click.Path(path_type=Path, dir_okay=False)
_DEFAULT = Path("driftbus.yaml")


@click.command(short_help="Make the reference of a monitor from training data.")
@click.argument("train", type=_FILE)
@click.option(
    "--monitor", default="", help="Whose it is.  [default: the configuration's only one, else the file's name]"
)
@click.option("--stream", type=click.Choice(["predictions", "features"]), help="Which of its streams.")
@click.option(
    "-c", "--config", "config_path", type=_FILE, help="Its mapping is used.  [default for --publish: driftbus.yaml]"
)
@click.option("--time", default="", metavar="COLUMN", help="Event time; rows are sorted by it.  [default: found out]")
@click.option("--ordered/--unordered", default=True, help="Whether rows are in time order, as they are by default.")
@click.option("--id", "id_", default="", metavar="COLUMN", help="What identifies a row.")
@click.option("--score", default="", metavar="COLUMN", help="The model's score.")
@click.option("--prediction", default="", metavar="COLUMN", help="The predicted class or value.")
@click.option("--label", default="", metavar="COLUMN", help="The outcome: gets a profile of its own, for the labels.")
@click.option("--ignore", multiple=True, metavar="COLUMN", help="Leave it out. Repeatable.")
@click.option("--categorical", multiple=True, metavar="COLUMN", help="Its numbers are names. Repeatable.")
@click.option("--version", default="", help="Only rows of this version of the model are compared with it.")
@click.option("--importance", type=_FILE, help="How much columns matter to the model: JSON, column: number.")
@click.option("--model", multiple=True, metavar="NAME=TEXT", help="What triggers say of the version. Repeatable.")
@click.option("--out", type=_FILE, help="Write it as JSON.")
@click.option("--publish", is_flag=True, help="Put it on the profiles topic, where workers find it.")
def command(
    train: Path,
    monitor: str,
    stream: str | None,
    config_path: Path | None,
    time: str,
    ordered: bool,
    id_: str,
    score: str,
    prediction: str,
    label: str,
    ignore: tuple[str, ...],
    categorical: tuple[str, ...],
    version: str,
    importance: Path | None,
    model: tuple[str, ...],
    out: Path | None,
    publish: bool,
) -> None:
    """Make a profile from TRAIN: CSV (also .gz, .zip), Parquet or Arrow.

    \b
    driftbus profile train.parquet --monitor credit --publish
    driftbus profile train.csv --out profile.json
    driftbus profile train.parquet --version 13 --model mlflow_run=7f3a --publish

    With --version the profile takes over when that version appears in the stream; other versions keep theirs. Publish
    it and start the workers again before the version goes live.

    Types are inferred; identifiers and constants are left out, with a line that says so.
    Workers that run take up a new profile when they are started again.
    """
    config = load_config(config_path or _DEFAULT, os.environ) if config_path or publish else None
    name, of = _whose(train, monitor, stream or "", config)
    wishes = Wishes(time, id_, score, prediction, label, ignore, categorical)
    if config is not None:
        wishes = with_mapping(wishes, config.monitors[name].streams[of], open_table(train).names)
    training = read_training(train, wishes)
    weights, known = _weights(importance), _references(model)
    profiles = [
        replace(profile, version=version, importance=weights, model=known)
        for profile in _profiles(training, name, of, ordered, config)
    ]
    click.echo(f"{click.style(f'driftbus {driftbus.__version__}', bold=True)}  {train.name} {training.rows:,} rows")
    for profile in profiles:
        _describe(profile)
    if training.survey is not None and training.survey.left_out:
        click.echo(f"  left out  {', '.join(f'{column} ({why})' for column, why in training.survey.left_out)}")
    for note in training.notes:
        click.echo(f"  note      {note}")
    if out is not None:
        for profile in profiles:
            path = out if profile.stream == of else out.with_suffix(f".{profile.stream}{out.suffix}")
            save_profile(profile, path)
            click.echo(f"  written   {path}")
    if publish:
        assert config is not None
        _publish(config, profiles)
    if out is None and not publish:
        click.echo("  nothing was written: add --out profile.json or --publish")


def _whose(train: Path, monitor: str, stream: str, config: Config | None) -> tuple[str, str]:
    """The monitor and its stream."""
    if config is None:
        return monitor or monitor_name(train), stream or "predictions"
    if not monitor and len(config.monitors) == 1:
        monitor = next(iter(config.monitors))
    if monitor not in config.monitors:
        what = f"there is no monitor {monitor!r}" if monitor else "the configuration has several monitors"
        raise ConfigError(what, key="--monitor", fix=f"choose from {', '.join(config.monitors)}")
    streams = [each for each in config.monitors[monitor].streams if each != "labels"] or ["labels"]
    if stream and stream not in streams:
        raise ConfigError(f"monitor {monitor} reads no {stream}", key="--stream", fix=f"it reads {', '.join(streams)}")
    return monitor, stream or streams[0]


def _profiles(training: Training, monitor: str, stream: str, ordered: bool, config: Config | None) -> list[Profile]:
    """The profile of the stream, and that of the labels: outcomes come later, on a stream of their own."""
    found, now = training.survey, time_ns() // 1_000_000
    label = found.named("label") if found is not None else ""
    segments = [] if config is None else config.monitors[monitor].segments
    season = None if config is None else config.monitors[monitor].detection.season
    together = config is not None and bool(label) and config.monitors[monitor].streams[stream].label == label
    if found is None or not label or together:
        return [
            make_profile(training, monitor, stream, ordered=ordered, created_ms=now, segments=segments, season=season)
        ]
    features = [name for name in found.data if name != label]
    performance = None if config is None else config.monitors[monitor].performance
    return [
        make_profile(
            training, monitor, of, columns=columns, ordered=ordered, created_ms=now, segments=segments, season=season,
            label=label if of == "predictions" else "", performance=performance,
        )
        for of, columns in ((stream, features), ("labels", [label]))
    ]  # fmt: skip


def _weights(path: Path | None) -> dict[str, float]:
    """Column → importance, of a JSON file."""
    if path is None:
        return {}
    try:
        values = json.loads(path.read_text())
        return {str(name): float(weight) for name, weight in values.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path} can't be read: {error}", key="--importance", fix='write {"income": 0.7, "age": 0.3}'
        ) from error


def _references(pairs: tuple[str, ...]) -> dict[str, str]:
    parts = [pair.partition("=") for pair in pairs]
    if bad := [name + sign for name, sign, text in parts if not (name and text)]:
        raise ConfigError(f"{bad[0]!r} is no NAME=TEXT", key="--model", fix="write --model mlflow_run=7f3a")
    return {name: text for name, _, text in parts}


def _describe(profile: Profile) -> None:
    of = f" of version {profile.version}" if profile.version else ""
    head = click.style(f"{profile.monitor}/{profile.stream}{of}", bold=True)
    click.echo(f"  {head}  {len(profile.columns)} columns, profile {profile.profile_id[:12]}")
    width = max(len(column.name) for column in profile.columns)
    for column in profile.columns:
        click.echo(f"    {column.name.ljust(width)}  {column.kind:<11}  {column.role:<10}  {_content(column)}")
    if note := season_note(profile):
        click.echo(f"  {note}")
    if profile.outcome is not None:
        click.echo(f"  performance: {profile.outcome.shape.kind}, {profile.outcome.labels:,} labels")


def _content(column: ColumnProfile) -> str:
    share = column.nulls / column.rows if column.rows else 0.0
    nulls = f", {share:.1%} null" if column.nulls else ""
    invalid = f", {column.invalid:,} invalid" if column.invalid else ""
    if column.kind == "numeric":
        return f"{column.low:.6g} .. {column.high:.6g} in {column.bins} bins{nulls}{invalid}"
    names = ", ".join(column.categories[:4]) + (", ..." if len(column.categories) > 4 else "")
    return f"{len(column.categories)} categories: {names}{nulls}{invalid}"


def _publish(config: Config, profiles: list[Profile]) -> None:
    from driftbus.stream.transport.admin import Admin, topic_partitions
    from driftbus.stream.worker.profiles import key_of, publish_profile

    topic_partitions(Admin(config.kafka), config.topics.profiles)
    for profile in profiles:
        stream = config.monitors[profile.monitor].streams.get(profile.stream)
        if stream is not None and profile.version and not stream.version:
            click.echo(f"  note      {profile.stream} maps no version: its profile stays, that one is not published")
        elif stream is not None:
            publish_profile(config.kafka, config.topics.profiles, profile)
            click.echo(f"  published {key_of(profile)} on {config.topics.profiles}")
        else:
            click.echo(f"  note      {profile.monitor} reads no {profile.stream}: that profile is not published")
