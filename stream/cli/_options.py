"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from driftbus.schemas.config import Config
from driftbus.schemas.configfile import load_config

F = TypeVar("F", bound=Callable[..., Any])


def config_option(function: F) -> F:
    """``-c/--config``, passed on as the keyword ``config_path``."""
    return click.option(
        "-c",
        "--config",
        "config_path",
        type=click.Path(path_type=Path, dir_okay=False),
        default=Path("driftbus.yaml"),
        envvar="DRIFTBUS_CONFIG",
        show_default=True,
        show_envvar=True,
        help="The configuration file.",
    )(function)


def configured(config_path: Path) -> Config:
    """The configuration of a command, overridden by the environment; raises ConfigError."""
    return load_config(config_path, os.environ)
