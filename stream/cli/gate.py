"""``driftbus gate``: whether a model is good enough, with an exit code for CI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

import driftbus
from driftbus.schemas.config import Config, MonitorConfig
from driftbus.schemas.errors import ConfigError
from driftbus.schemas.outcomeconfig import Limit, PerformanceConfig
from driftbus.stream.cli._gate_topic import ask, of_topics
from driftbus.stream.cli._options import configured
from driftbus.stream.cli._replaying import progress
from driftbus.stream.replay.words import plain

if TYPE_CHECKING:
    from driftbus.stream.gate.checks import Check
    from driftbus.stream.gate.rows import Columns
    from driftbus.stream.gate.told import Verdict

_FILE = click.Path(path_type=Path, dir_okay=False)
_STDOUT = "-"


@click.command(short_help="Ask whether a model is good enough: exit code 0 or 1, for CI.")
@click.argument("data", required=False, type=_FILE)
@click.option("--labels", type=_FILE, help="Labels by id, where they don't stand in DATA.")
@click.option("--label", default="", metavar="COLUMN", help="The outcome.  [default: label, or the configuration's]")
@click.option("--score", default="", metavar="COLUMN", help="Score or probability of the positive class.")
@click.option("--prediction", default="", metavar="COLUMN", help="The predicted class or value.")
@click.option(
    "--id", "id_", default="", metavar="COLUMN", help="What identifies an example: versions are paired by it."
)
@click.option("--champion", default="", metavar="FILE|NAME", help="File of the champion, or its name in --version.")
@click.option("--challenger", default="", metavar="NAME", help="Name in --version of what has to be good enough.")
@click.option("--version", default="", metavar="COLUMN", help="Which version scored the row.")
@click.option("--group", "groups", multiple=True, metavar="COLUMN", help="Groups for --gap. Repeatable.")
@click.option("--min", "minima", multiple=True, metavar="METRIC=VALUE", help="At least. Repeatable.")
@click.option("--max", "maxima", multiple=True, metavar="METRIC=VALUE", help="At most. Repeatable.")
@click.option("--better", multiple=True, metavar="METRIC", help="Better than the champion. Repeatable.")
@click.option("--not-worse", multiple=True, metavar="METRIC=MARGIN", help="Worse by at most so much. Repeatable.")
@click.option("--gap", "gaps", multiple=True, metavar="METRIC=VALUE", help="Largest difference between groups.")
@click.option("--min-rows", type=click.IntRange(1), default=100, show_default=True, help="Fewer can't pass.")
@click.option("--point", is_flag=True, help="Decide by the value.  [default: by the bound of its interval]")
@click.option("--confidence", type=click.FloatRange(0.5, 1, min_open=True, max_open=True), help="[default: 0.95]")
@click.option("--draws", type=click.IntRange(100), default=1_000, show_default=True, help="Of the bootstrap.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the bootstrap.")
@click.option("--kind", type=click.Choice(["binary", "multiclass", "regression"]), help="[default: found out]")
@click.option("--positive", default="", metavar="LABEL", help="The positive class.  [default: 1]")
@click.option("--threshold", type=float, help="Scores from here on are positive.  [default: 0.5]")
@click.option("-c", "--config", "config_path", type=_FILE, help="Limits and mapping are as it says.")
@click.option("--monitor", default="", help="Which monitor of the configuration.")
@click.option("--from", "from_", default="", metavar="TIME|OFFSETS", help="Topics: begin there.")
@click.option("--to", default="", metavar="TIME|OFFSETS", help="Topics: end there, exclusive.")
@click.option("--json", "json_path", type=_FILE, help="The same as JSON; - for standard output.")
@click.option("--junit", type=_FILE, help="The same as a JUnit report.")
def command(
    data: Path | None,
    labels: Path | None,
    label: str,
    score: str,
    prediction: str,
    id_: str,
    champion: str,
    challenger: str,
    version: str,
    groups: tuple[str, ...],
    minima: tuple[str, ...],
    maxima: tuple[str, ...],
    better: tuple[str, ...],
    not_worse: tuple[str, ...],
    gaps: tuple[str, ...],
    min_rows: int,
    point: bool,
    confidence: float | None,
    draws: int,
    seed: int,
    kind: str | None,
    positive: str,
    threshold: float | None,
    config_path: Path | None,
    monitor: str,
    from_: str,
    to: str,
    json_path: Path | None,
    junit: Path | None,
) -> int:
    """Ask whether the model behind DATA (scored examples: CSV, Parquet, Arrow) is good enough.

    Without DATA: the model behind a monitor's topics, by the labels that have come.

    \b
    driftbus gate scored.parquet --label y --score p --min auc=0.8 --max ece=0.05
    driftbus gate new.csv --champion old.csv --id id --label y --score p --better auc
    driftbus gate scored.csv -c driftbus.yaml --monitor credit --junit gate.xml
    driftbus gate -c driftbus.yaml --monitor credit --from 2025-10-01T00:00 --challenger 13 --champion 12

    Each metric has a bootstrap interval, and its bound decides: what is not sure does not pass. Versions
    that scored the same examples (--id) are compared on them. Exit codes: 0 passed, 1 not, 2 usage,
    3 unreachable.
    """
    from driftbus.stream.gate.gate import default_better, judge
    from driftbus.stream.gate.rows import from_files

    config = configured(config_path) if config_path else None
    watched = None if config is None else _monitor(config, monitor)
    if data is None:
        if config is None:
            raise click.UsageError("which file? driftbus gate scored.csv --label y --score p --min auc=0.8")
        if labels or label or score or prediction or id_ or version or groups or kind or positive or threshold:
            raise click.UsageError("topics are read as the configuration says: columns are for files")
        segments = () if watched is None else tuple(watched.segments)
        verdict = of_topics(
            config, monitor, (from_, to), (champion, challenger),
            _checks(watched, minima, maxima, better, not_worse, gaps, min_rows, segments), confidence, point, min_rows,
        )  # fmt: skip
        _say(verdict, to_err=str(json_path) == _STDOUT)
        _write(verdict, json_path, junit)
        return 0 if verdict.passed else 1
    if from_ or to:
        raise click.UsageError("--from and --to are for topics; a file is taken as a whole")
    performance = _performance(watched, kind, positive, threshold)
    columns = _columns(data, watched, (label, score, prediction, id_, version), groups, labels is not None)
    checks = _checks(watched, minima, maxima, better, not_worse, gaps, min_rows, columns.groups)
    names, file = _versions(columns, champion, challenger)
    material = from_files(data, columns, performance, labels=labels, champion=file, versions=names)
    if material.champion is not None and not any(c.kind in ("better", "not_worse") for c in checks):
        from driftbus.stream.gate.checks import against_champion

        checks += against_champion([default_better(material)], {})
    ask(checks)
    with progress(draws, "draws") as done:
        verdict = judge(
            material, checks, source=data.name, confidence=confidence or performance.confidence, point=point,
            least=min_rows, draws=draws, seed=seed, progress=done,
        )  # fmt: skip
    _say(verdict, to_err=str(json_path) == _STDOUT)
    _write(verdict, json_path, junit)
    return 0 if verdict.passed else 1


def _monitor(config: Config, name: str) -> MonitorConfig:
    if not name and len(config.monitors) == 1:
        name = next(iter(config.monitors))
    if name not in config.monitors:
        what = f"there is no monitor {name!r}" if name else "the configuration has several monitors"
        raise ConfigError(what, key="--monitor", fix=f"choose from {', '.join(config.monitors)}")
    return config.monitors[name]


def _performance(
    monitor: MonitorConfig | None, kind: str | None, positive: str, threshold: float | None
) -> PerformanceConfig:
    given = {"kind": kind, "positive": positive or None, "threshold": threshold}
    base = PerformanceConfig() if monitor is None else monitor.performance
    return base.model_copy(update={name: value for name, value in given.items() if value is not None})


def _columns(
    data: Path, monitor: MonitorConfig | None, given: tuple[str, str, str, str, str], groups: tuple[str, ...],
    apart: bool,
) -> Columns:  # fmt: skip
    """What is given, else what the configuration says, else columns of the usual names, as far as the file has them."""
    from driftbus.stream.files.table import open_table
    from driftbus.stream.gate.rows import Columns

    known = open_table(data).names
    stream = None if monitor is None else monitor.predictions
    labels = None if monitor is None else monitor.labels

    def found(name: str, mapped: str, usual: str) -> str:
        return name or next((each for each in (mapped, usual) if each in known), "")

    label, score, prediction, id_, version = given
    mapped = (stream.score, stream.prediction, stream.id) if stream is not None else ("", "", "")
    said = labels.label if labels is not None else stream.label if stream is not None else ""
    return Columns(
        label=label or (said if said and (apart or said in known) else "label"),
        score=found(score, mapped[0], "score"),
        prediction=found(prediction, mapped[1], "prediction"),
        id=found(id_, mapped[2], "id"),
        version=version,
        groups=groups or tuple(name for name in (() if monitor is None else monitor.segments) if name in known),
    )


def _checks(
    monitor: MonitorConfig | None, minima: tuple[str, ...], maxima: tuple[str, ...], better: tuple[str, ...],
    not_worse: tuple[str, ...], gaps: tuple[str, ...], min_rows: int, groups: tuple[str, ...],
) -> list[Check]:  # fmt: skip
    from driftbus.stream.gate.checks import Check, against_champion, limits_of, parsed

    widest = parsed("--gap", gaps)
    if widest and not groups:
        raise click.UsageError("--gap is between groups: name their columns with --group")
    limits: dict[str, Limit] = {} if monitor is None else {str(m): x for m, x in monitor.performance.limits.items()}
    return [
        Check("rows", limit=min_rows),
        *limits_of(parsed("--min", minima), parsed("--max", maxima), limits),
        *against_champion(list(parsed("--better", better, needs_value=False)), parsed("--not-worse", not_worse)),
        *(Check("gap", metric, "max", value, column) for metric, value in widest.items() for column in groups),
    ]


def _versions(columns: Columns, champion: str, challenger: str) -> tuple[tuple[str, str], Path | None]:
    """Names in the version column, or the champion's file."""
    if columns.version:
        if not challenger:
            raise click.UsageError("--version needs --challenger NAME: which version has to be good enough")
        return (champion, challenger), None
    if challenger:
        raise click.UsageError("--challenger names a version: --version COLUMN says where it stands")
    return ("", ""), Path(champion) if champion else None


