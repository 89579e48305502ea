"""What one label partition keeps of its predictions and of the labels it has had.

Rows lie in segments of time and, within a segment, in sorted runs: what comes is appended as a run, and
runs of like size are merged. A segment is dropped whole. What is not written yet lies in memory, over
what is written, and is seen by every search. docs/labels.md has what this costs.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbus.schemas.errors import StateError
from driftbus.stream.join.blobs import Blobs, Buffer
from driftbus.stream.join.runs import Run, lookup, merged_runs, sorted_run
from driftbus.stream.state import pack_state, unpack_state

LABEL_WORDS = 4
"""Words of a label's row: the hash, the label, and whether it was withdrawn."""

MOST_ROWS = 1 << 19
"""Runs are not merged beyond this."""

_KEY = struct.Struct(">cHqq")  # kind, joiner, segment, number of the run
_PREDICTIONS, _LABELS, _TEXTS = b"p", b"l", b"t"
_STATE = b"s"

Segment = tuple[int, int]
"""(joiner, segment)."""


@dataclass(slots=True)
class _Texts:
    codes: dict[str, int] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    written: int = 0


@dataclass(slots=True)
class _Stack:
    """Runs of one segment, oldest first: those on disk by number, then those in memory."""

    written: dict[int, int] = field(default_factory=dict)
    memory: list[Run] = field(default_factory=list)
    drops: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Updates:
    """Labels that are not written yet, in the order of their offsets."""

    key: Segment
    offsets: NDArray[np.int64]
    rows: Run


