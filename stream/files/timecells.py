"""Event times in the forms in which files write them, as milliseconds since 1970 in UTC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from driftbus.schemas.columns import MISSING_TIME
from driftbus.stream.files.cells import is_number, is_text, numbers, pc, texts

Order = Literal["ymd", "dmy", "mdy"]

_UNITS = {"s": 1e3, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
_YEAR_2000, _YEAR_2100 = 946_684_800_000, 4_102_444_800_000
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_CLOCK = (
    r"(?:[T ,]+(?P<hour>\d{1,2})(?::?(?P<minute>\d{2}))?(?::?(?P<second>\d{2}))?(?:[.,](?P<fraction>\d{1,9}))?"
    r" ?(?P<half>[AaPp]\.?[Mm]\.?)?)? ?(?P<zone>Z|z|UTC|GMT|[+-]\d{2}:?\d{2}|[+-]\d{2})?$"
)
_DATES: dict[Order, tuple[str, ...]] = {
    "ymd": (
        r"^(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})",
        r"^(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})",
    ),
    "dmy": (
        r"^(?P<day>\d{1,2})[-/.](?P<month>\d{1,2})[-/.](?P<year>\d{4})",
        r"^(?:[A-Za-z]{3,9},? )?(?P<day>\d{1,2})[- ](?P<month>[A-Za-z]{3})[a-z]*[- ](?P<year>\d{4})",
    ),
    "mdy": (
        r"^(?P<month>\d{1,2})[-/.](?P<day>\d{1,2})[-/.](?P<year>\d{4})",
        r"^(?P<month>[A-Za-z]{3})[a-z]* (?P<day>\d{1,2}),? (?P<year>\d{4})",
    ),
}  # fmt: skip
_FEW = 50
_LOOKS_LIKE_A_DATE = re.compile(r"\d{4}|\d{1,2}[/.-]\d{1,2}[/.-]\d{2}")


@dataclass(frozen=True, slots=True)
class TimeForm:
    """How a column writes times.

    Args:
        order: of the parts of a date in texts.
        unit: of plain numbers: ``s``, ``ms``, ``us`` or ``ns``; "" for texts and typed times.
    """

    order: Order = "ymd"
    unit: str = ""


def times(array: Any, form: TimeForm) -> NDArray[np.int64]:
    """int64[n] milliseconds; `MISSING_TIME` where there is no time. A time without a zone is UTC."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return times(array.dictionary_decode(), form)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        whole = array.cast(pa.timestamp("ms", getattr(kind, "tz", None)), safe=False).cast(pa.int64())
        return _filled(whole)
    if form.unit:
        values, status = numbers(array)
        return _rounded(np.where(status == 1, values, np.nan) * _UNITS[form.unit])
    if not is_text(kind):
        return np.full(len(array), MISSING_TIME, np.int64)
    cells = texts(array)
    if form.order == "ymd":
        for kind in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
            try:
                return _filled(cells.cast(kind).cast(pa.int64()), 1000)
            except pa.ArrowInvalid:
                continue
    distinct = cells.dictionary_encode()
    found = _parsed(distinct.dictionary, form.order)
    at = distinct.indices.fill_null(len(found)).to_numpy(zero_copy_only=False)
    result: NDArray[np.int64] = np.append(found, MISSING_TIME)[at]
    return result


def guess_time(array: Any, named_like_time: bool = False) -> TimeForm | None:
    """The form of a column that holds times, None if it does not.

    Args:
        array: a sample of the column.
        named_like_time: whether its name speaks of time; plain numbers are taken for times only then.
    """
    kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return TimeForm()
    if is_text(kind):
        cells = texts(array).drop_null()
        if not len(cells):
            return None
        if _LOOKS_LIKE_A_DATE.search(cells[0].as_py()) and _guess_order(cells.slice(0, _FEW), named_like_time):
            form = _guess_order(cells, named_like_time)
            if form is not None:
                return form
    elif not is_number(kind):
        return None
    return _guess_unit(array) if named_like_time else None


