"""Names that come from records, such as versions, segments and categories, at a length that can be carried about."""

from __future__ import annotations

from driftbus.schemas.hashing import hash_bytes

LONGEST_NAME = 256
"""Bytes of UTF-8. A longer name is cut, and told from others that begin like it by a hash of the whole."""

_ELLIPSIS, _DIGITS = "…", 16


def short_name(text: str) -> str:
    """The text, or a beginning of it, an ellipsis and the hash of all of it where it is longer than `LONGEST_NAME`.

    What is cut stays longer than `LONGEST_NAME`, so it is never mistaken for a name that was not.
    """
    if 4 * len(text) <= LONGEST_NAME:
        return text
    data = text.encode()
    if len(data) <= LONGEST_NAME:
        return text
    return f"{data[:LONGEST_NAME].decode(errors='ignore')}{_ELLIPSIS}{hash_bytes(data):016x}"


def name_hash(name: str) -> int:
    """The hash of the text that `short_name` gave this name for."""
    data = name.encode()
    return hash_bytes(data) if len(data) <= LONGEST_NAME else int(name[-_DIGITS:], 16)
