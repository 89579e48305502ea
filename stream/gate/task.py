"""What kind of outcomes a gate looks at, and its rows as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.classes import NONE, class_code
from driftbus.detectors.outcomecells import pair_cells
from driftbus.detectors.outcomes import OutcomeShape
from driftbus.detectors.outcomeshape import outcome_shape
from driftbus.schemas.errors import ConfigError
from driftbus.schemas.outcomeconfig import PerformanceConfig

Int = NDArray[np.int64]
Float = NDArray[np.float64]

_BATCH = 65_536
_MANY_VALUES = 20


@dataclass(frozen=True)
class Scored:
    """n rows of one version.

    Args:
        shape: how their outcomes are counted.
        label: float64[n]: code of the class, or the value.
        score: float64[n], NaN where there is none; regression: the predicted value.
        guess: int64[n], code of the predicted class, -1 where there is none.
        ids: names of the rows, empty without an id.
        groups: column → text of each row.
    """

    shape: OutcomeShape
    label: Float
    score: Float
    guess: Int
    ids: tuple[str, ...] = ()
    groups: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Rows."""
        return int(self.label.size)

    def take(self, rows: Int) -> Scored:
        """Some of the rows."""
        ids = tuple(self.ids[i] for i in rows.tolist()) if self.ids else ()
        groups = {name: texts[rows] for name, texts in self.groups.items()}
        return replace(
            self, label=self.label[rows], score=self.score[rows], guess=self.guess[rows], ids=ids, groups=groups
        )

    def pairs(self) -> Int:
        """int64[shape.pairs], the rows as counts."""
        found = np.zeros(self.shape.pairs, np.int64)
        for at in range(0, self.n, _BATCH):
            rows = slice(at, at + _BATCH)
            cells, amounts = pair_cells(self.shape, self.score[rows], self.guess[rows], self.label[rows])
            np.add.at(found, cells.ravel(), amounts.ravel())
        return found


def shape_of(config: PerformanceConfig, labels: Sequence[str | None], guesses: Sequence[str | None]) -> OutcomeShape:
    """How outcomes are counted, from what stands in the rows.

    Args:
        config: kind, classes, positive and threshold, as far as they are known.
        labels: text of each label.
        guesses: text of each predicted class or value, empty without a column of them.

    Raises:
        ConfigError: the positive label is none of the labels; classes are not known.
    """
    known = sorted({text for text in labels if text})
    if not known:
        raise ConfigError("no row has a label", key="--label")
    kind = config.kind
    if kind == "auto":
        numeric = len(known) > _MANY_VALUES and all(map(_is_number, known))
        kind = "regression" if numeric else "binary" if len(known) <= 2 else "multiclass"
    if kind == "binary":
        shape = outcome_shape(None, config.model_copy(update={"kind": kind}), predicted=bool(guesses))
        if all(class_code(shape, text) != 1 for text in known):
            raise ConfigError(
                f"no label is {config.positive!r}: they are {', '.join(known[:5])}",
                key="--positive",
                fix="say which is the positive class",
            )
        return shape
    if kind == "multiclass":
        classes = config.classes or sorted({*known, *(text for text in guesses if text)})
        return outcome_shape(None, config.model_copy(update={"kind": kind, "classes": classes}))
    return outcome_shape(None, config.model_copy(update={"kind": kind}))


def codes(shape: OutcomeShape, texts: Sequence[str | None]) -> Int:
    """int64[n], code of the class that each text names, -1 for none."""
    known = {text: class_code(shape, text) for text in set(texts)}
    return np.array([known[text] for text in texts], np.int64)


def numbers_of(texts: Sequence[str | None]) -> Float:
    """float64[n], NaN where a text is no number."""
    return np.array([float(text) if text and _is_number(text) else np.nan for text in texts], np.float64)


def none_of(n: int) -> tuple[Float, Int]:
    """Scores and guesses of rows that have none."""
    return np.full(n, np.nan), np.full(n, NONE, np.int64)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
