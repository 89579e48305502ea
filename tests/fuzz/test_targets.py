"""Every reader of bytes: what once ended badly, its seeds, and some mutants; `make fuzz` goes on from here."""

from __future__ import annotations

import pytest

from .mutate import defects
from .targets import TARGETS

MUTANTS = {"registry": 40, "snapshot": 60}


@pytest.mark.parametrize("name", TARGETS)
def test_bytes_are_read_or_refused_with_an_error_of_ours(name: str) -> None:
    found = defects(TARGETS[name], name, MUTANTS.get(name, 150))
    assert [text[-1_500:] for _, text in found] == []
