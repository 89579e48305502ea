"""The state of river's drift detectors as plain values, and back: no pickle.

A value is a number, a text, None, or ``[kind, ...]``: ``["list", v...]``, ``["tuple", v...]``, ``["deque", most,
v...]``, ``["random", state]``, ``["rust", class, bytes as hexadecimal]`` (river's own bytes of a struct of
numbers), ``["object", class, {attribute: value}]``. Bound methods are left out: the constructor makes
them again. Only classes named here are ever made.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping
from types import MethodType
from typing import Any

from driftbus.schemas.errors import StateError

_CLASSES = ("Mean", "Var", "EWMean", "SampleInfo")
_RUST = {"RsEWMean": (0.5,)}
"""Classes of river's compiled part → what their constructor takes; the state overwrites it."""


def plain(value: Any) -> Any:
    """A value, all of what it is made of included, as JSON values.

    Raises:
        StateError: it holds something of a kind that is not known.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *(plain(item) for item in value)]
    if isinstance(value, deque):
        return ["deque", value.maxlen, *(plain(item) for item in value)]
    if isinstance(value, random.Random):
        return ["random", plain(value.getstate())]
    name = type(value).__name__
    if name in _RUST:
        return ["rust", name, bytes(value.__getstate__()).hex()]
    if name in _CLASSES:
        return ["object", name, attributes(value)]
    raise StateError(f"river's {type(value).__module__}.{name} is of a kind that can't be written down")


def attributes(thing: object) -> dict[str, Any]:
    """The attributes of an object as plain values, methods left out."""
    return {name: plain(value) for name, value in sorted(vars(thing).items()) if not isinstance(value, MethodType)}


def restored(data: Any, classes: Mapping[str, type]) -> Any:
    """The value that `plain` wrote.

    Args:
        data: JSON values.
        classes: the classes by name, river's compiled ones included.

    Raises:
        StateError: it is of a kind or class that is not known.
    """
    if not isinstance(data, list):
        return data
    kind, *rest = data
    if kind in ("list", "tuple"):
        items = [restored(item, classes) for item in rest]
        return items if kind == "list" else tuple(items)
    if kind == "deque":
        return deque((restored(item, classes) for item in rest[1:]), maxlen=rest[0])
    if kind == "random":
        generator = random.Random()
        generator.setstate(restored(rest[0], classes))
        return generator
    if kind == "rust" and rest[0] in _RUST:
        compiled = classes[rest[0]](*_RUST[rest[0]])
        compiled.__setstate__(bytes.fromhex(rest[1]))
        return compiled
    if kind == "object" and rest[0] in _CLASSES:
        thing: object = object.__new__(classes[rest[0]])
        set_attributes(thing, rest[1], classes)
        return thing
    raise StateError(f"state of river's detectors: {kind} {rest[:1]} is not known")


def set_attributes(thing: object, data: Mapping[str, Any], classes: Mapping[str, type]) -> None:
    """Give an object the attributes that `attributes` wrote.

    Raises:
        StateError: a new object of its class has other ones.
    """
    own = {name for name, value in vars(thing).items() if not isinstance(value, MethodType)}
    if own and own != set(data):
        raise StateError(f"state of river's {type(thing).__name__}: attributes {sorted(own ^ set(data))} differ")
    for name, value in data.items():
        setattr(thing, name, restored(value, classes))
