"""``driftbus version``."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import click

import driftbus

_LIBRARIES = ("confluent-kafka", "faust-streaming", "fastavro", "numba", "numpy")


@click.command(short_help="Say which version this is.")
@click.option("--verbose", "-v", is_flag=True, help="Also the versions of Python and of the libraries that matter.")
def command(verbose: bool) -> None:
    """Say which version this is."""
    click.echo(f"driftbus {driftbus.__version__}")
    if verbose:
        click.echo(f"python {platform.python_version()} on {platform.platform()}")
        for name in _LIBRARIES:
            click.echo(f"{name} {_installed(name)}")


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "is not installed"
