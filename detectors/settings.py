"""Every constant of detection, in one frozen value with a fingerprint."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from driftbus.detectors.budget import divisor
from driftbus.schemas.config import DetectionConfig


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides an alarm. Significance levels are undivided; `divisor` divides them all.

    Args:
        pane_ms: length of a pane.
        cusum_rate: false alarms per value and column of each kind of cumulative sum.
        detectors: which are on; names of `driftbus.schemas.config.Detector`.
        divisor: see `driftbus.detectors.budget`.
        delta_location: level of ADWIN on the location score of a column.
        delta_spread: the same on the spread score.
        delta_skew: the same on the skewness score.
        delta_share: the same on shares: nulls, invalid, unseen, range, two-valued columns, categories.
        delta_season: level, at most, of every score that is compared with a slot of a season.
        season: whether the season of a profile is used.
        category_scores: most frequent categories with a score of their own; the rest is left to the index.
        category_free: categories up to which `delta_share` is not divided further.
        cap_location, cap_spread: largest absolute location score, and of the others; what a continuous column reaches.
        clock: ADWIN checks each time so many values have come.
        buckets: ADWIN's buckets per row.
        least_side: fewest values on either side of a cut.
        grace: no check before so many values.
        longrun: whether autocorrelation widens the thresholds.
        psi_windows: values in the sliding windows of the index, ascending.
        psi_alpha: level of one judgement of the index.
        psi_min: no alarm below this index, whatever its significance.
        psi_bins: coarse bins.
        close_values: values that have to be back before an episode closes.
        change_values: rows after what was last said of an episode before it says that the column moved again.
        close_effect: an episode closes only below this effect (index units).
        close_errors: standard errors that the bound on "back" lies above the mean.
        moderate, severe: effects (index units) from which an episode is called so.
        range: whether leaving the reference's range raises an alarm on every numeric column.
        volume_alpha: level of one hour's judgement of the rate of records.
        watch_alpha: level of one look at distinct values or at repeated ids.
        relations: whether relations between columns are watched.
        relation_windows: sampled rows in the windows they are judged in, ascending.
        relation_alpha: level of one judgement of all pairs, of all columns together, of the reconstruction.
    """

    pane_ms: int
    divisor: float = 1.0
    delta_location: float = 0.002
    delta_spread: float = 0.0005
    delta_skew: float = 5e-6
    delta_share: float = 0.005
    delta_season: float = 0.0002
    season: bool = True
    category_scores: int = 16
    category_free: int = 4
    cap_location: float = 2.8
    cap_spread: float = 4.9
    clock: int = 32
    buckets: int = 5
    least_side: int = 5
    grace: int = 10
    longrun: bool = True
    psi_windows: tuple[int, ...] = (1_000, 5_000)
    psi_alpha: float = 1e-6
    psi_min: float = 0.02
    psi_bins: int = 10
    close_values: int = 1_000
    change_values: int = 250
    close_effect: float = 0.01
    close_errors: float = 3.0
    moderate: float = 0.1
    severe: float = 0.25
    range: bool = False
    volume_alpha: float = 1e-6
    watch_alpha: float = 1e-6
    detectors: tuple[str, ...] = ("adwin", "psi")
    cusum_rate: float = 1e-7
    relations: bool = True
    relation_windows: tuple[int, ...] = (1_000, 5_000)
    relation_alpha: float = 1e-6

    @classmethod
    def from_config(cls, config: DetectionConfig, columns: int, pane_ms: int) -> Settings:
        """Settings of a monitor.

        Args:
            config: the section ``detection`` of the monitor.
            columns: columns watched, see `driftbus.detectors.budget.divisor`.
            pane_ms: length of a pane.
        """
        return cls(
            pane_ms=pane_ms,
            divisor=divisor(config.false_alarms_per_week, columns, config.events_per_second, set(config.detectors)),
            psi_windows=tuple(sorted(set(config.windows))),
            psi_min=config.psi_min,
            range=config.range,
            detectors=tuple(sorted(set(config.detectors))),
            season=config.season.kind != "none",
            relations=config.relations,
        )

    def fingerprint(self) -> str:
        """16 hexadecimal characters; equal settings have equal ones."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def severity(self, effect: float) -> int:
        """Class of an effect in index units: 1 minor, 2 moderate, 3 severe."""
        return 1 + (effect >= self.moderate) + (effect >= self.severe)
