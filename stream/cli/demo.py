"""``driftbus demo``: a drifting stream in the terminal."""

from __future__ import annotations

import click


@click.command(short_help="Watch drift being found, on a stream that comes with driftbus.")
@click.option("--bootstrap", metavar="HOST:PORT", help="Play into this Kafka instead of one of the demo's own.")
@click.option(
    "--registry", metavar="URL", help="Schema registry beside --bootstrap; without it, schemas go by fingerprint."
)
@click.option(
    "--rate", type=click.FloatRange(min=1), default=3000.0, show_default=True, help="Events per second to play."
)
def command(bootstrap: str | None, registry: str | None, rate: float) -> int:
    """Play ten months of car loans through Kafka in about a minute, and watch a worker find the drift.

    Weeks after each loan it becomes known whether it was repaid: what was estimated of the model's accuracy
    before that stands beside what came true, and a retrain is asked for when that is too low for sure.

    It needs neither Docker nor Java: the broker is librdkafka's mock cluster. Three columns are known
    not to drift; they stay quiet. Ctrl-C ends it at any time. With --bootstrap it makes topics whose
    names begin with driftbus-demo- and leaves them there.
    """
    from rich.console import Console

    from driftbus.stream.demo.conductor import demonstrate

    return demonstrate(Console(highlight=False), bootstrap, registry, rate)
