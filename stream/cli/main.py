"""The command line: finds the commands, and turns exceptions into exit codes.

A command is a module of this package whose name does not begin with an underscore and which has a
click command called ``command``. It returns its exit code, or None for 0. Modules are imported
when their command is used, so that ``driftbus version`` does not wait for numba.
"""

from __future__ import annotations

import difflib
import logging
import os
import pkgutil
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import click

from driftbus.schemas.errors import ConfigError, DriftbusError, Unavailable
from driftbus.schemas.secrets import Masked, masked
from driftbus.stream import cli

FINE, NO, USAGE, UNREACHABLE, CRASHED, INTERRUPTED = 0, 1, 2, 3, 4, 130

_ORDER = (
    "demo",
    "replay",
    "backtest",
    "gate",
    "init",
    "check",
    "doctor",
    "profile",
    "topics",
    "run",
    "explain",
    "retrain",
    "dlq",
    "state",
    "version",
)


class Commands(click.Group):
    """The commands of this package, in the order in which people meet them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        found = {module.name for module in pkgutil.iter_modules(cli.__path__) if not module.name.startswith("_")}
        found.discard("main")
        return sorted(found, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command = import_module(f"driftbus.stream.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise click.UsageError(f"There is no command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def group() -> None:
    """Finds drift in events on Kafka, and says so on Kafka.

    \b
    First steps:
      driftbus demo                                     see it work, without Kafka
      driftbus replay new.csv --reference train.csv     try it on two files
      driftbus init --bootstrap HOST:9092 --topic T     begin with a topic of your own
      driftbus explain                                  what has happened, and since when

    \b
    Exit codes: 0 fine; 1 the answer is no; 2 usage or configuration;
    3 could not reach something; 4 crashed.
    """


def main() -> NoReturn:
    """Entry point of the ``driftbus`` command."""
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of a pipe had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and give its exit code; what went wrong is said on standard error."""
    logging.getLogger("librdkafka").addHandler(logging.NullHandler())  # `run` gives it a real one
    if logging.lastResort is not None and not logging.lastResort.filters:  # what warnings are shown by
        logging.lastResort.addFilter(Masked())
    try:
        code = group.main(args=list(arguments), prog_name="driftbus", standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except click.ClickException as e:
        e.show()
        return USAGE
    except Exception as e:  # noqa: BLE001 - the outermost frame
        return told(e)
    return code if isinstance(code, int) else FINE


def told(error: Exception) -> int:
    """Say on standard error what went wrong; the exit code for it."""
    from confluent_kafka import KafkaException

    match error:
        case ConfigError():
            return _say(str(error), USAGE)
        case Unavailable():
            return _say(str(error), UNREACHABLE)
        case KafkaException():
            return _say(f"Kafka: {error.args[0].str() if error.args else error}", UNREACHABLE)
        case BrokenPipeError():
            return FINE
        case DriftbusError():
            return _say(f"{type(error).__name__}: {error}", CRASHED)
    click.echo(masked("".join(traceback.format_exception(error))), err=True, nl=False)
    return _say("driftbus crashed. The lines above say where; please report them with the command you used", CRASHED)


def _say(message: str, code: int) -> int:
    click.secho("error: ", fg="red", bold=True, nl=False, err=True)
    from driftbus.stream.replay.words import plain

    click.echo("\n".join(map(plain, masked(message).split("\n"))), err=True)
    return code
