"""What retrain rules look at, and whether each holds: episodes, metrics with their bounds, labels, the time.

A condition is looked at as a pure function of what is known at one point of event time; when it is looked
at, and what follows, is `driftbus.detectors.policy`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from driftbus.schemas.configtypes import SEVERITIES, format_duration
from driftbus.schemas.outcomeconfig import Limit
from driftbus.schemas.retrainconfig import DriftPolicy, PerformancePolicy, PolicyRule, QualityPolicy

MOST_COHORTS = 1000
"""Cohorts that are remembered of a metric and version at most: as many as a rule can look at."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """An open episode as a policy sees it. Times are milliseconds of event time."""

    episode_id: str
    version: str
    stream: str
    column: str
    severity: str
    what: str
    direction: str
    effect: float
    since_ms: int
    opened_ms: int
    aspect: str = "distribution"


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric of one cohort of a version, once its labels are there; a later one replaces that of the same cohort.

    Args:
        metric: name, as in the configuration.
        value, low, high: its value and confidence bounds.
        labels: predictions with a label.
        cohort_end_ms: end of the cohort, by event time of the predictions, exclusive.
        version: model version, "" when none is known.
    """

    metric: str
    value: float
    low: float
    high: float
    labels: int
    cohort_end_ms: int
    version: str = ""


