"""The machine's smallest parts: Avro's integers, UTF-8, ISO 8601 times, decimals, numbers as text.

Readers return (value, next position); a negative position is minus a fault code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from driftbus.schemas.columns import MISSING_TIME
from driftbus.schemas.decode.faults import BAD_LENGTH, BAD_VARINT, TRUNCATED
from driftbus.schemas.hashing import load_u64
from driftbus.schemas.kernel import leaf_kernel

Bytes = NDArray[np.uint8]
as_int = cast(Callable[[Any], int], np.int64)
"""A 64-bit integer in a kernel, an `int` for type checkers."""

_MISSING = int(MISSING_TIME)
_LARGEST_TIME = 8_640_000_000_000_000
"""Milliseconds; what calendars of other systems reach. Beyond it a number is no time."""
_LONGEST = 0x7FFFFFFF


@leaf_kernel
def read_long(text: Bytes, at: int, end: int) -> tuple[int, int]:
    """A zigzag varint of at most 64 bits."""
    if at < end:
        byte = text[at]
        if byte < 128:
            return as_int(byte >> 1) ^ -as_int(byte & 1), at + 1
    return _read_long_bytes(text, at, end)


@leaf_kernel
def _read_long_bytes(text: Bytes, at: int, end: int) -> tuple[int, int]:
    value = np.uint64(0)
    for shift in range(0, 70, 7):
        if at >= end:
            return as_int(0), as_int(-TRUNCATED)
        byte = np.uint64(text[at])
        at += 1
        if shift == 63 and byte > np.uint64(1):
            return as_int(0), as_int(-BAD_VARINT)
        value |= (byte & np.uint64(127)) << np.uint64(shift)
        if byte < np.uint64(128):
            break
    return as_int(value >> np.uint64(1)) ^ -as_int(value & np.uint64(1)), at


@leaf_kernel
def read_length(text: Bytes, at: int, end: int) -> tuple[int, int]:
    """The length of a string or of bytes, which then lie within the record."""
    length, after = read_long(text, at, end)
    if after < 0:
        return length, after
    if length < 0 or length > _LONGEST:
        return as_int(0), as_int(-BAD_LENGTH)
    if length > end - after:
        return as_int(0), as_int(-TRUNCATED)
    return length, after


@leaf_kernel
def is_ascii(text: Bytes, start: int, length: int) -> bool:
    at, end = start, start + length
    seen = np.uint64(0)
    while at + 8 <= end:
        seen |= load_u64(text, at)
        at += 8
    if at < end:
        seen |= load_u64(text, at) & ((np.uint64(1) << (np.uint64(end - at) * np.uint64(8))) - np.uint64(1))
    return bool((seen & np.uint64(0x8080808080808080)) == np.uint64(0))


@leaf_kernel
def is_utf8(text: Bytes, start: int, length: int) -> bool:
    """RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF."""
    at, end = start, start + length
    while at < end:
        lead = text[at]
        at += 1
        if lead < 0x80:
            continue
        low, high = 0x80, 0xBF
        if 0xC2 <= lead <= 0xDF:
            more = 1
        elif 0xE0 <= lead <= 0xEF:
            more = 2
            if lead == 0xE0:
                low = 0xA0
            elif lead == 0xED:
                high = 0x9F
        elif 0xF0 <= lead <= 0xF4:
            more = 3
            if lead == 0xF0:
                low = 0x90
            elif lead == 0xF4:
                high = 0x8F
        else:
            return False
        if at + more > end or text[at] < low or text[at] > high:
            return False
        for i in range(1, more):
            if text[at + i] & 0xC0 != 0x80:
                return False
        at += more
    return True


@leaf_kernel
def time_of_long(value: int, multiply: int, divide: int) -> int:
    """Milliseconds of a whole number of units, rounded down."""
    limit = _LARGEST_TIME // multiply
    if multiply > 1 and (value > limit or value < -limit):
        return _MISSING
    value = value * multiply // divide
    return value if -_LARGEST_TIME <= value <= _LARGEST_TIME else _MISSING


@leaf_kernel
def time_of_double(value: float, multiply: int, divide: int) -> int:
    """Milliseconds of a number of units, to the nearest."""
    scaled = np.floor(value * multiply / divide + 0.5)
    return as_int(scaled) if abs(scaled) <= _LARGEST_TIME else as_int(_MISSING)


@leaf_kernel
def _digits(text: Bytes, at: int, count: int) -> int:
    value = 0
    for i in range(at, at + count):
        digit = as_int(text[i]) - 48
        if digit < 0 or digit > 9:
            return -1
        value = value * 10 + digit
    return value


@leaf_kernel
def _days(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 in the proleptic Gregorian calendar (Hinnant's days_from_civil)."""
    year -= 1 if month <= 2 else 0
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