def _say(verdict: Verdict, *, to_err: bool) -> None:
    from driftbus.stream.gate.told import lines

    rows = ", ".join(f"{plain(name)} {n:,} rows" for name, n in verdict.versions.items())
    paired = " · the same examples" if verdict.paired else ""
    said = [
        f"{click.style(f'driftbus {driftbus.__version__}', bold=True)}  {rows} · {verdict.kind}{paired}",
        f"  intervals  {verdict.confidence:.0%}, {verdict.method}; decided by the {verdict.decides}",
        *(f"  note       {plain(note)}" for note in verdict.notes),
        "",
        *map(plain, lines(verdict)),
    ]
    for line in said:
        click.echo(line, err=to_err)


def _write(verdict: Verdict, json_path: Path | None, junit: Path | None) -> None:
    from driftbus.stream.gate.told import as_json, as_junit

    text = json.dumps(as_json(verdict), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if str(json_path) == _STDOUT:
        click.echo(text, nl=False)
        json_path = None
    for path, key, content in ((json_path, "--json", text), (junit, "--junit", as_junit(verdict))):
        if path is None:
            continue
        try:
            path.write_text(content, encoding="utf-8")
        except OSError as e:
            raise ConfigError(f"{path} can't be written: {e.strerror}", key=key) from e
