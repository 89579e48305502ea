"""What the columns of a reference are taken for, and which are left out and why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from driftbus.detectors.reference import NumericData
from driftbus.schemas.errors import ConfigError
from driftbus.stream.files.survey import Survey, Wishes, survey
from driftbus.stream.files.timecells import TimeForm

N = 400
RNG = np.random.default_rng(3)


def looked_at(wishes: Wishes | None = None, **columns: Any) -> Survey:
    full = {name: pa.array(values) for name, values in {"x": RNG.normal(size=N).tolist(), **columns}.items()}
    return survey(pa.table(full), wishes or Wishes(), where="t.csv")


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("v", [str(v) for v in RNG.normal(size=N)], "numeric"),
        ("v", RNG.integers(0, 7, N).tolist(), "numeric"),
        ("v", [str(v) for v in RNG.integers(0, 1000, N)], "numeric"),
        ("v", ["x" if i % 50 == 0 else str(i % 9) for i in range(N)], "numeric"),
        ("v", ["true" if i % 3 else "False" for i in range(N)], "categorical"),
        ("v", [bool(i % 3) for i in range(N)], "categorical"),
        ("v", ["red" if i % 3 else "blue" for i in range(N)], "categorical"),
        ("v", [f"0{i % 90:02}" for i in range(N)], "categorical"),
        ("v", ["a", *["NA"] * (N - 1)], "categorical"),
        ("store_id", RNG.integers(0, 9, N).tolist(), "numeric"),
    ],
)
def test_what_is_watched(name: str, values: Any, kind: str) -> None:
    data = looked_at(**{name: values}).data[name]
    assert ("numeric" if isinstance(data, NumericData) else "categorical") == kind


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("v", [7] * N, "constant"),
        ("v", ["a"] * N, "constant"),
        ("v", [""] * N, "empty"),
        ("v", [None] * N, "empty"),
        ("v", [f"u{i}" for i in range(N)], "unique"),
        ("v", list(range(100, 100 + N)), "unique"),
        ("customerId", RNG.permutation(10**6)[:N].tolist(), "unique"),
        ("customer_id", RNG.integers(0, 1000, 2 * N)[:N].tolist(), "id"),
        ("v", [f"name{i % 390}" for i in range(N)], "free text, 390 different"),
        ("v", [[1]] * N, "type list<item: int64>"),
        ("born_at", ["2020-01-02"] * (N - 1) + ["2020-01-03"], None),
    ],
)
def test_what_is_left_out(name: str, values: Any, reason: str | None) -> None:
    found = looked_at(**{name: values})
    assert name not in found.data
    assert (found.time if reason is None else dict(found.left_out)[name]) == (name if reason is None else reason)


def test_a_unique_measurement_is_no_identifier() -> None:
    assert "amount" in looked_at(amount=RNG.permutation(10**6)[:N].tolist()).data


def test_the_event_time_is_the_one_with_the_usual_name() -> None:
    days = [f"2020-01-{1 + i // 20:02}" for i in range(N)]
    found = looked_at(signup_date=days, timestamp=days)
    assert found.time == "timestamp"
    assert found.form == TimeForm()
    assert dict(found.left_out) == {"signup_date": "another time"}
    assert looked_at(Wishes(time="signup_date"), signup_date=days, timestamp=days).time == "signup_date"
    assert looked_at(Wishes(untimed=True), timestamp=days).time == ""


def test_roles_by_usual_names_and_by_wish() -> None:
    score = RNG.random(N).tolist()
    found = looked_at(y_pred_proba=score, y_pred=[i % 2 for i in range(N)])
    assert (found.named("score"), found.named("prediction"), found.named("label")) == ("y_pred_proba", "y_pred", "")
    assert not isinstance(found.data["y_pred"], NumericData), "classes have no order"
    assert looked_at(Wishes(score="p"), p=score, y_pred_proba=score).named("score") == "p"


def test_wishes() -> None:
    found = looked_at(
        Wishes(id="k", ignore=("z",), categorical=("c",)), k=[1, 2] * (N // 2), z=[1, 2] * 200, c=[1, 2] * 200
    )
    assert dict(found.left_out) == {"k": "id", "z": "ignored"}
    assert found.data["c"].values[:2].tolist() == ["1", "2"]
    with pytest.raises(ConfigError, match="did you mean 'score'"):
        looked_at(Wishes(score="scor"), score=[0.5, 0.25] * 200)
    with pytest.raises(ConfigError, match="holds no times"):
        looked_at(Wishes(time="x"))


def test_nothing_to_watch_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"no column to watch: x \(constant\)"):
        looked_at(x=[1] * N)


def test_bad_cells_are_invalid_and_said() -> None:
    found = looked_at(v=["?!" if i == 5 else str(i % 9) for i in range(N)])
    values = found.data["v"].values
    assert isinstance(values, np.ndarray)
    assert np.isnan(values[5])
    assert found.notes == ["v: 1 cells of the reference are no numbers"]