@leaf_kernel
def _zone_ms(text: Bytes, at: int, end: int) -> int:
    """Offset from UTC in ms; `_MISSING` when it is none. No zone is UTC."""
    if at == end:
        return 0
    if (text[at] == 90 or text[at] == 122) and at + 1 == end:
        return 0
    if text[at] != 43 and text[at] != 45:
        return _MISSING
    sign = 1 if text[at] == 43 else -1
    length = end - at
    if length == 3 or length == 5 or (length == 6 and text[at + 3] == 58):
        hours = _digits(text, at + 1, 2)
        minutes = 0 if length == 3 else _digits(text, end - 2, 2)
        if 0 <= hours <= 23 and 0 <= minutes <= 59:
            return sign * (hours * 60 + minutes) * 60_000
    return _MISSING


@leaf_kernel
def time_of_text(text: Bytes, start: int, length: int) -> int:
    """Milliseconds of ``2024-02-29``, ``2024-02-29T12:30``, ``2024-02-29 12:30:59.123456+01:00``; else missing."""
    end = start + length
    if length < 10 or text[start + 4] != 45 or text[start + 7] != 45:
        return _MISSING
    year, month, day = _digits(text, start, 4), _digits(text, start + 5, 2), _digits(text, start + 8, 2)
    if year < 1 or month < 1 or month > 12 or day < 1:
        return _MISSING
    last = _days(year + 1 if month == 12 else year, 1 if month == 12 else month + 1, 1) - _days(year, month, 1)
    if day > last:
        return _MISSING
    midnight = _days(year, month, day) * 86_400_000
    if length == 10:
        return midnight
    separator = text[start + 10]
    if length < 16 or (separator != 84 and separator != 116 and separator != 32) or text[start + 13] != 58:
        return _MISSING
    hour, minute, second, milli = _digits(text, start + 11, 2), _digits(text, start + 14, 2), 0, 0
    at = start + 16
    if at < end and text[at] == 58:
        if at + 3 > end:
            return _MISSING
        second = _digits(text, at + 1, 2)
        at += 3
        if at < end and (text[at] == 46 or text[at] == 44):
            at += 1
            first, weight = at, 100
            while at < end and 48 <= text[at] <= 57:
                milli += weight * (as_int(text[at]) - 48)
                weight //= 10
                at += 1
            if at == first:
                return _MISSING
    zone = _zone_ms(text, at, end)
    if hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 59 or zone == _MISSING:
        return _MISSING
    return midnight + ((hour * 60 + minute) * 60 + second) * 1000 + milli - zone


@leaf_kernel
def decimal_of(text: Bytes, start: int, length: int, scale: int) -> float:
    """A big-endian two's complement integer / 10**scale; exact to a double up to 2**53 and scale 22, else a few ulp."""
    if length == 0:
        return 0.0
    if length <= 8:
        whole = as_int(text[start])
        if whole >= 128:
            whole -= 256
        for i in range(start + 1, start + length):
            whole = (whole << 8) | as_int(text[i])
        value = np.float64(whole)
    else:
        value = np.float64(text[start])
        if value >= 128.0:
            value -= 256.0
        for i in range(start + 1, start + length):
            value = value * 256.0 + np.float64(text[i])
    while scale > 22:
        value /= 1e22
        scale -= 22
    power = 1.0
    for _ in range(scale):
        power *= 10.0
    return value / power


@leaf_kernel
def write_long(text: Bytes, at: int, value: int) -> int:
    """The decimal digits of an integer into text[at:]; returns how many bytes, at most 20."""
    first = at
    rest = np.uint64(value)
    if value < 0:
        text[at] = 45
        at += 1
        rest = np.uint64(0) - rest
    digits = 1
    power = np.uint64(10)
    while digits < 20 and rest >= power:
        digits += 1
        power *= np.uint64(10)
    for i in range(digits):
        text[at + digits - 1 - i] = 48 + as_int(rest % np.uint64(10))
        rest //= np.uint64(10)
    return at + digits - first


@leaf_kernel
def write_uuid(text: Bytes, at: int, start: int) -> int:
    """16 bytes as the 36 characters of a UUID into text[at:]."""
    first = at
    for i in range(16):
        if i in (4, 6, 8, 10):
            text[at] = 45
            at += 1
        byte = as_int(text[start + i])
        for nibble in (byte >> 4, byte & 15):
            text[at] = nibble + 48 if nibble < 10 else nibble + 87
            at += 1
    return at - first
