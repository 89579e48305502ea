"""river's detectors of errors behind one adapter: its own classes decide, one error after the other.

A pane is counts, without an order. Its errors are fed in an order drawn by a hash of the pane's number:
every order is as likely as any other, as it is where rows of a pane are exchangeable, so that detectors
that look at distances between errors (EDDM) keep their law. The price: an alarm is known to the pane, not
to the row. With one label a pane, alarms are river's, index for index.

Sources: DDM: Gama et al. (2004), SBIA, 286-295. EDDM: Baena-García et al. (2006), IWKDDS. HDDM: Frías-Blanco
et al. (2015), IEEE TKDE 27, 810-823. Page-Hinkley: Page (1954). KSWIN: Raab et al. (2020), Neurocomputing 416.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from driftbus.detectors.river_state import attributes, set_attributes
from driftbus.schemas.errors import ConfigError, StateError

NAMES = ("ddm", "eddm", "hddm_a", "hddm_w", "page_hinkley", "kswin")

_DDM_SIGMAS, _HDDM_CONFIDENCE, _KSWIN_ALPHA, _SEED = 3.0, 0.001, 0.005, 0
"""river's defaults, and the seed of KSWIN's draws."""

_BLOCK = 65_536


class RiverEngine:
    """Some of river's detectors, fed with the same errors.

    Args:
        names: of `NAMES`.
        divisor: divides the levels of those that have one: DDM's threshold becomes the normal quantile of its
            tail beyond 3 standard deviations divided by this, HDDM's confidence and KSWIN's alpha are divided.
            EDDM and Page-Hinkley have none.

    Raises:
        ConfigError: river is not installed.
    """

    def __init__(self, names: Sequence[str], divisor: float = 1.0) -> None:
        self.names = tuple(name for name in NAMES if name in names)
        self._river, self._classes = _import() if self.names else ("", {})
        self._detectors = [_made(self._classes, name, divisor) for name in self.names]

    def update(self, tick: int, values: NDArray[np.float64]) -> list[str]:
        """Take one pane.

        Args:
            tick: pane number, which the order of the values is drawn by.
            values: float64[n], in any order of their own: 0 and 1, or scaled to [0, 1].

        Returns:
            Names of the detectors that alarmed at least once in it.
        """
        ordered = values[order(tick, values.size)].tolist()
        alarmed = []
        for name, detector in zip(self.names, self._detectors, strict=True):
            found = False
            for value in ordered:
                detector.update(value)
                found |= detector.drift_detected
            if found:
                alarmed.append(name)
        return alarmed

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The state, by name: JSON as bytes, uint8[1, *]."""
        if not self.names:
            return {"plain": np.zeros((1, 0), np.uint8)}
        state = {"river": self._river, "detectors": [attributes(detector) for detector in self._detectors]}
        text = json.dumps(state, sort_keys=True, separators=(",", ":")).encode()
        size = -(-len(text) // _BLOCK) * _BLOCK  # state may grow, never shrink
        return {"plain": np.frombuffer(text.ljust(size), np.uint8)[None, :]}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take a state that `arrays` gave.

        Raises:
            StateError: another version of river wrote it.
        """
        if not self.names:
            return
        state = json.loads(arrays["plain"].tobytes())
        if state["river"] != self._river:
            raise StateError(
                f"state of river's detectors was written by river {state['river']}, installed is {self._river}. "
                "Install that version, or `driftbus state forget` the monitor to have it rebuilt"
            )
        for detector, data in zip(self._detectors, state["detectors"], strict=True):
            set_attributes(detector, data, self._classes)


def order(tick: int, n: int) -> NDArray[np.int64]:
    """int64[n], a permutation drawn by the pane's number (splitmix64: Steele et al., 2014, OOPSLA, 453-472)."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    z = (np.arange(n, dtype=np.uint64) + np.uint64((tick << 32) % 2**64) + np.uint64(1)) * golden
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(z ^ (z >> np.uint64(31)), kind="stable")


def _import() -> tuple[str, dict[str, Any]]:
    try:
        from importlib.metadata import version

        from river import drift, stats
        from river._river_rust import stats as compiled
        from river.drift.binary import hddm_w
    except ImportError as error:
        raise ConfigError(
            f"river's detectors need river: {error}", key="performance.detectors", fix="pip install river, or adwin"
        ) from error
    classes = {
        "ddm": drift.binary.DDM, "eddm": drift.binary.EDDM, "hddm_a": drift.binary.HDDMA,
        "hddm_w": drift.binary.HDDMW, "page_hinkley": drift.PageHinkley, "kswin": drift.KSWIN,
        "Mean": stats.Mean, "Var": stats.Var, "EWMean": stats.EWMean, "SampleInfo": hddm_w.SampleInfo,
        "RsEWMean": compiled.RsEWMean,
    }  # fmt: skip
    return version("river"), classes


def _made(classes: Mapping[str, Any], name: str, divisor: float) -> Any:
    options: dict[str, Any] = {}
    if name == "ddm" and divisor > 1:
        options = {"drift_threshold": -float(ndtri(ndtr(-_DDM_SIGMAS) / divisor))}
    elif name in ("hddm_a", "hddm_w"):
        options = {"drift_confidence": _HDDM_CONFIDENCE / divisor}
    elif name == "kswin":
        options = {"alpha": _KSWIN_ALPHA / divisor, "seed": _SEED}
    return classes[name](**options)
