"""Prints docs/licences.md: the licence of everything that the worker is installed with, as its author declares it."""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

from harness.cache import REPOSITORY

ELSEWHERE = {"colorama": "BSD-3-Clause"}
"""What is installed on other systems only."""


def locked() -> dict[str, set[str]]:
    """Name → versions of `requirements.lock`; one may have another version for a newer Python."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(
        r"^([a-z0-9._-]+)==([^ ;\\]+)", (REPOSITORY / "requirements.lock").read_text(), re.MULTILINE
    ):
        found.setdefault(name, set()).add(version)
    return found


def licence(name: str) -> str:
    """What a package declares: an SPDX expression, or a classifier."""
    try:
        metadata: Any = distribution(name).metadata
    except PackageNotFoundError:
        return ELSEWHERE[name]
    kinds = [c.rpartition(" :: ")[2] for c in metadata.get_all("Classifier") or [] if c.startswith("License ::")]
    text = metadata.get("License-Expression") or "; ".join(kinds) or metadata.get("License") or ""
    return str(text).splitlines()[0].strip()


def page() -> str:
    """The whole page."""
    rows = [f"| {name} | {licence(name)} |" for name in sorted(locked())]
    head = (
        "# Licences\ndriftbus is under the Apache License 2.0. What it is installed with (`requirements.lock`), as the "
        "authors declare it;\n`make licences` writes this page.\n\n| package | licence |\n|---|---|\n"
    )
    return head + "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
