"""What labels say of a cause: the inputs that moved with the performance, or what they mean."""

from __future__ import annotations

from driftbus.schemas.events import DriftEvent, Hint
from driftbus.stream.outcomes.words import interval_of, named, number
from driftbus.stream.scene import Scene

_SHIFTED = ("P(X)", "P(Ŷ)")


def outcome_hints(scene: Scene) -> list[Hint]:
    """The hints that members on outcomes give, the most telling first."""
    events = [e for e in scene.events if e.stream == "outcomes" and e.outcome is not None]
    return [hint for hint in (_estimated(events), _cause(events)) if hint is not None]


def _estimated(events: list[DriftEvent]) -> Hint | None:
    """Labels aren't in yet, but scores let expect a loss."""
    found = [e for e in events if e.aspect == "estimated"]
    if not found or any(e.aspect == "performance" for e in events):
        return None
    first = found[0]
    assert first.outcome is not None
    before = "" if first.reference_value is None else f" from {number(first.reference_value)}"
    text = f"Labels not in yet, estimated {named(first.column)} {interval_of(first.outcome)}{before}"
    return Hint("estimated", text, tuple(dict.fromkeys(e.column for e in found)))


def _cause(events: list[DriftEvent]) -> Hint | None:
    """Whether inputs or predictions had moved by then, or only what labels say of them."""
    told = [e for e in events if e.aspect in ("performance", "concept") and e.outcome is not None and e.outcome.moved]
    # a cohort knows of the inputs, what labels say right now does not
    told.sort(key=lambda e: e.aspect != "performance")
    if not told:
        return None
    first = told[0]
    assert first.outcome is not None
    moved = first.outcome.moved
    beside = first.message.partition("moved (")[2].partition(")")[0]
    if first.aspect == "performance" and set(_SHIFTED) & set(moved):
        words = f": {beside}" if beside else ""
        also = ", and what labels say of predictions has changed too" if "P(Y|Ŷ)" in moved else ""
        which = "inputs" if "P(X)" in moved else "predictions"
        return Hint("with_inputs", f"The {which} had moved by then{words}{also}", (first.column,))
    if "P(Y|Ŷ)" in moved:
        quiet = ", and no input had moved by then" if first.aspect == "performance" else ""
        text = f"The same predictions get other labels than before{quiet}: concept drift"
        return Hint("concept", text, (first.column,))
    if "P(Y)" in moved:
        return Hint("prior", "The labels have changed as a whole: another share of outcomes", (first.column,))
    return None
