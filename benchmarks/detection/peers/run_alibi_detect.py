"""alibi-detect: online Cramér-von Mises and MMD, value by value.

Neither has a default for the expected run-time and the windows: those of the documentation's example of CVMDriftOnline
(150; 20 and 40) are taken, for MMD 150 and 20. Bootstraps are the defaults: 10,000 and 1,000. The detector is reset
after an alarm, as its documentation shows.
"""

from __future__ import annotations

import os

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")

from typing import Any

import numpy as np
import tensorflow as tf
from alibi_detect.cd import CVMDriftOnline, MMDDriftOnline
from protocol import Job, Said, follow, serve

ERT, CVM_WINDOWS, MMD_WINDOW = 150, [20, 40], 20
_fitted: dict[int, Any] = {}


def _feed(detector: Any, value: Any) -> tuple[bool, int | None]:
    told = detector.predict(np.atleast_1d(np.asarray(value, np.float32)), return_test_stat=False)
    drift = bool(told["data"]["is_drift"])
    if drift:
        detector.reset_state()
    return drift, None


def _clean(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)].astype(np.float32)


def _cvm(job: Job) -> list[Said]:
    found = []
    for reference, values, change in zip(job.reference, job.values, job.changes, strict=True):
        reference = _clean(reference)
        if len(reference) not in _fitted:
            np.random.seed(job.seed)
            _fitted[len(reference)] = CVMDriftOnline(reference, ert=ERT, window_sizes=CVM_WINDOWS, verbose=False)
        # Thresholds depend on the reference's size alone (documentation): they are not simulated again.
        detector = _fitted[len(reference)]
        detector.x_ref = reference[:, None]
        detector._configure_ref()
        detector.reset_state()
        found.append(follow(detector, _feed, values, change, job.after, resets=True))
    return found


def _mmd(job: Job) -> list[Said]:
    """One column at a time, or all together as rows; standardised by the reference."""
    tf.random.set_seed(job.seed)
    found = []
    parts = [slice(None)] if job.joint else [slice(i, i + 1) for i in range(len(job.kinds))]
    for part, change in zip(parts, job.changes, strict=False):
        reference, values = job.reference[part].T, job.values[part].T
        reference = reference[np.isfinite(reference).all(axis=1)]
        mean, sd = reference.mean(axis=0), reference.std(axis=0)
        sd[sd == 0] = 1
        reference, values = ((x - mean) / sd for x in (reference, values))
        detector = MMDDriftOnline(reference.astype(np.float32), ert=ERT, window_size=MMD_WINDOW, verbose=False)
        found.append(follow(detector, _feed, values, change, job.after, resets=True))
    return found


if __name__ == "__main__":
    serve(["alibi-detect", "tensorflow", "numpy", "scipy"], {"CVMDriftOnline": _cvm, "MMDDriftOnline": _mmd})
