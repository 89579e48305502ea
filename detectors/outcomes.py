"""What is counted of pairs of prediction and label: one int64 vector, whose merge is plain addition.

A vector is three blocks of one *pair table*, then cells of the join::

    first | added | removed | orphan | dup | lag[27]

The first label of a prediction adds its pair to ``first``; a label that corrects it adds the new
pair to ``added`` and the old one to ``removed``. So every cell of a pane is at least 0, and
``first + added - removed`` is what is known now. What the pair table holds depends on the kind; see
`Part`. Amounts are integers everywhere: sums of losses are in fixed units, so that no order of
merging can change them.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from driftbus.schemas.errors import ConfigError

Int = NDArray[np.int64]
OutcomeKind = Literal["binary", "multiclass", "regression"]

LOSS_UNIT = 1e-6
"""Unit of the sums of log loss, Brier score and their squares: a row is off by half a unit at most."""

LEAST_PROBABILITY = 2.0**-52
"""Probabilities are clipped to this and its complement before a logarithm, as scikit-learn clips doubles."""

RELIABILITY_BINS = 10
"""Bins of equal width of the reliability curve and of the expected calibration error."""

SCORE_UNIT = 2.0**-20
"""Unit of the sums of scores in the reliability bins."""

ERROR_UNIT, SQUARE_UNIT, GREATEST_ERROR = 2.0**-20, 2.0**-24, 2.0**6
"""Regression, of the scale and its square: units of the sums, and the error at which they are clipped."""

LABEL_SQUARE_UNIT, GREATEST_LABEL = 2.0**-14, 2.0**12
"""Regression, labels themselves: unit of the sum of squares in squared scales, and where they are clipped, in scales;
sums are in `ERROR_UNIT`."""

LAG_EDGES_MS: Int = 1_000 * 2 ** np.arange(26, dtype=np.int64)
"""Buckets of the lag between prediction and label: below 1 s, then doubling up to 388 days, then the rest."""

MOST_CLASSES = 100
"""Classes with cells of their own."""

_QUARTERS = (1.0, 1.189207115002721, 1.4142135623730951, 1.681792830507429)
ERROR_STEPS: NDArray[np.float64] = np.array([math.ldexp(_QUARTERS[k % 4], k // 4) for k in range(-48, 25)])
"""Edges of the error histogram in scales, each 2^(1/4) times the one before: 2^-12 to 2^6, mirrored at 0."""


@dataclass(frozen=True, slots=True)
class Part:
    """A table within the pair table.

    Binary: ``score`` [score cells, label], ``confusion`` [prediction, label] if a prediction is
    mapped, ``log_loss``, ``log_loss2``, ``brier``, ``brier2`` (sums of the loss and of its square, in
    `LOSS_UNIT`), ``reliability`` [sum of scores in `SCORE_UNIT` / negative / positive, bins].

    Multiclass: ``confusion`` [prediction, label], ``score`` [score cells, wrong / right / unknown],
    ``reliability`` [sum of scores / wrong / right, bins].

    Regression, error = predicted - actual: ``error`` [error bins], ``missing`` [predicted value, label],
    ``over`` and ``under`` (sums of positive and of negative errors, in `ERROR_UNIT` scales), ``square``
    (in `SQUARE_UNIT` squared scales), ``clipped`` (errors beyond `GREATEST_ERROR` scales), ``by_value``
    [3, score cells] (rows, sums of absolute and of squared errors by predicted value), ``label`` (rows with a label,
    sums of positive, of negative and of squared labels, whatever was predicted).

    Labels and predictions are the classes, then *other* (no class of the shape), then *none*. Score
    cells are *below*, the bins, *above*, *none*.

    Args:
        name: which table.
        start: its first cell.
        dims: its extents, C order.
    """

    name: str
    start: int
    dims: tuple[int, ...]

    @property
    def stop(self) -> int:
        """The cell after its last."""
        return self.start + math.prod(self.dims)


@dataclass(frozen=True)
class OutcomeShape:
    """What the pairs of a monitor are counted by. A value: equal content has an equal `fingerprint`.

    Args:
        kind: ``binary``, ``multiclass`` or ``regression``.
        edges: inner edges of the score bins, ascending: bin i holds [edges[i-1], edges[i]). Binary: one of
            them is the threshold. Regression: of the predicted value.
        classes: multiclass: labels in the order of their codes.
        positive: binary: the label of code 1.
        negatives: binary: labels of code 0; empty: every label that is not the positive one.
        threshold: binary: scores from here on predict the positive class.
        probability: whether scores are probabilities; binary: of the positive class, multiclass: of the
            predicted one.
        predicted: binary: whether the predicted class is a field of its own, and decides, not the threshold.
        scale: regression: power of two of the order of the spread of values.
        reference_edges: inner edges of the score's column in the profile, whose bins hold (low, high];
            `driftbus.detectors.cbpe` reads counts on them. Empty: no profile.
        interval: regression: the errors [low, high) that held most of the reference, None: not known.

    Raises:
        ConfigError: the values contradict one another.
    """

    kind: OutcomeKind
    edges: tuple[float, ...] = ()
    classes: tuple[str, ...] = ()
    positive: str = "1"
    negatives: tuple[str, ...] = ()
    threshold: float = 0.5
    probability: bool = True
    predicted: bool = False
    scale: float = 1.0
    reference_edges: tuple[float, ...] = ()
    interval: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        problem = _contradiction(self)
        if problem:
            raise ConfigError(f"outcomes: {problem}", key="performance", fix="make the profile again")

    @property
    def labels(self) -> int:
        """Known classes: labels beyond are *other* (this number) and *none* (the next). Regression: 0."""
        return {"binary": 2, "multiclass": len(self.classes), "regression": 0}[self.kind]

    @property
    def score_cells(self) -> int:
        """Cells of a score: below, the bins, above, none."""
        return len(self.edges) + 4

    @cached_property
    def parts(self) -> dict[str, Part]:
        """The tables of the pair table by name."""
        found: dict[str, Part] = {}
        start = 0
        for name, dims in _tables(self):
            found[name] = Part(name, start, dims)
            start = found[name].stop
        return found

    @cached_property
    def pairs(self) -> int:
        """Cells of the pair table."""
        return max(part.stop for part in self.parts.values())

    @property
    def first(self) -> slice:
        """The block of first labels."""
        return slice(0, self.pairs)

    @property
    def added(self) -> slice:
        """The block of corrections, new pairs."""
        return slice(self.pairs, 2 * self.pairs)

    @property
    def removed(self) -> slice:
        """The block of corrections, old pairs."""
        return slice(2 * self.pairs, 3 * self.pairs)

    @property
    def orphan(self) -> int:
        """The cell of labels without a prediction."""
        return 3 * self.pairs

    @property
    def dup(self) -> int:
        """The cell of labels that repeat the one before."""
        return 3 * self.pairs + 1

    @property
    def lag(self) -> slice:
        """The buckets of the lag of first labels, see `lag_cells`."""
        return slice(3 * self.pairs + 2, self.size)

    @property
    def size(self) -> int:
        """Cells of one vector."""
        return 3 * self.pairs + 2 + LAG_EDGES_MS.size + 1

    def table(self, name: str, pairs: Int) -> Int:
        """One table of a pair table, in its extents.

        Raises:
            KeyError: this kind has none of that name.
        """
        part = self.parts[name]
        return pairs[part.start : part.stop].reshape(part.dims)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` gives an equal shape."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> OutcomeShape:
        """A shape from its JSON values.

        Raises:
            ConfigError: something is missing or of the wrong type.
        """
        try:
            interval = data["interval"]
            return cls(
                kind=cast(OutcomeKind, str(data["kind"])),
                edges=tuple(float(edge) for edge in data["edges"]),
                classes=tuple(str(name) for name in data["classes"]),
                positive=str(data["positive"]),
                negatives=tuple(str(name) for name in data["negatives"]),
                threshold=float(data["threshold"]),
                probability=bool(data["probability"]),
                predicted=bool(data["predicted"]),
                scale=float(data["scale"]),
                reference_edges=tuple(float(edge) for edge in data["reference_edges"]),
                interval=None if interval is None else (float(interval[0]), float(interval[1])),
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ConfigError(f"not the shape of outcomes: {type(error).__name__} {error}") from error

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the content: 32 hexadecimal characters."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def pairs_first(shape: OutcomeShape, counts: Int) -> Int:
    """int64[pairs], first labels only: never negative."""
    return counts[shape.first]


def pairs_now(shape: OutcomeShape, counts: Int) -> Int:
    """int64[pairs], as corrected. A sum of some panes may be negative where a correction is in it and its first not."""
    return np.asarray(counts[shape.first] + counts[shape.added] - counts[shape.removed], np.int64)


def lag_cells(shape: OutcomeShape, lag_ms: Int) -> Int:
    """int64[n], the cell of each lag (label minus prediction; early labels count below 1 s)."""
    return np.asarray(shape.lag.start + np.searchsorted(LAG_EDGES_MS, lag_ms, side="right"), np.int64)


def lag_quantile(shape: OutcomeShape, counts: Int, share: float) -> int | None:
    """Upper end of the bucket of that quantile of the lag in ms, None without labels; up to twice the lag itself."""
    buckets = np.cumsum(counts[shape.lag])
    if buckets.size == 0 or buckets[-1] <= 0:
        return None
    at = int(np.searchsorted(buckets, share * buckets[-1]))
    return int(LAG_EDGES_MS[min(at, LAG_EDGES_MS.size - 1)])


def _tables(shape: OutcomeShape) -> list[tuple[str, tuple[int, ...]]]:
    labels, cells = shape.labels + 2, shape.score_cells
    reliability = [("reliability", (3, RELIABILITY_BINS))] if shape.probability else []
    if shape.kind == "binary":
        own = [("confusion", (labels, labels))] if shape.predicted else []
        sums = ("log_loss", "log_loss2", "brier", "brier2") if shape.probability else ()
        return [("score", (cells, labels)), *own, *((name, (1,)) for name in sums), *reliability]
    if shape.kind == "multiclass":
        return [("confusion", (labels, labels)), ("score", (cells, 3)), *reliability]
    sums = ("over", "under", "square", "clipped")
    errors = ("error", (2 * ERROR_STEPS.size + 1,))
    return [errors, ("missing", (2, 2)), *((name, (1,)) for name in sums), ("by_value", (3, cells)), ("label", (4,))]


def _contradiction(shape: OutcomeShape) -> str:
    if shape.kind not in get_args(OutcomeKind):
        return f"kind {shape.kind!r} is not one of {', '.join(get_args(OutcomeKind))}"
    numbers = (*shape.edges, *shape.reference_edges, shape.threshold, shape.scale, *(shape.interval or ()))
    if not all(map(math.isfinite, numbers)):
        return "a number is not finite"
    if any(a >= b for edges in (shape.edges, shape.reference_edges) for a, b in itertools.pairwise(edges)):
        return "edges do not ascend"
    within = 0 < shape.threshold <= 1 or not shape.probability
    if shape.kind == "binary" and within and shape.threshold not in shape.edges:
        return f"the threshold {shape.threshold} is no edge of a bin"
    if shape.kind == "multiclass" and not 2 <= len(shape.classes) <= MOST_CLASSES:
        return f"{len(shape.classes)} classes; 2 to {MOST_CLASSES} can be counted"
    if len(set(shape.classes)) != len(shape.classes) or shape.positive in shape.negatives:
        return "a class is named twice"
    return "" if shape.scale > 0 else "the scale must be positive"
