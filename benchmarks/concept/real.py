"""Public data sets with a frozen model: what is found, and when."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from river import drift
from sklearn.naive_bayes import GaussianNB

from driftbus.detectors.concept import ConceptDetector
from driftbus.detectors.concept_settings import ConceptSettings
from driftbus.detectors.outcomecells import pair_cells
from driftbus.detectors.outcomes import OutcomeShape
from driftbus.detectors.outcomeshape import outcome_shape
from driftbus.detectors.verdict import Transition
from driftbus.schemas.outcomeconfig import PerformanceConfig

Int = NDArray[np.int64]
Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Labelled:
    """Rows with label, in the order of the labels.

    Args:
        shape: how they are counted.
        score: float64[n].
        prediction: int64[n], codes.
        label: float64[n], codes.
        start: row of the first one.
        reference: int64[pairs], None without one.
    """

    shape: OutcomeShape
    score: Float
    prediction: Int
    label: Float
    start: int = 0
    reference: Int | None = None

    def pairs(self, rows: slice) -> Int:
        """The pair table of some rows."""
        return _pairs(self.shape, self.score[rows], self.prediction[rows], self.label[rows])

    def shuffled(self, seed: int) -> Labelled:
        """The same rows in another order, without the reference."""
        at = np.random.default_rng(seed).permutation(self.label.size)
        return Labelled(self.shape, self.score[at], self.prediction[at], self.label[at], self.start)

    @property
    def errors(self) -> Float:
        """float64[n], 1 where the prediction is wrong."""
        return (self.prediction != self.label).astype(np.float64)


def told(rows: Labelled, pane: int, settings: ConceptSettings) -> list[tuple[int, Transition]]:
    """(row, what was said) in panes of `pane` labels."""
    detector = ConceptDetector(rows.shape, settings, rows.reference)
    return [
        (rows.start + (tick + 1) * pane, transition)
        for tick in range(rows.label.size // pane)
        for transition in detector.update(tick, rows.pairs(slice(tick * pane, (tick + 1) * pane)))
    ]


def river_adwin(rows: Labelled) -> list[int]:
    """Rows at which river's ADWIN alarms, one error after the other, at its defaults."""
    detector, found = drift.ADWIN(), []
    for i, error in enumerate(rows.errors.tolist()):
        detector.update(error)
        if detector.drift_detected:
            found.append(rows.start + i)
    return found


def car_loan(folder: Path, *, reference: bool = True) -> Labelled:
    """Loans: the model's own predictions. Labels come 5,000 rows later, in the same order."""
    analysis, training = _csv(folder / "car_loan_analysis.csv.gz"), _csv(folder / "car_loan_reference.csv.gz")
    target = _csv(folder / "car_loan_analysis_target.csv.gz")
    known = dict(zip(target["id"], target["repaid"], strict=True))
    shape = outcome_shape(None, PerformanceConfig(kind="binary"), predicted=True)
    score, guess = _floats(analysis["y_pred_proba"]), _floats(analysis["y_pred"]).astype(np.int64)
    label = _floats([known[i] for i in analysis["id"]])
    held = None
    if reference:
        codes = _floats(training["y_pred"]).astype(np.int64)
        held = _pairs(shape, _floats(training["y_pred_proba"]), codes, _floats(training["repaid"]))
    return Labelled(shape, score, guess, label, 0, held)


def abrupt_insects(folder: Path, trained: int = 800) -> Labelled:
    """Insects with a naive Bayes that learned from the first rows."""
    return _bayes(_zipped(folder / "abrupt_insects.zip"), trained)


def insects_gradual(folder: Path, trained: int = 2_000) -> Labelled:
    """The same for the gradual set."""
    return _bayes(_zipped(folder / "insects_gradual_balanced.zip"), trained)


def elec2(folder: Path, trained: int = 5_000) -> Labelled:
    """Electricity prices, up or down."""
    table = _csv(folder / "elec2.csv.gz")
    return _bayes([list(row) for row in zip(*table.values(), strict=True)], trained)


def _bayes(rows: list[list[str]], trained: int) -> Labelled:
    features = np.array([[float(cell) for cell in row[:-1]] for row in rows])
    names, codes = np.unique(np.array([row[-1] for row in rows]), return_inverse=True)
    model = GaussianNB().fit(features[:trained], codes[:trained])
    chance = model.predict_proba(features[trained:])
    guess = chance.argmax(axis=1).astype(np.int64)
    if names.size == 2:
        shape = outcome_shape(None, PerformanceConfig(kind="binary"), predicted=False)
        return Labelled(shape, chance[:, 1], (chance[:, 1] >= 0.5).astype(np.int64), codes[trained:] * 1.0, trained)
    config = PerformanceConfig(kind="multiclass", classes=[str(name) for name in names])
    return Labelled(outcome_shape(None, config), chance.max(axis=1), guess, codes[trained:] * 1.0, trained)


def _pairs(shape: OutcomeShape, score: Float, prediction: Int, label: Float) -> Int:
    cells, amounts = pair_cells(shape, score, prediction, label)
    table = np.zeros(shape.pairs, np.int64)
    np.add.at(table, cells.ravel(), amounts.ravel())
    return table


def _csv(path: Path) -> dict[str, list[str]]:
    with gzip.open(path, "rt", newline="") as file:
        rows = csv.reader(file)
        names = next(rows)
        return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def _zipped(path: Path) -> list[list[str]]:
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if not name.endswith("/"))
        with io.TextIOWrapper(archive.open(name)) as file:
            return [row for row in csv.reader(file) if row]


def _floats(cells: list[str]) -> Float:
    return np.array([float(cell) for cell in cells])


def sets() -> Iterator[str]:
    """Names of the data sets."""
    yield from ("car_loan", "abrupt_insects", "insects_gradual", "elec2")