def _guess_order(cells: Any, named_like_time: bool) -> TimeForm | None:
    """Of two possible orders, the one whose dates ascend; the day first if neither or both do."""
    if not named_like_time and pc.all(pc.match_substring_regex(cells, r"^\d+$")).as_py():
        return None
    best: tuple[float, TimeForm] | None = None
    for order in ("ymd", "dmy", "mdy"):
        found = times(cells, TimeForm(order))
        good = found[found != MISSING_TIME]
        if good.size < 0.9 * len(cells):
            continue
        backwards = float(np.mean(np.diff(good) < 0)) if good.size > 1 else 0.0
        rank = (len(cells) - good.size) / len(cells) + backwards
        if best is None or rank < best[0]:
            best = rank, TimeForm(order)
    return None if best is None else best[1]


def _guess_unit(array: Any) -> TimeForm | None:
    values, status = numbers(array)
    present = values[(status == 1) & np.isfinite(values)]
    if present.size < 0.9 * len(array) or not present.size:
        return None
    middle = float(np.median(present))
    for unit, factor in _UNITS.items():
        if _YEAR_2000 - 10 * 365 * 86_400_000 <= middle * factor <= _YEAR_2100:
            return TimeForm(unit=unit)
    return None


def _parsed(words: Any, order: Order) -> NDArray[np.int64]:
    out = np.full(len(words), MISSING_TIME, np.int64)
    for pattern in _DATES[order]:
        fields = pc.extract_regex(words, pattern + _CLOCK)
        rows = np.flatnonzero(fields.is_valid().to_numpy(zero_copy_only=False) & (out == MISSING_TIME))
        if rows.size:
            out[rows] = _assembled(fields.take(pa.array(rows)))
    return out


def _assembled(fields: Any) -> NDArray[np.int64]:
    """Milliseconds from the parts of dates and clocks; missing where a part is out of its range."""

    def part(name: str) -> Any:
        return pc.struct_field(fields, name)

    def whole(name: str) -> NDArray[np.int64]:
        cells = part(name)
        filled = pc.if_else(pc.equal(cells, ""), "0", cells).cast(pa.int64())
        result: NDArray[np.int64] = filled.to_numpy(zero_copy_only=False)
        return result

    names = part("month").to_pylist()
    month = np.array([int(m) if m.isdigit() else _month(m) for m in names], np.int64)
    year, day, hour, minute, second = map(whole, ("year", "day", "hour", "minute", "second"))
    fraction = np.array([int(f[:3].ljust(3, "0")) if f else 0 for f in part("fraction").to_pylist()], np.int64)
    half = [h[:1].lower() for h in part("half").to_pylist()]
    morning, evening = np.array([h == "a" for h in half]), np.array([h == "p" for h in half])
    fine = (month >= 1) & (month <= 12) & (day >= 1) & (hour <= 23) & (minute <= 59) & (second <= 59) & (year >= 1)
    fine &= ~(morning | evening) | ((hour >= 1) & (hour <= 12))
    hour = np.where(morning & (hour == 12), 0, np.where(evening & (hour < 12), hour + 12, hour))
    first = ((year - 1970).astype("M8[Y]").astype("M8[M]") + (np.clip(month, 1, 12) - 1)).astype("M8[D]")
    date = first + (day - 1)
    fine &= date.astype("M8[M]") == first.astype("M8[M]")
    zone = np.array([_zone_minutes(z) for z in part("zone").to_pylist()], np.int64)
    clock = ((hour * 60 + minute - zone) * 60 + second) * 1000 + fraction
    return np.where(fine, date.astype(np.int64) * 86_400_000 + clock, MISSING_TIME)


def _month(name: str) -> int:
    return _MONTHS.index(name.lower()) + 1 if name.lower() in _MONTHS else 0


def _zone_minutes(zone: str) -> int:
    if not zone or zone[0] not in "+-":
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    return (1 if zone[0] == "+" else -1) * (int(digits[:2]) * 60 + int(digits[2:]))


def _filled(whole: Any, divide: int = 1) -> NDArray[np.int64]:
    valid = whole.is_valid().to_numpy(zero_copy_only=False)
    values = whole.fill_null(0).to_numpy(zero_copy_only=False)
    return np.where(valid, values // divide, MISSING_TIME)


def _rounded(ms: NDArray[np.float64]) -> NDArray[np.int64]:
    fine = np.isfinite(ms) & (np.abs(ms) < 8.64e15)
    return np.where(fine, np.floor(np.where(fine, ms, 0.0) + 0.5).astype(np.int64), MISSING_TIME)
