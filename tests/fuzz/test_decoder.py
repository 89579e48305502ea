"""A few rounds of what `make fuzz` does for hours: the decoder under records, and what was left of them."""

from __future__ import annotations

import os
import subprocess
import sys

from harness.cache import REPOSITORY

from .decoding import one_round

ROUNDS = 12


def test_records_and_mutants_decode_to_what_two_readers_say() -> None:
    rounds = [one_round(seed) for seed in range(ROUNDS)]
    assert [fault for each in rounds for fault in each.faults] == []
    assert sum(each.good for each in rounds) > 1_000
    assert len({reason for each in rounds for reason in each.reasons}) >= 6


def test_the_machine_without_its_compiler_says_the_same() -> None:
    """What coverage and debuggers see is the code that is compiled."""
    program = "from fuzz.decoding import one_round; t = one_round(3); print(t.inputs, t.good, t.faults)"
    found = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            env=os.environ | {"NUMBA_DISABLE_JIT": flag, "PYTHONPATH": f"{REPOSITORY / 'tests'}:{REPOSITORY / 'src'}"},
            capture_output=True, text=True, check=True, timeout=240,
        ).stdout
        for flag in "01"
    ]  # fmt: skip
    assert found[0] == found[1]
    assert found[0].endswith("[]\n")
