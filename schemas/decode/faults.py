"""Why a record can't be read: the machine's codes and the reasons that people see."""

from __future__ import annotations

FINE = 0
TRUNCATED = 1
TRAILING_BYTES = 2
BAD_UTF8 = 3
BAD_VARINT = 4
BAD_LENGTH = 5
BAD_UNION = 6
BAD_ENUM = 7
BAD_BOOLEAN = 8
TOO_DEEP = 9
TOO_MANY_ITEMS = 10

REASONS = {
    TRUNCATED: ("truncated", "the record ends before its last field"),
    TRAILING_BYTES: ("trailing_bytes", "bytes are left over after the last field"),
    BAD_UTF8: ("bad_utf8", "a string is not UTF-8"),
    BAD_VARINT: ("bad_varint", "an integer is longer than 64 bits"),
    BAD_LENGTH: ("bad_length", "a negative or impossible length"),
    BAD_UNION: ("bad_union", "a union has no such branch"),
    BAD_ENUM: ("bad_enum", "an enum has no such symbol"),
    BAD_BOOLEAN: ("bad_boolean", "a boolean is neither 0 nor 1"),
    TOO_DEEP: ("too_deep", "nested too deeply"),
    TOO_MANY_ITEMS: ("too_many_items", "an array or map of too many items"),
}
"""Code → (reason, what it means)."""
