"""``driftbus run``: the worker."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import click

from driftbus.stream.cli._options import config_option, configured


@click.command(short_help="Run a worker until SIGTERM.")
@config_option
def command(config_path: Path) -> None:
    """Read events, judge them, publish drift events, incidents and retrain triggers, until SIGTERM or Ctrl-C.

    Start as many workers with the same configuration as you like: they share the work. A monitor
    without a profile learns one from the beginning of its topic first.

    Exit code 0 after SIGTERM, 3 when Kafka could not be reached, 4 after a failure; nothing past a
    failure is committed.
    """
    config = configured(config_path)
    from driftbus.stream.worker.logs import set_up_logs

    set_up_logs(config.run.log, config.run.log_level)
    from driftbus.stream.worker.running import run_worker

    try:
        code = _loop(lambda: run_worker(config))
    except Exception as error:  # noqa: BLE001 - the process ends here
        from driftbus.stream.cli.main import told

        code = told(error)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # Faust's and librdkafka's threads don't end by themselves; everything that counts is flushed
    os._exit(code)


def _loop(main: Callable[[], Coroutine[Any, Any, int]]) -> int:
    try:
        from uvloop import run
    except ImportError:  # there is none for Windows
        return asyncio.run(main())
    return run(main())
