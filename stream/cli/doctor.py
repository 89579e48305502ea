"""``driftbus doctor``: what is wrong with a deployment, with the fix, and which rights it needs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from driftbus.schemas.config import Config
from driftbus.stream.cli._options import config_option, configured
from driftbus.stream.doctor.acls import BOOTSTRAP, PRINCIPAL, as_commands, as_records, as_strimzi
from driftbus.stream.doctor.rights import RIGHTS


@click.command(short_help="Say what Kafka rights the commands need.")
@config_option
@click.option("--acls", is_flag=True, help="Print the least Kafka rights that commands need. Connects to nothing.")
@click.option(
    "--for", "commands", multiple=True, type=click.Choice(list(RIGHTS)), metavar="COMMAND",
    help=f"With --acls: whose rights; repeatable. One of {', '.join(RIGHTS)}.  [default: all]",
)  # fmt: skip
@click.option("--principal", help="With --acls: who gets them, as User:driftbus.  [default: kafka.username]")
@click.option("--bootstrap", help=f"With --acls: where an administrator connects.  [default: {BOOTSTRAP}]")
@click.option("--strimzi", is_flag=True, help="With --acls: as a KafkaUser of Strimzi.")
@click.option("--json", "as_json", is_flag=True, help="One JSON line each.")
def command(
    config_path: Path,
    acls: bool,
    commands: tuple[str, ...],
    principal: str | None,
    bootstrap: str | None,
    strimzi: bool,
    as_json: bool,
) -> int | None:
    """Print the least Kafka rights that commands need.

    \b
    driftbus doctor --acls --for run --principal User:driftbus
    """
    if not acls:
        raise click.UsageError("Missing option '--acls'.")
    config = configured(config_path)
    chosen = {name: RIGHTS[name](config) for name in commands or RIGHTS}
    who = _principal(config, principal)
    if as_json:
        for record in as_records(chosen):
            click.echo(json.dumps(record, ensure_ascii=False))
    elif strimzi:
        click.echo(as_strimzi(chosen, who))
    else:
        click.echo(as_commands(chosen, who, bootstrap or BOOTSTRAP))
    return None


def _principal(config: Config, given: str | None) -> str:
    if given:
        return given if ":" in given else f"User:{given}"
    user = config.kafka.username
    return f"User:{user}" if user else PRINCIPAL
