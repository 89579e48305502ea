"""Every constant of the detectors of errors, in one frozen value with a fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import asdict, dataclass

from driftbus.detectors.settings import Settings

COLUMNS = 12
"""As how many columns the outcomes of one version count in `driftbus.detectors.budget.divisor`."""


@dataclass(frozen=True, slots=True)
class ConceptSettings:
    """What decides an alarm on outcomes. Significance levels are undivided; `divisor` divides them all.

    Args:
        divisor: see `driftbus.detectors.budget`.
        detectors: which look at errors; names of `driftbus.schemas.outcomeconfig.ErrorDetector`.
        delta_error: level of ADWIN on errors. Raising it finds changes earlier and raises proportionally more
            false alarms.
        delta_loss: the same on log loss.
        delta_label: the same on shares of labels; divided by K/4 for K > 4 classes.
        delta_calibration: the same on what labels differ from what their scores let expect.
        learn_labels: without a reference the first so many labels become what scores let expect.
        quiet_labels: no alarm before so many: until then autocorrelation is not known. Of calibration: so many after
            what scores let expect is known.
        reach: Bernstein's range where autocorrelation counts, see `driftbus.detectors.adwin`: errors come in bursts.
        clip: log loss takes probabilities to be at least this and at most its complement.
        moved_alpha: level at which P(Y), P(Ŷ) and P(Y|Ŷ) are each said to have moved.
        clock, buckets, least_side, grace, longrun: of ADWIN, see `driftbus.detectors.adwin.AdwinRules`.
        close_values: labels that have to be back before an episode closes.
        change_values: labels after what was last said of an episode before it says that it moved again.
        close_effect: an episode closes only below this effect (index units).
        close_errors: standard errors that the bound on "back" lies above the mean.
        moderate, severe: effects (index units) from which an episode is called so.
    """

    divisor: float = 1.0
    detectors: tuple[str, ...] = ("adwin",)
    delta_error: float = 0.05
    delta_loss: float = 0.02
    delta_label: float = 0.005
    delta_calibration: float = 0.005
    learn_labels: int = 1_000
    quiet_labels: int = 500
    reach: float = 2.0
    clip: float = 0.01
    moved_alpha: float = 1e-3
    clock: int = 32
    buckets: int = 5
    least_side: int = 5
    grace: int = 10
    longrun: bool = True
    close_values: int = 1_000
    change_values: int = 250
    close_effect: float = 0.01
    close_errors: float = 3.0
    moderate: float = 0.1
    severe: float = 0.25

    @classmethod
    def of(cls, settings: Settings, detectors: Collection[str] = ("adwin",)) -> ConceptSettings:
        """Settings of the outcomes of a monitor.

        Args:
            settings: of the monitor; its divisor should know `COLUMNS` more columns per version.
            detectors: ``performance.detectors``.
        """
        return cls(
            divisor=settings.divisor,
            detectors=tuple(sorted(set(detectors))),
            clock=settings.clock,
            buckets=settings.buckets,
            least_side=settings.least_side,
            grace=settings.grace,
            longrun=settings.longrun,
            close_values=settings.close_values,
            change_values=settings.change_values,
            close_effect=settings.close_effect,
            close_errors=settings.close_errors,
            moderate=settings.moderate,
            severe=settings.severe,
        )

    def fingerprint(self) -> str:
        """16 hexadecimal characters; equal settings have equal ones."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def severity(self, effect: float) -> int:
        """Class of an effect in index units: 1 minor, 2 moderate, 3 severe."""
        return 1 + (effect >= self.moderate) + (effect >= self.severe)
