"""One battery of laws over everything that has state: replay, dump and load at any cut, bounded size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Protocol, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import driftbus.detectors
from driftbus.detectors.adwin import AdwinBank, AdwinRules
from driftbus.detectors.cardinality import CardinalityWatch
from driftbus.detectors.concept_history import CountHistory
from driftbus.detectors.cusum import CusumBank
from driftbus.detectors.distancebank import LEAST, DistanceBank
from driftbus.detectors.duplicates import DuplicatesWatch
from driftbus.detectors.freshness import FreshnessWatch
from driftbus.detectors.group import GroupDetector
from driftbus.detectors.joint import JointWatch
from driftbus.detectors.joint_reference import Reference, reference_of
from driftbus.detectors.profile import Profile
from driftbus.detectors.psi import PsiBank
from driftbus.detectors.river_engine import NAMES, RiverEngine
from driftbus.detectors.settings import Settings
from driftbus.detectors.state import pack, select, unpack
from driftbus.detectors.volume import VolumeWatch
from driftbus.detectors.windows import SlidingWindows
from driftbus.schemas.config import Detector
from driftbus.schemas.errors import StateError

from .sketching import PROFILE as SKETCHED
from .sketching import delays_of, ids_of, panes_with_a_stuck_column
from .synthetic import Values, autoregressive, panes_of, profile_of

SETTINGS = Settings(pane_ms=600_000, range=True, detectors=tuple(sorted(get_args(Detector))))
PANE = 100


@lru_cache
def world() -> tuple[Profile, tuple[NDArray[np.int64], ...]]:
    """A profile with every kind of score, and panes with drift, nulls, outages and a return."""
    rng = np.random.default_rng(11)

    def columns(size: int) -> dict[str, Values]:
        return {
            "x": rng.standard_normal(size),
            "slow": autoregressive(rng, size, 0.9),
            "flag": (rng.random(size) < 0.3) * 1.0,
            "kind": list(rng.choice(["a", "b", "c", None], size, p=[0.5, 0.3, 0.15, 0.05])),
        }

    profile, stream = profile_of(columns(5_000), ordered=True), columns(30_000)
    x, kind = stream["x"], stream["kind"]
    assert isinstance(x, np.ndarray)
    assert isinstance(kind, list)
    x[8_000:18_000] += 1.0
    x[12_000:14_000][rng.random(2_000) < 0.3] = np.nan
    kind[10_000:12_000] = ["new", "a"] * 1_000
    return profile, tuple(panes_of(profile, stream, PANE))


def fed(group: GroupDetector, start: int, stop: int) -> list[object]:
    panes = world()[1]
    return [
        transition for i in range(start, stop) for transition in group.update(i * 2 + (i > 250) * 50, panes[i], PANE)
    ]


@lru_cache
def undisturbed() -> tuple[tuple[object, ...], bytes]:
    group = GroupDetector(world()[0], SETTINGS)
    return tuple(fed(group, 0, len(world()[1]))), group.dump()


def test_the_world_is_worth_it() -> None:
    told = {(getattr(t, "aspect", ""), getattr(t, "status", "")) for t in undisturbed()[0]}
    assert {
        ("distribution", "opened"),
        ("distribution", "closed"),
        ("quality", "opened"),
        ("quality", "closed"),
    } <= told


def test_replay_gives_the_same_transitions_and_bytes() -> None:
    group = GroupDetector(world()[0], SETTINGS)
    assert tuple(fed(group, 0, len(world()[1]))) == undisturbed()[0]
    assert group.dump() == undisturbed()[1]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 300), max_size=4))
def test_dump_and_load_at_any_cut_equals_no_cut(cuts: list[int]) -> None:
    profile, panes = world()
    group, told, start = GroupDetector(profile, SETTINGS), [], 0
    for cut in [*sorted(cuts), len(panes)]:
        told += fed(group, start, cut)
        written = group.dump()
        group, start = GroupDetector.load(profile, SETTINGS, written), cut
        assert group.dump() == written
    assert tuple(told) == undisturbed()[0]
    assert group.dump() == undisturbed()[1]


def test_groups_of_one_profile_do_not_share_state() -> None:
    profile, panes = world()
    one, other = GroupDetector(profile, SETTINGS), GroupDetector(profile, SETTINGS)
    before = other.dump()
    for i in range(120):
        one.update(i, panes[i], PANE)
    assert other.dump() == before


def test_merged_counts_in_any_order_give_the_same_verdicts() -> None:
    profile, panes = world()
    rng, group, told = np.random.default_rng(0), GroupDetector(profile, SETTINGS), []
    for i, pane in enumerate(panes):
        part = rng.binomial(pane, 0.4)
        parts = [part, pane - part]
        rng.shuffle(parts)
        told += group.update(i * 2 + (i > 250) * 50, parts[0] + parts[1], PANE)
    assert tuple(told) == undisturbed()[0]


def test_state_is_bounded_by_the_logarithm_of_the_panes() -> None:
    profile, panes = world()
    group, sizes = GroupDetector(profile, SETTINGS), []
    for i in range(8_000):
        group.update(i, panes[i % 80], PANE)
        if i in (1_000, 7_999):
            sizes.append(len(group.dump()))
    assert sizes[1] < 1.5 * sizes[0]
    assert sizes[1] < 60_000


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b"XXXX" + b[4:],
        lambda b: b[:4] + b"\x63" + b[5:],
        lambda b: b[:40],
        lambda b: b[:-3],
        lambda b: b[:-20] + bytes(20),
        lambda _: b"",
    ],
)
def test_damaged_state_says_what_to_do(damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(StateError, match="driftbus state forget"):
        GroupDetector.load(world()[0], SETTINGS, damage(undisturbed()[1]))


def test_state_of_other_settings_or_another_profile_is_refused() -> None:
    profile = world()[0]
    with pytest.raises(StateError, match="fingerprint"):
        GroupDetector.load(profile, Settings(pane_ms=1), undisturbed()[1])
    with pytest.raises(StateError, match="fingerprint"):
        GroupDetector.load(profile_of({"x": np.arange(9.0)}), SETTINGS, undisturbed()[1])
    with pytest.raises(StateError, match="kind"):
        unpack("judge", "f", pack("group", "f", {}))


def test_packed_arrays_come_back() -> None:
    arrays = {"b": np.array([[1.5, np.inf]]), "a": np.array([], np.int64), "c": np.array([True, False])}
    found = unpack("k", "f", pack("k", "f", arrays))
    assert {name: (array.dtype, array.tolist()) for name, array in found.items()} == {
        name: (array.dtype, array.tolist()) for name, array in arrays.items()
    }
    with pytest.raises(StateError, match=r"p\.b is missing or does not fit"):
        select({"p.b": np.zeros(3)}, "p", {"b": np.zeros(2)})


class Part(Protocol):
    """What the battery needs of anything with state."""

    def arrays(self) -> dict[str, NDArray[Any]]: ...

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None: ...


class Windowed:
    """A distance and the windows that it judges, of two columns of two bins."""

    def __init__(self, make: Callable[[list[NDArray[np.float64]]], PsiBank | DistanceBank]) -> None:
        self.bank = make([np.array([500.0, 500.0])] * 2)
        self.windows = SlidingWindows((40, 200), np.array([2, 2]))

    def update(self, tick: int, x: NDArray[np.float64]) -> object:
        counts = np.concatenate([[5.0 - high, high] for high in np.clip(np.round(2.5 + x), 0, 5)])
        self.windows.update(tick, np.full(2, 5.0), counts)
        windows = (self.windows.judged, self.windows.n, self.windows.sums)
        self.bank.update(np.full(2, 5.0), counts, self.windows.start, *windows)
        return self.bank.judgement.tolist(), self.bank.open.tolist()

    def arrays(self) -> dict[str, NDArray[Any]]:
        return self.bank.arrays() | {f"windows_{name}": array for name, array in self.windows.arrays().items()}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.bank.restore(arrays)
        self.windows.restore({name: arrays[f"windows_{name}"] for name in self.windows.arrays()})


def distance(name: str) -> tuple[Callable[[], Windowed], Callable[..., object]]:
    return (
        lambda: Windowed(lambda reference: DistanceBank(name, reference, [True, True], (40, 200), 1e-3)),
        lambda part, i, x: part.update(i, x),
    )


class Summed:
    """Cumulative sums of two scores, and the bank that knows their variances."""

    def __init__(self, *, running: bool) -> None:
        self.variances = AdwinBank(np.array([0.002, 0.1]), AdwinRules(alarms=False))
        moments = np.array([[500.0, 500.0], [0.0, 0.2], [1.0, 2.0]])
        self.bank = CusumBank(running, moments, np.full((2, 2), 8.0), self.variances)

    def update(self, tick: int, x: NDArray[np.float64]) -> object:
        self.variances.update(tick, np.full(2, 3.0), x, x * x)
        return self.bank.update(tick, np.full(2, 3.0), x)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return self.bank.arrays() | {f"variances_{name}": array for name, array in self.variances.arrays().items()}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.bank.restore(arrays)
        self.variances.restore({name: arrays[f"variances_{name}"] for name in self.variances.arrays()})


@lru_cache
def related() -> Reference:
    """A reference of three columns that belong together."""
    rows = np.random.default_rng(3).standard_normal((600, 3)).cumsum(axis=1)
    found = reference_of(profile_of({f"c{i}": rows[:, i] for i in range(3)}))
    assert found is not None
    return found


def cells_near(x: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Eight sampled rows of three columns of 64 bins, made of two numbers."""
    rows = np.outer(np.sin(np.arange(1.0, 9.0) * (1 + x[0])), [1.0, 1.0, -1.0]) + np.sin(
        np.arange(24).reshape(8, 3) * x[1]
    )
    return np.clip(np.round(33 + 15 * rows), 1, 64).astype(np.uint16)