class JoinStore:
    """Predictions and labels of one label partition.

    Args:
        blobs: where they are written.
        words: joiner → words of a prediction's row.
    """

    def __init__(self, blobs: Blobs, words: list[int]) -> None:
        self._blobs = blobs
        self._words = words
        self._stacks: dict[bytes, dict[Segment, _Stack]] = {_PREDICTIONS: {}, _LABELS: {}}
        self._texts: dict[Segment, _Texts] = {}
        self._updates: list[_Updates] = []
        self._cache: dict[bytes, Run] = {}
        self._drops: list[bytes] = []
        self.buffered = 0
        self._lost = False
        saved = blobs.get(_STATE)
        self.state: dict[str, Any] = {} if saved is None else unpack_state(bytes(saved))
        for kind in (_PREDICTIONS, _LABELS):
            for key in blobs.keys(kind):
                _, joiner, segment, number = _KEY.unpack(key)
                stack = self._stacks[kind].setdefault((joiner, segment), _Stack())
                stack.written[number] = self._load(kind, (joiner, segment), number).shape[0]
        for key in blobs.keys(_TEXTS):
            _, joiner, segment, _ = _KEY.unpack(key)
            names = unpack_state(bytes(blobs.get(key) or b""))["names"]
            self._texts[joiner, segment] = _Texts({name: i for i, name in enumerate(names)}, names, len(names))

    def segments(self, joiner: int) -> list[int]:
        """Segments that hold predictions, newest first."""
        return sorted((s for j, s in self._stacks[_PREDICTIONS] if j == joiner), reverse=True)

    @property
    def rows(self) -> tuple[int, int]:
        """Predictions and labels, those counted twice that are not merged yet."""
        counts = [
            sum(sum(s.written.values()) + sum(len(run) for run in s.memory) for s in self._stacks[kind].values())
            for kind in (_PREDICTIONS, _LABELS)
        ]
        return counts[0], counts[1]

    def codes(self, joiner: int, segment: int, names: list[str]) -> NDArray[np.int64]:
        """The segment's codes of texts; new texts get new codes."""
        texts = self._texts.setdefault((joiner, segment), _Texts())
        for name in names:
            if name not in texts.codes:
                texts.codes[name] = len(texts.names)
                texts.names.append(name)
        return np.array([texts.codes[name] for name in names], np.int64)

    def names(self, joiner: int, segment: int) -> list[str]:
        """The segment's texts by code."""
        return self._texts[joiner, segment].names

    def add_predictions(self, joiner: int, segment: int, rows: Run) -> None:
        """Rows in the order of their offsets: uint64[n, words]; of equal hashes the first counts."""
        stack = self._stacks[_PREDICTIONS].setdefault((joiner, segment), _Stack())
        _push(stack.memory, sorted_run(rows, last=False), last=False)
        self.buffered += rows.shape[0]

    def add_labels(self, joiner: int, segment: int, offsets: NDArray[np.int64], rows: Run) -> None:
        """States of labels, in the order of their offsets: uint64[n, LABEL_WORDS]; the last counts."""
        self._updates.append(_Updates((joiner, segment), offsets, rows))
        stack = self._stacks[_LABELS].setdefault((joiner, segment), _Stack())
        _push(stack.memory, sorted_run(rows, last=True), last=True)
        self.buffered += rows.shape[0]

    def predictions(
        self, joiner: int, segment: int, h0: NDArray[np.uint64], h1: NDArray[np.uint64], out: Run
    ) -> NDArray[np.bool_]:
        """bool[n], which of these ids the segment holds; their rows are put into `out`, uint64[n, words]."""
        return self._search(_PREDICTIONS, (joiner, segment), h0, h1, out, newest=False)

    def labels(
        self, joiner: int, segment: int, h0: NDArray[np.uint64], h1: NDArray[np.uint64], out: Run
    ) -> NDArray[np.bool_]:
        """bool[n], which of these ids have had a label; its state is put into `out`, uint64[n, LABEL_WORDS]."""
        return self._search(_LABELS, (joiner, segment), h0, h1, out, newest=True)

    def drop(self, joiner: int, before: int) -> int:
        """Forget the segments before one; returns the predictions forgotten. `write` makes it last."""
        forgotten = 0
        for kind, stacks in self._stacks.items():
            for key in [k for k in stacks if k[0] == joiner and k[1] < before]:
                stack = stacks.pop(key)
                self._drops += [_KEY.pack(kind, *key, number) for number in stack.written]
                if kind == _PREDICTIONS:
                    forgotten += sum(stack.written.values()) + sum(len(run) for run in stack.memory)
        for key in [k for k in self._texts if k[0] == joiner and k[1] < before]:
            del self._texts[key]
            self._drops.append(_KEY.pack(_TEXTS, *key, 0))
        self._updates = [u for u in self._updates if u.key[0] != joiner or u.key[1] >= before]
        return forgotten

    def write(self, state: Mapping[str, Any], labels_before: int) -> None:
        """One atomic batch: all predictions, the labels before an offset, and the state that belongs to them.

        Raises:
            StateError: the disk refuses. What was to be written is lost then, and nothing can be written any more.
        """
        if self._lost:
            raise StateError("a batch before this one could not be written")
        self._lost = True
        puts: dict[bytes, Buffer] = {_STATE: pack_state(dict(state))}
        self.state = dict(state)
        kept: list[_Updates] = []
        ready: dict[Segment, list[Run]] = {}
        for update in self._updates:
            n = int(np.searchsorted(update.offsets, labels_before))
            if n:
                ready.setdefault(update.key, []).append(update.rows[:n])
            if n < update.offsets.size:
                kept.append(_Updates(update.key, update.offsets[n:], update.rows[n:]))
        for key, stack in self._stacks[_PREDICTIONS].items():
            self._write_stack(_PREDICTIONS, key, stack, stack.memory, puts)
            stack.memory = []
        for key, runs in ready.items():
            rows = sorted_run(np.concatenate(runs), last=True)
            self._write_stack(_LABELS, key, self._stacks[_LABELS][key], [rows], puts)
        for stack in self._stacks[_LABELS].values():
            stack.memory = []
        self._updates = kept
        for update in kept:
            _push(self._stacks[_LABELS][update.key].memory, sorted_run(update.rows, last=True), last=True)
        for key, texts in self._texts.items():
            if len(texts.names) > texts.written:
                puts[_KEY.pack(_TEXTS, *key, 0)] = pack_state({"names": texts.names})
                texts.written = len(texts.names)
        self._cache.clear()
        self._blobs.write(puts, self._drops)
        self._drops = []
        self._lost = False
        self.buffered = sum(update.offsets.size for update in kept)

    @property
    def lost(self) -> bool:
        """Whether something that was to be written could not be."""
        return self._lost

    def close(self) -> None:
        """Give the place back; what is not written is lost, and read again."""
        self._cache.clear()
        self._blobs.close()

    def _write_stack(
        self, kind: bytes, key: Segment, stack: _Stack, memory: list[Run], puts: dict[bytes, Buffer]
    ) -> None:
        """Put runs from memory on top of those on disk, merged with those that are not much larger."""
        if not memory:
            return
        last = kind == _LABELS
        top = memory[-1]
        for run in reversed(memory[:-1]):
            top = merged_runs(run, top, last=last)
        number = 1 + max(stack.written, default=-1)
        for below in sorted(stack.written, reverse=True):
            if not stack.written[below] <= 2 * top.shape[0] < MOST_ROWS:
                break
            top = merged_runs(self._load(kind, key, below, checked=True), top, last=last)
            del stack.written[below]
            self._drops.append(_KEY.pack(kind, *key, below))
            number = below
        stack.written[number] = top.shape[0]
        puts[_KEY.pack(kind, *key, number)] = top.data.cast("B")

    def _runs(self, kind: bytes, key: Segment, newest: bool) -> Iterator[Run]:
        stack = self._stacks[kind].get(key)
        if stack is None:
            return
        if newest:
            yield from reversed(stack.memory)
        for number in sorted(stack.written, reverse=newest):
            yield self._load(kind, key, number)
        if not newest:
            yield from stack.memory

    def _load(self, kind: bytes, key: Segment, number: int, *, checked: bool = False) -> Run:
        name = _KEY.pack(kind, *key, number)
        run = None if checked else self._cache.get(name)
        if run is None:
            data = self._blobs.checked(name) if checked else self._blobs.get(name)
            assert data is not None
            words = LABEL_WORDS if kind == _LABELS else self._words[key[0]]
            run = np.frombuffer(data, np.uint64).reshape(-1, words)
            if not run.flags.aligned:  # small values lie between others
                run = run.copy()
            self._cache[name] = run
        return run

    def _search(
        self, kind: bytes, key: Segment, h0: NDArray[np.uint64], h1: NDArray[np.uint64], out: Run, *, newest: bool
    ) -> NDArray[np.bool_]:
        found = np.zeros(h0.size, np.bool_)
        for run in self._runs(kind, key, newest):
            at = lookup(run, h0, h1, ~found)
            hit = at >= 0
            out[hit] = run[at[hit]]
            found |= hit
        return found


def _push(memory: list[Run], run: Run, *, last: bool) -> None:
    """Put a run on top, merged with those below it that are not larger."""
    while memory and memory[-1].shape[0] <= run.shape[0]:
        run = merged_runs(memory.pop(), run, last=last)
    memory.append(run)
