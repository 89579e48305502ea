"""What a program's compiler asks of a type: its children, its bytes, whether it has a field, whether it is a vector."""

from __future__ import annotations

from driftbus.schemas.avsc import Node

_COORDINATES = {"float": 4, "double": 8}
_FIXED_BYTES = {"null": 0, "float": 4, "double": 8}


class Sizes:
    """Bytes of the values of types."""

    def __init__(self) -> None:
        self._known: dict[int, int | None] = {}

    def fixed(self, node: Node) -> int | None:
        """Bytes of every value of a type, None when they vary or must be looked at."""
        if node.kind in _FIXED_BYTES:
            return _FIXED_BYTES[node.kind]
        if node.kind == "fixed":
            return node.size
        if node.kind != "record":
            return None
        if id(node) not in self._known:
            self._known[id(node)] = None
            sizes = [self.fixed(child) for _, child, _ in node.fields]
            self._known[id(node)] = None if None in sizes else sum(size for size in sizes if size)
        return self._known[id(node)]

    def least(self, node: Node) -> int:
        """A lower bound of a value's bytes."""
        return self.fixed(node) or (0 if node.kind in ("null", "record", "fixed") else 1)


def coordinate(node: Node) -> tuple[int, int] | None:
    """(bytes of an item, branch of null or -1) of an array of floats or doubles; None of any other type."""
    if node.kind != "array":
        return None
    kinds = [branch.kind for branch in node.item.branches] or [node.item.kind]
    if len(kinds) == 2 and "null" in kinds:
        size = _COORDINATES.get(kinds[1 - kinds.index("null")])
        return None if size is None else (size, kinds.index("null"))
    return (_COORDINATES[kinds[0]], -1) if len(kinds) == 1 and node.item.kind in _COORDINATES else None


def children(node: Node) -> list[Node]:
    """Types of its fields, branches or items."""
    return [child for _, child, _ in node.fields] + list(node.branches) + ([node.items] if node.items else [])


def has_field(node: Node, parts: list[str]) -> bool:
    """Whether a path leads somewhere, through records and unions."""
    if not parts:
        return True
    if node.kind == "union":
        return any(has_field(branch, parts) for branch in node.branches)
    return any(name == parts[0] and has_field(child, parts[1:]) for name, child, _ in node.fields)