# Whatever keeps state stands here: its name (a detector's as in the configuration), how one is made, how it is fed
# with two values a pane. `test_the_battery_is_complete` tells what was forgotten.
PARTS: dict[str, tuple[Callable[[], Part], Callable[..., object]]] = {
    "adwin": (
        lambda: AdwinBank(np.array([0.002, 0.1]), reference=(np.full(2, 99.0), np.zeros(2), np.full(2, 99.0))),
        lambda part, i, x: part.update(i, np.full(2, 3.0), x, x * x),
    ),
    "psi": (
        lambda: Windowed(lambda reference: PsiBank(reference, 2, 1e-3, 0.02)),
        lambda part, i, x: part.update(i, x),
    ),
    **{name: distance(name) for name in LEAST},
    "cusum": (lambda: Summed(running=False), lambda part, i, x: part.update(i, x)),
    "page_hinkley": (lambda: Summed(running=True), lambda part, i, x: part.update(i, x)),
    "windows": (
        lambda: SlidingWindows((10, 50), np.array([1, 1])),
        lambda part, i, x: (part.update(i, np.array([1.0, i % 3]), x), part.judged.tolist(), part.sums.tolist()),
    ),
    "relations": (
        lambda: JointWatch(related(), Settings(pane_ms=1_000, relation_windows=(64, 160), relation_alpha=0.05)),
        lambda part, i, x: part.update(i, cells_near(x)),
    ),
    "history": (
        lambda: CountHistory(2),
        lambda part, i, x: (part.add(i, np.array([i, 1])), part.between(i // 2, i - 3).tolist()),
    ),
    "river": (
        lambda: RiverEngine(NAMES),
        lambda part, i, x: part.update(i, np.clip(np.abs(np.round(x)), 0, 1)),
    ),
    "volume": (lambda: VolumeWatch(3_600_000, 1e-6), lambda part, i, x: part.update(i * 2, int(100 * abs(x[0])))),
    "cardinality": (
        lambda: CardinalityWatch(SKETCHED, 1e-6),
        lambda part, i, x: part.update(i, panes_with_a_stuck_column()[i % 200]),
    ),
    "duplicates": (
        lambda: DuplicatesWatch(True, 1e-6),
        lambda part, i, x: part.update(i, 100, ids_of(np.arange(100 * i, 100 * i + 100) // (1 + (x[0] > 1)))),
    ),
    "freshness": (
        lambda: FreshnessWatch(3_600_000),
        lambda part, i, x: part.update(i, delays_of(np.full(300, int(1_000 * np.exp(abs(x[0])))))),
    ),
}


IN_GROUPS = {"EpisodeBook", "SeasonClock", "ConceptBook", "ConceptWatch"}
"""Kept by a group, and resumed with it above; the clock in test_seasons.py, outcomes in test_concept.py."""


def held_in(part: object) -> Iterator[object]:
    """A part and all that it is made of."""
    yield part
    for each in getattr(part, "__dict__", {}).values():
        yield from held_in(each)


def test_the_battery_is_complete() -> None:
    assert set(get_args(Detector)) <= PARTS.keys(), "a detector of the configuration is not in PARTS"
    known = {type(each).__name__ for make, _ in PARTS.values() for each in held_in(make())}
    for module in iter_modules(driftbus.detectors.__path__):
        for name, kept in vars(import_module(f"driftbus.detectors.{module.name}")).items():
            stateful = isinstance(kept, type) and hasattr(kept, "arrays") and hasattr(kept, "restore")
            if stateful and not getattr(kept, "_is_protocol", False):
                assert name in known | IN_GROUPS, f"{name} of detectors/{module.name}.py keeps state: add it to PARTS"


@pytest.mark.parametrize("name", PARTS)
@settings(max_examples=10, deadline=None)
@given(st.integers(0, 600), st.integers(0, 99))
def test_every_part_resumes_at_any_cut(name: str, cut: int, seed: int) -> None:
    make, feed = PARTS[name]
    values = np.random.default_rng(seed).standard_normal((600, 2)) + (np.arange(600)[:, None] > 300)
    whole, part, told = make(), make(), []
    expected = [feed(whole, i, x) for i, x in enumerate(values)]
    for i, x in enumerate(values):
        if i == cut:
            state = {f"p.{key}": array.copy() for key, array in part.arrays().items()}
            part = make()
            part.restore(select(state, "p", part.arrays()))
        told.append(feed(part, i, x))
    assert told == expected
    for key, array in whole.arrays().items():
        assert np.array_equal(array, part.arrays()[key]), key
