"""river's detectors behind the adapter: its alarms, index for index, and state that is plain."""

from __future__ import annotations

import builtins
import json
import random
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from river import drift

from driftbus.detectors import river_engine
from driftbus.detectors.river_engine import NAMES, RiverEngine, order
from driftbus.detectors.river_state import attributes, plain, restored, set_attributes
from driftbus.schemas.errors import ConfigError, StateError

RIVERS: dict[str, Any] = {
    "ddm": drift.binary.DDM, "eddm": drift.binary.EDDM, "hddm_a": drift.binary.HDDMA,
    "hddm_w": drift.binary.HDDMW, "page_hinkley": drift.PageHinkley, "kswin": lambda: drift.KSWIN(seed=0),
}  # fmt: skip


def errors(seed: int, size: int = 2_400) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    chance = np.select([np.arange(size) < size // 3, np.arange(size) < 2 * size // 3], [0.05, 0.7], 0.2)
    return (rng.random(size) < chance) * 1.0


def of_river(name: str, values: NDArray[np.float64]) -> list[int]:
    detector, found = RIVERS[name](), []
    for i, value in enumerate(values.tolist()):
        detector.update(value)
        if detector.drift_detected:
            found.append(i)
    return found


def of_engine(name: str, values: NDArray[np.float64]) -> list[int]:
    engine = RiverEngine((name,))
    return [i for i, value in enumerate(values) if engine.update(i, np.array([value]))]


@pytest.mark.parametrize("name", NAMES)
def test_with_one_label_a_pane_alarms_are_rivers(name: str) -> None:
    found = [of_river(name, errors(seed, 900 if name == "kswin" else 9_000)) for seed in range(2)]
    assert [of_engine(name, errors(seed, 900 if name == "kswin" else 9_000)) for seed in range(2)] == found
    assert any(found)


@pytest.mark.parametrize("name", NAMES)
def test_written_and_read_after_every_label_alarms_are_the_same(name: str) -> None:
    size = 360 if name == "kswin" else 1_500
    values, found = errors(3, size), []
    engine = RiverEngine((name,))
    for i, value in enumerate(values):
        if engine.update(i, np.array([value])):
            found.append(i)
        state = {key: array.copy() for key, array in engine.arrays().items()}
        engine = RiverEngine((name,))
        engine.restore(state)
        assert np.array_equal(engine.arrays()["plain"], state["plain"])
    assert found == of_river(name, values)
    assert found


def test_a_pane_is_fed_in_an_order_of_its_own() -> None:
    for tick in (-3, 0, 7, 2**40):
        assert sorted(order(tick, 50).tolist()) == list(range(50))
        assert order(tick, 50).tolist() == order(tick, 50).tolist()
    assert order(1, 50).tolist() != order(2, 50).tolist()
    # every order as likely as any other: each place holds each value equally often
    places = np.zeros((5, 5))
    for tick in range(5_000):
        places[np.arange(5), order(tick, 5)] += 1
    assert np.sum((places - 1_000) ** 2 / 1_000) < 45  # chi-square of 16, p = 1e-4


def test_which_errors_a_pane_had_counts_not_where_they_stood() -> None:
    values = errors(5, 4_000).reshape(-1, 40)
    told = []
    for arrange in (np.sort, lambda pane: np.sort(pane)[::-1]):
        engine = RiverEngine(NAMES[:5])
        told.append([sorted(engine.update(i, np.sort(arrange(pane)))) for i, pane in enumerate(values)])
    assert told[0] == told[1]
    assert any(told[0])


def test_a_divisor_makes_alarms_rarer() -> None:
    quiet = (np.random.default_rng(1).random(20_000) < 0.1) * 1.0
    panes = quiet.reshape(-1, 20)
    for name in ("ddm", "hddm_a", "hddm_w"):
        free, held = RiverEngine((name,)), RiverEngine((name,), divisor=1_000.0)
        counts = [sum(bool(e.update(i, pane)) for i, pane in enumerate(panes)) for e in (free, held)]
        assert counts[1] <= counts[0]
        assert counts[1] <= 1


def test_state_is_json_and_another_version_is_refused() -> None:
    engine = RiverEngine(NAMES)
    engine.update(1, errors(1, 200))
    array = engine.arrays()["plain"]
    state = json.loads(array.tobytes())
    assert array.dtype == np.uint8
    assert set(state) == {"river", "detectors"}
    other = json.dumps(state | {"river": "0.1"}).encode()
    with pytest.raises(StateError, match=r"written by river 0\.1"):
        RiverEngine(NAMES).restore({"plain": np.frombuffer(other, np.uint8)[None, :]})


def test_what_is_not_known_is_refused() -> None:
    class Strange:
        pass

    with pytest.raises(StateError, match="Strange"):
        plain(Strange())
    with pytest.raises(StateError, match="not known"):
        restored(["object", "Strange", {}], {"Strange": Strange})
    with pytest.raises(StateError, match="not known"):
        restored(["rust", "Strange", ""], {"Strange": Strange})
    detector = drift.binary.DDM()
    with pytest.raises(StateError, match="attributes"):
        set_attributes(detector, attributes(detector) | {"more": 1}, {})


def test_plain_values_come_back() -> None:
    generator = random.Random(4)
    value = [1, 2.5, None, True, "x", (1, float("inf")), deque([1, 2], maxlen=3), generator]
    back = restored(json.loads(json.dumps(plain(value))), {})
    assert back[:6] == value[:6]
    assert (back[6], back[6].maxlen) == (deque([1, 2]), 3)
    assert back[7].random() == generator.random()


def test_without_river_the_configuration_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002
        locals: Mapping[str, object] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        if name.split(".")[0] == "river":
            raise ImportError("No module named 'river'")
        return real(name, globals, locals, fromlist or (), level)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ConfigError, match=r"performance\.detectors"):
        RiverEngine(("ddm",))
    assert river_engine.RiverEngine(()).update(0, np.ones(3)) == []
