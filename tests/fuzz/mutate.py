"""Seeds and what random damage makes of them, without looking at coverage: fast, and the same for the same seed."""

from __future__ import annotations

import random
import traceback
from collections.abc import Iterator
from pathlib import Path

from .schemas import damaged
from .targets import Target, attempt

REGRESSIONS = Path(__file__).parent / "regressions"
CORPUS = Path(__file__).parents[2] / ".cache" / "fuzz"


def kept(folder: Path, name: str) -> list[bytes]:
    """Inputs that are kept of a target."""
    return [path.read_bytes() for path in sorted((folder / name).glob("*")) if path.is_file()]


def inputs(target: Target, name: str, runs: int, seed: int) -> Iterator[bytes]:
    """Regressions, seeds, the corpus that was found, then mutants."""
    known = [*kept(REGRESSIONS, name), b"", *target.seeds(), *kept(CORPUS, name)]
    yield from known
    rng = random.Random(f"{name} {seed}")
    for _ in range(runs):
        yield damaged(rng, rng.choice(known), rng.choice(known))


def defects(target: Target, name: str, runs: int, seed: int = 0) -> list[tuple[bytes, str]]:
    """The inputs that did not end well, with what happened; one for each place in the code."""
    found: dict[str, tuple[bytes, str]] = {}
    for data in inputs(target, name, runs, seed):
        try:
            attempt(target, data)
        except Exception as error:  # noqa: BLE001  whatever it is, it is a defect
            place = traceback.extract_tb(error.__traceback__)[-1]
            found.setdefault(f"{type(error).__name__} {place.filename}:{place.lineno}", (data, traceback.format_exc()))
    return list(found.values())
