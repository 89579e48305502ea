"""Which page of docs/runbooks is about an incident, so that who is woken up needs not look for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FOLDER = "docs/runbooks"
PAGES = (
    "upstream-data-broken", "training-serving-skew", "rollback", "labels-late-or-missing",
    "model-performance-degraded", "challenger-worse", "inputs-drifted",
)  # fmt: skip

_BROKEN = {"nulls", "invalid", "stuck", "volume", "freshness", "duplicates", "schema"}
_FLOW = {"volume", "freshness", "duplicates"}


def page_of(e: Mapping[str, Any]) -> str:
    """Path of the page in the repository.

    Broken data come first: they make drift, and worse predictions, of their own.

    Args:
        e: an incident, or a drift event that belongs to none, as its line of JSON.
    """
    members = e.get("members") or [e]
    hints = {hint["kind"] for hint in e.get("hints", ())}
    streams = {m["stream"] for m in members}
    if streams == {"labels"} and {m["aspect"] for m in members} <= _FLOW | {"schema", "quality"}:
        name = "labels-late-or-missing"
    elif hints & {"nulls_first", "schema_change"} or {m["what"] for m in members if m["stream"] != "labels"} & _BROKEN:
        name = "upstream-data-broken"
    elif "skew" in hints or all(m["nature"] == "skew" for m in members):
        name = "training-serving-skew"
    elif "new_version" in hints:
        name = "rollback"
    elif "outcomes" in streams:
        name = "model-performance-degraded"
    else:
        name = "inputs-drifted"
    return f"{FOLDER}/{name}.md"
