"""Upgrades keep what monitors know: state that older releases have really written is read, and goes on."""

from __future__ import annotations

import re
from typing import Any

import pytest

from driftbus.schemas.errors import StateError
from driftbus.stream.judge import Judge
from driftbus.stream.migrations import PRESENT, STEPS, migrated
from driftbus.stream.state import pack_state, unpack_state
from harness.savedstate import FOLDER, MONITOR, Saved, gone_on, path_of, plans_with

KEPT = sorted(int(match[1]) for path in FOLDER.iterdir() if (match := re.fullmatch(r"monitor\.v(\d+)\.bin", path.name)))


def restored(saved: Saved, **monitor: Any) -> tuple[Judge, list[str]]:
    judge = Judge(plans_with(saved.profile, **monitor), 0)
    return judge, judge.restore({MONITOR: saved.state})


def test_every_format_since_the_first_that_is_read_is_kept() -> None:
    assert [*STEPS, PRESENT] == KEPT == list(range(KEPT[0], PRESENT + 1))


@pytest.mark.parametrize("version", KEPT)
def test_what_a_release_has_saved_goes_on_as_it_would_have(version: int) -> None:
    saved = Saved.read(path_of(version))
    assert unpack_state(saved.state)["version"] == version
    judge, stale = restored(saved)
    assert stale == []
    assert judge.position == saved.offset
    assert gone_on(saved, judge) == list(saved.events)
    assert len(saved.events) > 3, "episodes that were open have gone on"


@pytest.mark.parametrize("version", KEPT)
def test_state_of_another_configuration_is_set_aside_whatever_its_format(version: int) -> None:
    judge, stale = restored(Saved.read(path_of(version)), detection={"psi_min": 0.2})
    assert stale == [MONITOR]
    assert judge.position == 0


@pytest.mark.parametrize(("version", "said"), [(PRESENT + 1, "a newer driftbus wrote it"), (1, "no longer reads")])
def test_what_cannot_be_read_says_so_and_names_the_way_out(version: int, said: str) -> None:
    saved = Saved.read(path_of(PRESENT))
    state = unpack_state(saved.state) | {"version": version}
    judge = Judge(plans_with(saved.profile), 0)
    with pytest.raises(StateError, match=rf"{said}.*driftbus state forget {MONITOR}"):
        judge.restore({MONITOR: pack_state(state)})


def test_steps_are_taken_one_after_the_other() -> None:
    plan = plans_with(Saved.read(path_of(PRESENT)).profile).monitors[MONITOR]
    steps = {
        n: lambda state, plan, n=n: state | {"version": n + 1, "steps": [*state["steps"], n]} for n in range(PRESENT)
    }
    assert migrated({"version": 0, "steps": []}, plan, steps)["steps"] == list(range(PRESENT))