@dataclass(frozen=True, slots=True)
class Labels:
    """So many labels have come for the first time since the last such message."""

    count: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What stays the same for a monitor.

    Args:
        window_ms: length of a policy window where a rule says none.
        importance: column → weight in shares, of every watched column.
        limits: metric → what it must keep to, where a rule says nothing.
        cohort_ms: length of a cohort.
    """

    window_ms: int
    importance: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, Limit] = field(default_factory=dict)
    cohort_ms: int = 0


@dataclass(frozen=True, slots=True)
class Known:
    """What is known at a point of event time.

    Args:
        open: open episodes.
        told: episodes that ask for no second retrain.
        cohorts: (metric, version) → its cohorts, oldest first.
        since_ms: cohorts up to here were known at the last trigger or training.
        labels: new labels since the last training.
    """

    open: Sequence[Evidence] = ()
    told: frozenset[str] = frozenset()
    cohorts: Mapping[tuple[str, str], Sequence[Measured]] = field(default_factory=dict)
    since_ms: int = 0
    labels: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """A condition as it was found.

    Args:
        kind: ``drift``, ``quality``, ``performance``, ``labels`` or ``schedule``.
        holds: whether it is so now, with something in it that the last trigger did not know.
        value, threshold: what was compared; None when there was nothing to compare.
        version: whose, "" when it is about none.
        evidence: episodes behind it, worst first.
        since_ms: where it began, as estimated; None if it does not say.
        severity: of what was found, "" for none.
        text: what was found, as a clause for a person.
    """

    kind: str
    holds: bool
    value: float | None
    threshold: float | None
    text: str
    version: str = ""
    evidence: tuple[Evidence, ...] = ()
    since_ms: int | None = None
    severity: str = ""


def window_ms(rule: PolicyRule, around: Surroundings, pane_ms: int) -> int:
    """Length of a rule's windows, in whole panes."""
    own = rule.drift or rule.quality
    return (-(-own.window // pane_ms) * pane_ms if own else 0) or around.window_ms


def look(rule: PolicyRule, known: Known, around: Surroundings, window: int) -> Look:
    """A condition that is no combination, as it is now. A schedule is always found to hold: its times decide.

    Args:
        rule: the condition.
        known: what is known.
        around: what the monitor is like.
        window: length of its windows in milliseconds, for the text.
    """
    if rule.drift is not None:
        return _drift(rule.drift, known, around, window)
    if rule.quality is not None:
        return _quality(rule.quality, known, window)
    if rule.performance is not None:
        return _performance(rule.performance, known, around)
    if rule.labels is not None:
        text = f"{known.labels:,} new labels since the last training, at least {rule.labels:,} are asked for"
        return Look("labels", known.labels >= rule.labels, float(known.labels), float(rule.labels), text)
    return Look("schedule", True, None, None, f"Scheduled retrain ({rule.schedule})")


def worst_first(evidence: Iterable[Evidence]) -> list[Evidence]:
    """In order of severity, then of effect."""
    return sorted(evidence, key=lambda e: (-SEVERITIES.index(e.severity), -e.effect, e.column, e.episode_id))


def utc(ms: int) -> str:
    """A time for a person."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _drift(rule: DriftPolicy, known: Known, around: Surroundings, window: int) -> Look:
    weights = _weights(rule, around) if rule.share is not None else {}

    def enough(columns: set[str]) -> bool:
        return len(columns) >= rule.columns and (rule.share is None or _share(columns, weights) >= rule.share)

    able = [e for e in known.open if e.column and (not rule.any_of or e.column in rule.any_of)]
    version, mine, holds = _version(able, rule.severity, known, enough, weights)
    columns = {e.column for e in mine}
    share = _share(columns, weights)
    m, n = rule.m_of_n
    text = _subject(len(columns), "drifted", rule.severity)
    if rule.share is not None:
        weighed = " by importance" if len(set(weights.values())) > 1 else ""
        text = f"{share:.0%} of the columns{weighed} ({len(columns)}, {rule.share:.0%} are asked for) have drifted "
        text += f"at severity {rule.severity} or worse"
    text += f" in {_times(m, n)} of {format_duration(window)}"
    if mine:
        lead = mine[0]
        change = f"{lead.what} {lead.direction}".strip()
        text += f", led by {lead.column} ({lead.severity} {change}), since {utc(min(e.since_ms for e in mine))}"
    text += "" if holds or not enough(columns) else ", as the last trigger said"
    value, threshold = (len(columns), rule.columns) if rule.share is None else (share, rule.share)
    return _of_episodes("drift", holds, mine, text, version, float(value), float(threshold))


def _quality(rule: QualityPolicy, known: Known, window: int) -> Look:
    def enough(columns: set[str]) -> bool:
        return len(columns) >= rule.columns

    able = [e for e in known.open if _problem(e) in rule.of]
    version, mine, holds = _version(able, rule.severity, known, enough, {})
    columns = {e.column for e in mine}
    m, n = rule.m_of_n
    named = [f"{e.column or 'fields'} ({_problem(e)})" for e in mine[:4]] + ["…"] * (len(mine) > 4)
    text = _subject(len(columns), "quality problems", rule.severity)
    text += f" in {_times(m, n)} of {format_duration(window)}"
    text += f": {', '.join(named)}, since {utc(min(e.since_ms for e in mine))}" if mine else ""
    text += "" if holds or not enough(columns) else ", as the last trigger said"
    return _of_episodes("quality", holds, mine, text, version, float(len(columns)), float(rule.columns))


def _version(
    able: Iterable[Evidence],
    severity: str,
    known: Known,
    enough: Callable[[set[str]], bool],
    weights: Mapping[str, float],
) -> tuple[str, list[Evidence], bool]:
    """The version that a rule holds for, else the one that comes closest; its evidence; whether it holds.

    Streams without a version count for all. What the last trigger told is not enough without something new.
    """
    bad = [e for e in able if SEVERITIES.index(e.severity) >= SEVERITIES.index(severity)]
    best: tuple[bool, float, int] = (False, 0.0, 0)
    found: tuple[str, list[Evidence]] = ("", [])
    for version in sorted({e.version for e in bad}):
        mine = [e for e in bad if e.version in ("", version)]
        columns = {e.column for e in mine}
        holds = enough(columns) and any(e.episode_id not in known.told for e in mine)
        rank = (holds, _share(columns, weights), len(columns))
        if rank > best:
            best, found = rank, (version, mine)
    return found[0], worst_first(found[1]), best[0]


def _performance(rule: PerformancePolicy, known: Known, around: Surroundings) -> Look:
    below, above = rule.below, rule.above
    limit = around.limits.get(rule.metric)
    if below is None and above is None and limit is not None:
        below, above = limit.min, limit.max
    m, n = rule.m_of_n
    best: tuple[int, int, str] = (0, -1, "")
    found: list[Measured] = []
    newest: list[Measured] = []
    for (metric, version), cohorts in sorted(known.cohorts.items()):
        if metric != rule.metric:
            continue
        last = [c for c in cohorts if c.cohort_end_ms > known.since_ms][-n:]
        bad = [c for c in last if (below is not None and c.high < below) or (above is not None and c.low > above)]
        newest = last if last and (not newest or last[-1].cohort_end_ms > newest[-1].cohort_end_ms) else newest
        if bad and (len(bad), bad[-1].cohort_end_ms, version) > best:
            best, found = (len(bad), bad[-1].cohort_end_ms, version), bad
    holds = len(found) >= m
    shown = (found or newest)[-1:]
    name = rule.metric.replace("_", " ")
    threshold = below if above is None or (found and below is not None and found[-1].high < below) else above
    side = "below" if threshold == below else "above"
    if not shown:
        return Look("performance", False, None, threshold, f"no cohort has {name} since the last training")
    last_one = shown[0]
    whose = f" of version {last_one.version}" if last_one.version else ""
    within = f"{last_one.low:.4g} to {last_one.high:.4g}"
    bounds = f"{last_one.value:.4g}, bounds {within}, {last_one.labels:,} labels"
    cohort = f"the cohort up to {utc(last_one.cohort_end_ms)}"
    if not found or threshold is None:
        limit_text = "" if threshold is None else f", not surely {side} {threshold:g}"
        text = f"{name}{whose} is {bounds} in {cohort}{limit_text}"
    else:
        times = f" in {len(found)} of the last {n} cohorts" if n > 1 else ""
        text = f"{name}{whose} is surely {side} {threshold:g}{times} ({bounds} in {cohort})"
    since = max(0, found[0].cohort_end_ms - around.cohort_ms) if found else None
    return Look(
        "performance", holds, last_one.value, threshold, text, last_one.version, (), since,
        "severe" if found else "",
    )  # fmt: skip


def _of_episodes(
    kind: str, holds: bool, mine: Sequence[Evidence], text: str, version: str, value: float, least: float
) -> Look:
    since = min((e.since_ms for e in mine), default=None)
    severity = mine[0].severity if mine else ""
    return Look(kind, holds, value, least, text, version, tuple(mine), since, severity)


def _problem(e: Evidence) -> str:
    """What is wrong with values, as the rule names it; "" when it is no question of quality."""
    return "schema" if e.aspect == "schema" else e.what if e.aspect == "quality" else ""


def _weights(rule: DriftPolicy, around: Surroundings) -> Mapping[str, float]:
    weights = rule.importance or around.importance
    return {c: w for c, w in weights.items() if c in rule.any_of} if rule.any_of else weights


def _share(columns: set[str], weights: Mapping[str, float]) -> float:
    # in sorted order: sums of floating-point numbers depend on it
    whole = sum(weights[c] for c in sorted(weights))
    return sum(weights.get(c, 0.0) for c in sorted(columns)) / whole if whole > 0 else 0.0


def _subject(count: int, what: str, severity: str) -> str:
    has = "column has" if count == 1 else "columns have"
    return f"{count} {has} {what} at severity {severity} or worse"


def _times(m: int, n: int) -> str:
    return f"{m} of the last {n} windows" if n > 1 else "the last window"
