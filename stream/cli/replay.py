"""``driftbus replay``: a file or a topic through the detectors, as if it happened now."""

from __future__ import annotations

from pathlib import Path

import click

from driftbus.stream.cli._options import configured
from driftbus.stream.cli._replaying import Duration
from driftbus.stream.files.survey import Wishes

_FILE = click.Path(path_type=Path, dir_okay=False)
_DURATION = Duration()


@click.command(short_help="Replay a file or a topic through the detectors.")
@click.argument("data", required=False, type=_FILE)
@click.option("--reference", type=_FILE, help="Training data, or a profile (.json), to compare DATA with.")
@click.option(
    "-c",
    "--config",
    "config_path",
    type=_FILE,
    help="For a file: its detection and policies are used. For a topic: what to read.  [default there: driftbus.yaml]",
)
@click.option("--monitor", default="", help="Which monitor of the configuration.")
@click.option("--time", default="", metavar="COLUMN", help="Event time.  [default: found out]")
@click.option("--every", type=_DURATION, help="Instead: row i happens at 2000-01-01 + i times this.")
@click.option("--id", "id_", default="", metavar="COLUMN", help="What identifies a row.")
@click.option("--score", default="", metavar="COLUMN", help="The model's score.")
@click.option("--prediction", default="", metavar="COLUMN", help="The predicted class or value.")
@click.option("--label", default="", metavar="COLUMN", help="The outcome.")
@click.option("--labels", "labels_path", type=_FILE, help="File with the labels, by --id.  [default: DATA]")
@click.option("--label-time", default="", metavar="COLUMN", help="When each label came.")
@click.option("--label-delay", default="", metavar="7d|5000rows", help="Instead: how long after its prediction.")
@click.option("--segment", "segments", multiple=True, metavar="COLUMN", help="Watch its values apart. Repeatable.")
@click.option("--ignore", multiple=True, metavar="COLUMN", help="Leave it out. Repeatable.")
@click.option("--categorical", multiple=True, metavar="COLUMN", help="Its numbers are names. Repeatable.")
@click.option("--pane", type=_DURATION, help="Bucket of event time.  [default: about 32 rows]")
@click.option(
    "--from",
    "from_",
    default="",
    metavar="TIME|OFFSETS",
    help="Topic: begin at 2025-10-01T00:00, 1500 or 0:1500,1:1620.",
)
@click.option(
    "--to", default="", metavar="TIME|OFFSETS", help="Topic: end there, exclusive.  [default: what is there now]"
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Events as JSON lines; - for stdout.",
)
@click.option("--html", type=_FILE, help="The result as one self-contained page.")
@click.option(
    "--verify", is_flag=True, help="Topic: compare with what the workers published; exit with 1 if it differs."
)
@click.option("--fail-on-drift", is_flag=True, help="Exit with 1 when there was drift.")
def command(
    data: Path | None,
    reference: Path | None,
    config_path: Path | None,
    monitor: str,
    time: str,
    every: int | None,
    id_: str,
    score: str,
    prediction: str,
    label: str,
    labels_path: Path | None,
    label_time: str,
    label_delay: str,
    segments: tuple[str, ...],
    ignore: tuple[str, ...],
    categorical: tuple[str, ...],
    pane: int | None,
    from_: str,
    to: str,
    out: Path | None,
    html: Path | None,
    verify: bool,
    fail_on_drift: bool,
) -> int | None:
    """Replay DATA, or the topics of a configuration, through the detectors.

    \b
    driftbus replay last_month.csv --reference train.csv
    driftbus replay -c driftbus.yaml --from 2025-10-01T00:00
    driftbus replay -c driftbus.yaml --verify

    DATA and the reference are CSV (also .gz, .zip), Parquet or Arrow files. Types are inferred;
    identifiers and constants are left out, with a line that says so. A topic is replayed
    with its recorded profiles and gives the events that it gave live.

    Each line of --out is one event, of a topic in canonical order: equal records give equal bytes.
    --html is a page with pictures, for a browser. Exit code 0, or 1 with --fail-on-drift when there
    was drift, with --verify when live and replay differ.
    """
    wishes = Wishes(time, id_, score, prediction, label, ignore, categorical, untimed=every is not None)
    if data is None:
        if labels_path is not None or label_time or label_delay:
            raise click.UsageError("--labels are for a file; the labels of a topic are in driftbus.yaml")
        if reference is not None or every is not None or segments or pane is not None or wishes != Wishes():
            raise click.UsageError("which file? Without DATA the topics of driftbus.yaml are replayed, as it says")
        from driftbus.stream.cli._replay_topic import run as run_topic

        config = configured(config_path or Path("driftbus.yaml"))
        return run_topic(config, monitor, from_, to, out, html, fail_on_drift, verify)
    if reference is None:
        raise click.UsageError("what is DATA to be compared with? Give --reference TRAIN.csv")
    if verify:
        raise click.UsageError("--verify is for topics: what is a file to be compared with?")
    if from_ or to:
        raise click.UsageError("--from and --to are for topics; a file is replayed as a whole")
    if time and every is not None:
        raise click.UsageError("--time and --every contradict each other: choose one")
    from driftbus.stream.cli._replay_file import FileArguments
    from driftbus.stream.cli._replay_file import run as run_file
    from driftbus.stream.replay.filelabels import LabelWishes

    if label_time and label_delay:
        raise click.UsageError("--label-time and --label-delay contradict each other: choose one")
    labels = LabelWishes(labels_path, label_time, label_delay)
    config_or_none = configured(config_path) if config_path else None
    return run_file(
        FileArguments(
            data, reference, wishes, every, pane, segments, config_or_none, monitor, out, html, fail_on_drift, labels
        )
    )
