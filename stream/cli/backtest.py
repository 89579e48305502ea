"""``driftbus backtest``: configurations against each other on rows that have been."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

import driftbus
from driftbus.schemas.config import Config
from driftbus.schemas.errors import ConfigError
from driftbus.stream.backtest.drifts import DRIFTS, Drift
from driftbus.stream.cli._options import configured
from driftbus.stream.cli._replaying import Duration, progress
from driftbus.stream.files.survey import Wishes

if TYPE_CHECKING:
    from driftbus.stream.backtest.gather import Material

_FILE = click.Path(path_type=Path, dir_okay=False)
_TOLD = ", ".join(str(drift) for drift in DRIFTS)


@click.command(short_help="Try configurations on rows that have been: alarms against delay.")
@click.argument("data", required=False, type=_FILE)
@click.option("--reference", type=_FILE, help="Training data, or a profile (.json), to compare DATA with.")
@click.option(
    "-c",
    "--config",
    "config_path",
    type=_FILE,
    help="What the grid does not name is as it says; for a topic also what to read.  [default there: driftbus.yaml]",
)
@click.option("--monitor", default="", help="Which monitor of the configuration.")
@click.option("--stream", type=click.Choice(["predictions", "features", "labels"]), help="Which of its streams.")
@click.option("--time", default="", metavar="COLUMN", help="Event time of DATA.  [default: found out]")
@click.option("--every", type=Duration(), help="Instead: row i happens at 2000-01-01 + i times this.")
@click.option("--ignore", multiple=True, metavar="COLUMN", help="Leave it out. Repeatable.")
@click.option("--categorical", multiple=True, metavar="COLUMN", help="Its numbers are names. Repeatable.")
@click.option("--from", "from_", default="", metavar="TIME|OFFSETS", help="Topic: begin there.")
@click.option("--to", default="", metavar="TIME|OFFSETS", help="Topic: end there, exclusive.")
@click.option("--pane", type=Duration(), help="Bucket of event time of DATA.  [default: about 32 rows]")
@click.option(
    "--budget", type=click.FloatRange(min=0, min_open=True), help="False alarms a week that you accept.  [default: 1]"
)
@click.option(
    "--try",
    "tries",
    multiple=True,
    metavar="KEY=VALUE,VALUE",
    help="Values of a key of detection; lists as 500+2000. Repeatable.  "
    "[default: false_alarms_per_week=0.1,1,10,100 and windows=500+2000,1000+5000,2000+10000]",
)
@click.option("--drift", "drifts", multiple=True, metavar="KIND=SIZE", help=f"Put in. Repeatable.  [default: {_TOLD}]")
@click.option("--starts", type=click.IntRange(1, 100), default=5, show_default=True, help="Places where drifts begin.")
@click.option("--rows", type=click.IntRange(2_000), default=200_000, show_default=True, help="The latest rows only.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the rows that a drift changes.")
@click.option("--html", type=_FILE, help="The same as a page with pictures.")
@click.option("--json", "json_path", type=_FILE, help="The same as JSON.")
def command(
    data: Path | None,
    reference: Path | None,
    config_path: Path | None,
    monitor: str,
    stream: str | None,
    time: str,
    every: int | None,
    ignore: tuple[str, ...],
    categorical: tuple[str, ...],
    from_: str,
    to: str,
    pane: int | None,
    budget: float | None,
    tries: tuple[str, ...],
    drifts: tuple[str, ...],
    starts: int,
    rows: int,
    seed: int,
    html: Path | None,
    json_path: Path | None,
) -> None:
    """Try configurations on DATA, or on a range of a monitor's topic.

    \b
    driftbus backtest last_month.csv --reference train.csv
    driftbus backtest -c driftbus.yaml --monitor credit --from 2025-10-01T00:00 --html backtest.html

    Each configuration sees the rows as they are; half of them shuffled against the other half, where
    every alarm is false; and the rows with drifts of known size put in at several places. Out come
    alarms against delay, a recommendation for the false alarms that you accept, and how small a
    drift it finds in each column, how fast.

    Alarms on the rows as they are need not be false: choose a period that you know as calm. All rows
    are judged as one group, whatever their version or segment.
    """
    from driftbus.stream.backtest import grid, told
    from driftbus.stream.backtest.page import study_page
    from driftbus.stream.backtest.study import Bench

    chosen = [Drift.parsed(text) for text in drifts] or list(DRIFTS)
    wanted = grid.parsed(tries) or grid.DEFAULT
    if data is not None:
        if reference is None:
            raise click.UsageError("what is DATA to be compared with? Give --reference TRAIN.csv")
        if from_ or to or stream:
            raise click.UsageError("--from, --to and --stream are for topics; a file is taken as a whole")
        wishes = Wishes(time=time, ignore=ignore, categorical=categorical, untimed=every is not None)
        config = configured(config_path) if config_path else None
        material = _of_file(data, reference, wishes, every, pane, config, monitor, rows)
    else:
        if reference is not None or time or every is not None or ignore or categorical or pane is not None:
            raise click.UsageError("which file? Without DATA a topic of driftbus.yaml is taken, as it says")
        material = _of_topic(configured(config_path or Path("driftbus.yaml")), monitor, stream, from_, to, rows)
    accepted = budget or material.detection.false_alarms_per_week or 1.0
    variants = grid.variants(material.detection, wanted, material.columns, material.rows.pane_ms)
    bench = Bench(material.rows, material.profile, material.stream.counter, material.injector, starts, seed)
    n, days = material.rows.block.n, material.rows.days
    click.echo(
        f"{click.style(f'driftbus {driftbus.__version__}', bold=True)}  {material.source} {n:,} rows, {days:.3g} days"
        f" · {len(material.profile.columns)} columns · {len(variants)} configurations · {len(chosen)} drifts × "
        f"{bench.places} places"
    )
    with progress(bench.trials(len(variants), len(chosen)), "trials") as done:
        study = bench.study(variants, chosen, accepted, done)
    console = Console(width=None if Console().is_terminal else 200, highlight=False)
    console.print(
        "\nalarms: episodes on the rows as they are · false: on half of them shuffled, against the other half"
    )
    console.print("rows until a drift is found, median over columns and places (share found, if not all)\n")
    console.print(told.grid_table(study))
    console.print("\nwhat the recommended configuration finds in 4 of 5 cases, and in how many rows\n")
    console.print(told.power_table(study))
    console.print()
    for sentence in told.sentences(study):
        console.print(f"  {sentence}", markup=False)
    _write(json_path, "--json", json.dumps(told.study_json(study), indent=1, ensure_ascii=False) + "\n")
    if html is not None:
        _write(html, "--html", study_page(study, material.source))
        console.print(f"  report: {html}", markup=False)


def _of_file(
    data: Path,
    reference: Path,
    wishes: Wishes,
    every: int | None,
    pane: int | None,
    config: Config | None,
    monitor: str,
    rows: int,
) -> Material:
    from driftbus.stream.backtest.gather import from_file
    from driftbus.stream.replay.filereplay import prepare

    file = prepare(data, reference, wishes, every_ms=every, pane_ms=pane, config=config, monitor=monitor)
    return from_file(file, rows)


def _of_topic(config: Config, monitor: str, stream: str | None, from_: str, to: str, rows: int) -> Material:
    from driftbus.stream.backtest.gather import from_topic
    from driftbus.stream.replay.sources import parse_point
    from driftbus.stream.replay.topicreplay import prepare

    if not monitor and len(config.monitors) > 1:
        raise ConfigError(
            "the configuration has several monitors", key="--monitor", fix=f"choose from {', '.join(config.monitors)}"
        )
    name = monitor or next(iter(config.monitors))
    replay = prepare(config, name, parse_point(from_, "--from"), parse_point(to, "--to"))
    streams = replay.config.monitors[name].streams
    if stream and stream not in streams:
        raise ConfigError(f"{name} has no stream {stream}", key="--stream", fix=f"choose from {', '.join(streams)}")
    with progress(replay.reader.records, "records") as done:
        return from_topic(replay, name, stream or next(iter(streams)), rows, done)


def _write(path: Path | None, key: str, text: str) -> None:
    if path is None:
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as e:
        raise ConfigError(f"{path} can't be written: {e.strerror}", key=key) from e
