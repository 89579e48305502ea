"""``driftbus doctor``: what is wrong with a deployment, with the fix, and which rights it needs."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path

import click
from rich.console import Console

import driftbus
from driftbus.schemas.config import Config
from driftbus.stream.cli._options import config_option, configured
from driftbus.stream.doctor.acls import BOOTSTRAP, PRINCIPAL, as_commands, as_records, as_strimzi
from driftbus.stream.doctor.finding import Finding
from driftbus.stream.doctor.rights import RIGHTS


@click.command(short_help="Find what keeps a deployment from working, with the fix.")
@config_option
@click.option("--timeout", type=click.FloatRange(min=1), default=60.0, show_default=True, help="Seconds for all of it.")
@click.option("--acls", is_flag=True, help="Print the least Kafka rights that commands need. Connects to nothing.")
@click.option(
    "--for", "commands", multiple=True, type=click.Choice(list(RIGHTS)), metavar="COMMAND",
    help=f"With --acls: whose rights; repeatable. One of {', '.join(RIGHTS)}.  [default: all]",
)  # fmt: skip
@click.option("--principal", help="With --acls: who gets them, as User:driftbus.  [default: kafka.username]")
@click.option("--bootstrap", help=f"With --acls: where an administrator connects.  [default: {BOOTSTRAP}]")
@click.option("--strimzi", is_flag=True, help="With --acls: as a KafkaUser of Strimzi.")
@click.option("--json", "as_json", is_flag=True, help="One JSON line a check, or a right.")
def command(
    config_path: Path,
    timeout: float,
    acls: bool,
    commands: tuple[str, ...],
    principal: str | None,
    bootstrap: str | None,
    strimzi: bool,
    as_json: bool,
) -> int | None:
    """Look at everything a worker relies on: this machine, brokers, rights, topics, registry, records, profiles.

    \b
    driftbus doctor
    driftbus doctor --acls --for run --principal User:driftbus

    Nothing is written and no group is joined. Each thing that is wrong comes with what to do; run it where the
    workers run, as their user.

    Exit code 0 when nothing is wrong, 1 when something is, 3 when Kafka or the registry can't be reached.
    """
    config = configured(config_path)
    if acls:
        _print_rights(config, commands, principal, bootstrap, strimzi, as_json)
        return None
    if commands or principal or bootstrap or strimzi:
        raise click.UsageError("--for, --principal, --bootstrap and --strimzi go with --acls")
    return _examine(config, config_path, timeout, as_json)


def _examine(config: Config, path: Path, timeout_s: float, as_json: bool) -> int | None:
    from driftbus.stream.doctor.examination import Examination
    from driftbus.stream.doctor.examine import examine
    from driftbus.stream.doctor.told import line_of, summary_of

    live = sys.stdout.isatty() and not as_json
    console = Console(highlight=False, soft_wrap=True)
    status = Console(stderr=True).status("") if live else None

    def tell(finding: Finding) -> None:
        if as_json:
            click.echo(json.dumps(finding.plain(), ensure_ascii=False))
        else:
            console.print(line_of(finding))

    def begin(what: str) -> None:
        if status is not None:
            status.update(f"looking at {what}")

    examination = Examination(timeout_s, tell, begin)
    if not as_json:
        console.print(f"driftbus {driftbus.__version__}  {path}, app {config.app}", markup=False)
    with status or nullcontext():
        examine(config, examination)
    if not as_json:
        console.print(summary_of(examination.findings))
    if examination.unreachable:
        return 3
    return 1 if any(finding.status == "wrong" for finding in examination.findings) else None


def _print_rights(
    config: Config,
    commands: tuple[str, ...],
    principal: str | None,
    bootstrap: str | None,
    strimzi: bool,
    as_json: bool,
) -> None:
    chosen = {name: RIGHTS[name](config) for name in commands or RIGHTS}
    who = _principal(config, principal)
    if as_json:
        for record in as_records(chosen):
            click.echo(json.dumps(record, ensure_ascii=False))
    elif strimzi:
        click.echo(as_strimzi(chosen, who))
    else:
        click.echo(as_commands(chosen, who, bootstrap or BOOTSTRAP))


def _principal(config: Config, given: str | None) -> str:
    if given:
        return given if ":" in given else f"User:{given}"
    user = config.kafka.username
    return f"User:{user}" if user else PRINCIPAL
