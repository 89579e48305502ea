"""``driftbus gate`` over the topics of a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from driftbus.schemas.config import Config
from driftbus.stream.cli._replaying import progress

if TYPE_CHECKING:
    from driftbus.stream.gate.checks import Check
    from driftbus.stream.gate.told import Verdict


def of_topics(
    config: Config, monitor: str, points: tuple[str, str], versions: tuple[str, str], checks: list[Check],
    confidence: float | None, point: bool, least: int,
) -> Verdict:  # fmt: skip
    """Ask the labels that have come.

    Args:
        config: the configuration.
        monitor: whose; "": its only one.
        points: where to begin and to end, "" for everything.
        versions: champion and challenger, "" for none.
        checks: what is asked.
        confidence: of the intervals, None: the monitor's.
        point: decide by values.
        least: groups of fewer labels are passed over.
    """
    from driftbus.stream.gate.checks import against_champion
    from driftbus.stream.gate.counted import judge_counts
    from driftbus.stream.gate.gate import LEADING
    from driftbus.stream.gate.topic import gather, versions_of
    from driftbus.stream.replay.sources import parse_point
    from driftbus.stream.replay.topicreplay import prepare

    champion, challenger = versions
    if champion and not challenger:
        raise click.UsageError("--champion needs --challenger NAME: which version has to be good enough")
    if not champion:
        ask(checks)
    name = monitor or next(iter(config.monitors))
    replay = prepare(config, name, parse_point(points[0], "--from"), parse_point(points[1], "--to"))
    with progress(replay.reader.records, "records") as done:
        joined = gather(replay, name, done)
    found = versions_of(joined, champion, challenger)
    if champion and not any(c.kind in ("better", "not_worse") for c in checks):
        checks = [*checks, *against_champion([LEADING[joined.shape.kind][0]], {})]
    alone = [f"{joined.orphans:,} labels found no prediction in this range"] if joined.orphans else []
    return judge_counts(
        joined.shape, found, joined.groups(challenger), checks, source=f"topics of {name}",
        confidence=confidence or config.monitors[name].performance.confidence, point=point, least=least,
        notes=[*replay.notes, *alone],
    )  # fmt: skip


def ask(checks: list[Check]) -> None:
    """Refuse to answer when nothing is asked."""
    if all(check.kind == "rows" for check in checks):
        raise click.UsageError("what is asked? Give --min, --max, --better, --not-worse or --gap")
