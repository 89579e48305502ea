"""Typed values of everything that driftbus puts on the bus.

Each has a twin in ``avro/``; `driftbus.schemas.codec` turns one into the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from driftbus.schemas.fields import WriterFields
from driftbus.schemas.outcomeevents import Outcome, PerformanceReport


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """One partition of a source topic in one counting epoch.

    Args:
        topic: source topic.
        partition: partition number.
        epoch: fingerprint of everything that decides what decoding and counting give
            (pane, lateness, range limits, mappings, profile ids). A change starts a new epoch.
    """

    topic: str
    partition: int
    epoch: str


@dataclass(frozen=True, slots=True, order=True)
class Group:
    """What is counted together: a monitor's stream, and a version and segment of it.

    Args:
        monitor: name of the monitor.
        stream: ``predictions``, ``features``, ``labels`` or ``outcomes``.
        version: model version, "" when the monitor maps none.
        segment: ``column=value``, or "" for all rows.
    """

    monitor: str
    stream: str
    version: str = ""
    segment: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """Additive integer counts of one (group, pane) inside one offset range.

    Args:
        group: whose rows.
        tick: pane number, event time // pane length.
        rows: records counted.
        from_offset: smallest offset counted.
        to_offset: largest offset counted, plus one.
        counts: little-endian unsigned integers, `width` bytes each, in the order of the
            profile's layout; "" when every cell is 0.
        width: bytes per cell: 1, 2, 4 or 8.
        unseen: per column, up to 8 unknown category names (smallest hashes) with exact counts.
        sample, ids, delays, writers: packed sketches of the rows, of all rows only (no segment), "" when
            none are taken; see `driftbus.detectors.sketches`.
        cohort: of outcomes, event time of the predictions // length of a cohort; else -1.
        cells: which cells `counts` has (little-endian uint32, ascending); "" for all of them.
        profile: beginning of the hash of the profile whose cells these are, "" for that of all versions.
    """

    group: Group
    tick: int
    rows: int
    from_offset: int
    to_offset: int
    counts: bytes
    width: int
    unseen: tuple[tuple[str, str, int], ...] = ()
    sample: bytes = b""
    ids: bytes = b""
    delays: bytes = b""
    writers: bytes = b""
    cohort: int = -1
    cells: bytes = b""
    profile: str = ""


@dataclass(frozen=True, slots=True)
class SummaryPart:
    """What stage 1 says of one source: a settled range, a preview, or a forced clock.

    Args:
        kind: ``final`` (the range [a, b)), ``preview`` (the open range so far, replaceable,
            b = position) or ``clock`` (a forced clock, no content).
        source: whose offsets.
        base: offset at which the source's epoch began.
        a: offset that names the range.
        b: first offset after it.
        max_tick: greatest tick of the range. ``clock``: the forced clock; -1: as far as the topic's other
            partitions have come.
        entries: the counts, sorted by (group, tick, cohort).
        schemas: fields of the writer schemas that the entries name, by fingerprint.
    """

    kind: str
    source: Source
    base: int
    a: int
    b: int
    max_tick: int
    entries: tuple[Entry, ...] = ()
    schemas: tuple[WriterFields, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class OffsetRange:
    """Records [from_offset, to_offset) of a source partition."""

    topic: str
    partition: int
    from_offset: int
    to_offset: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of two samples on the same k bins.

    Args:
        edges: k - 1 inner edges in the unit of the column, ascending; bin i ends with edge i. Empty for named bins.
        categories: k names; empty for ordered bins. A bin of several categories names the first and counts the others.
        reference, current: k counts, before and after.
    """

    edges: tuple[float, ...]
    categories: tuple[str, ...]
    reference: tuple[int, ...]
    current: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DriftEvent:
    """An episode opened, escalated, changed or closed.

    Args:
        id: hash of what was decided; the same decision has the same id wherever it is made.
        episode_id: the same for all events of one episode.
        status: ``opened``, ``escalated``, ``changed`` or ``closed``.
        severity: ``minor``, ``moderate`` or ``severe``.
        aspect: ``distribution``, ``quality``, ``cardinality``, ``volume``, ``duplicates``, ``freshness`` or ``schema``;
            of outcomes ``performance``, ``estimated``, ``concept``, ``labels`` or ``gap``.
        what: ``shift``, ``spread``, ``shape``, ``category``, ``nulls``, ``invalid``, ``unseen``,
            ``range``, ``distinct``, ``stuck``, ``volume``, ``duplicates``, ``freshness`` or ``schema``.
        direction: ``up``, ``down`` or "".
        statistic, threshold: the detector's own; an alarm is statistic > threshold.
        p_value: bound on the probability of such a statistic without drift; None if the detector has none.
        effect: size of the change in PSI units (population stability index).
        reference_value, current_value: mean score, share or rate before and after, None if not defined.
        window_start_ms, window_end_ms: event time the verdict rests on, end exclusive.
        since_ms: estimated change point, event time.
        since_low_ms, since_high_ms: interval around it.
        count: values in the window.
        reference_count: values in the reference.
        ranges: source offsets the verdict rests on.
        nature: ``drift``, or ``skew`` when the stream differs from its training data from the first rows on.
        category: whose share changed most, "" if it is not about one.
        histogram: values before and after, None when it is about no column.
        curve: index of the column's latest short windows, at most 32, oldest first.
        distances: between the histogram's samples, by name.
        outcome: what a verdict on performance rests on, None for all others.
    """

    id: str
    episode_id: str
    monitor: str
    stream: str
    version: str
    segment: str
    column: str
    detector: str
    status: str
    severity: str
    aspect: str
    what: str
    direction: str
    statistic: float
    threshold: float
    p_value: float | None
    effect: float
    reference_value: float | None
    current_value: float | None
    window_start_ms: int
    window_end_ms: int
    since_ms: int
    since_low_ms: int
    since_high_ms: int
    opened_ms: int
    count: int
    reference_count: int
    ranges: tuple[OffsetRange, ...]
    profile_id: str
    fingerprint: str
    message: str
    nature: str = "drift"
    category: str = ""
    histogram: Histogram | None = None
    curve: tuple[float, ...] = ()
    distances: Mapping[str, float] = field(default_factory=dict, hash=False)
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """An episode inside an incident, as its latest event left it. Fields without a line are those of `DriftEvent`.

    Args:
        status: ``open`` or ``closed``.
        closed_ms: event time at which it closed, None while it is open.
        histogram, curve: of the first members of an incident only.
    """

    episode_id: str
    stream: str
    version: str
    segment: str
    column: str
    aspect: str
    status: str
    severity: str
    what: str
    direction: str
    category: str
    nature: str
    effect: float
    reference_value: float | None
    current_value: float | None
    since_ms: int
    since_low_ms: int
    since_high_ms: int
    opened_ms: int
    closed_ms: int | None
    message: str
    histogram: Histogram | None = None
    curve: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Hint:
    """What may be the cause of an incident: a pattern among its members.

    Args:
        kind: ``nulls_first``, ``schema_change``, ``one_source``, ``new_version``, ``one_segment``, ``skew``,
            ``everything``, ``outputs_only``, ``inputs_only``; of labels ``estimated``, ``with_inputs``,
            ``concept`` or ``prior``.
        text: what speaks for it, in a sentence.
        columns: those it is about.
        before, after: of ``one_segment``: mean effect over all rows, and without the segment.
    """

    kind: str
    text: str
    columns: tuple[str, ...] = ()
    before: float | None = None
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Incident:
    """Episodes of one monitor that move together: one story.

    Args:
        id: hash of what was decided.
        incident_id: the same for all events of one incident.
        status: ``opened``, ``updated`` or ``closed``.
        severity: worst of its members so far.
        version, segment: when all members are of one, else "".
        decided_ms: event time of the decision.
        since_ms, since_low_ms, since_high_ms: change point, and the stretch that most members' intervals cover.
        columns: number of columns that are or were in it.
        watched: number of columns of the monitor.
        open: number of members that are open.
        members: worst first, a bounded number of them.
        left_out: number of members beyond those.
        hints: what may be the cause, the most telling first.
        ranges: source offsets of the members' verdicts.
        message: the story in a sentence or two.
    """

    id: str
    incident_id: str
    monitor: str
    status: str
    severity: str
    version: str
    segment: str
    decided_ms: int
    opened_ms: int
    since_ms: int
    since_low_ms: int
    since_high_ms: int
    columns: int
    watched: int
    open: int
    members: tuple[Member, ...]
    left_out: int
    hints: tuple[Hint, ...]
    ranges: tuple[OffsetRange, ...]
    profile_id: str
    fingerprint: str
    message: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A condition of a retrain policy as it was found.

    Args:
        kind: ``drift``, ``quality``, ``performance``, ``labels`` or ``schedule``.
        held: whether it held, in as many windows as it asks for.
        value, threshold: what was compared, None when there was nothing to compare.
        text: the same in words.
    """

    kind: str
    held: bool
    value: float | None
    threshold: float | None
    text: str


@dataclass(frozen=True, slots=True)
class RetrainTrigger:
    """A policy's decision that a model should be retrained.

    Args:
        id: hash of what was decided.
        policy: ``drift``, ``quality``, ``performance``, ``labels``, ``schedule``, several joined by ``+``, or
            ``manual``.
        reason: one sentence for a person.
        severity: worst of what was found, "" when nothing was.
        decided_ms: event time of the decision.
        columns: drifted columns, worst first.
        episode_ids: the evidence.
        train_from_ms: suggested start of training data (earliest estimated change point, else the last training).
        dry_run: True when the policy only says what it would do.
        ranges: source offsets from the change point on.
        incident_ids: incidents that the episodes belong to.
        train_to_ms: suggested end of training data, exclusive.
        deadline_ms: by when a new version should be there.
        rules: every condition of the policy as it was found.
        model: references to what the affected version was trained with, by name.
    """

    id: str
    monitor: str
    version: str
    policy: str
    reason: str
    severity: str
    decided_ms: int
    columns: tuple[str, ...]
    episode_ids: tuple[str, ...]
    train_from_ms: int
    dry_run: bool
    ranges: tuple[OffsetRange, ...]
    profile_id: str
    fingerprint: str
    requested_by: str = ""
    incident_ids: tuple[str, ...] = ()
    train_to_ms: int = 0
    deadline_ms: int = 0
    rules: tuple[Finding, ...] = ()
    model: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class ComparisonEvent:
    """A verdict on two versions of a model side by side on the same panes.

    Args:
        id: hash of what was decided.
        comparison_id: the same for all events of one comparison.
        champion, challenger: the versions.
        metric: what they are compared by.
        status: ``worse``, ``better``, ``not_worse``, ``mismatch`` or ``resolved``.
        resolves: of ``resolved``: the status that does not hold any more.
        decided_ms: event time of the decision.
        since_ms: start of the first pane that it rests on.
        champion_value, challenger_value: the metric over all labels of each, None if not defined.
        difference, low, high: challenger minus champion, with its confidence sequence; None before there is one.
        margin: how much worse the challenger may be.
        alpha: bound on the probability that such a verdict is ever wrong.
        method: ``bounded`` or ``asymptotic``.
        champion_labels, challenger_labels: labels of each.
        share, share_value: of the labels that the challenger should have and has; None when it is not checked.
        ranges: source offsets that the verdict rests on.
    """

    id: str
    comparison_id: str
    monitor: str
    champion: str
    challenger: str
    metric: str
    status: str
    resolves: str
    decided_ms: int
    since_ms: int
    champion_value: float | None
    challenger_value: float | None
    difference: float | None
    low: float | None
    high: float | None
    margin: float
    alpha: float
    method: str
    champion_labels: int
    challenger_labels: int
    share: float | None
    share_value: float | None
    ranges: tuple[OffsetRange, ...]
    profile_id: str
    fingerprint: str
    message: str


Published = DriftEvent | Incident | RetrainTrigger | PerformanceReport | ComparisonEvent
"""What consumers downstream read."""


@dataclass(frozen=True, slots=True)
class ManualRetrain:
    """A person's command on the summaries topic: trigger a retrain of a monitor, or say that it is done.

    Args:
        monitor: name of the monitor.
        reason: why, in a sentence.
        requested_by: who.
        requested_ms: wall-clock time of the request; part of the trigger's identity.
        action: ``trigger`` or ``done``.
        dry_run: whether pipelines pass the trigger over.
    """

    monitor: str
    reason: str
    requested_by: str
    requested_ms: int
    action: str = "trigger"
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Registration:
    """How many partitions a source topic has, as a worker knows it, on the summaries topic.

    Args:
        topic: the source topic.
        epoch: of its parts.
        partitions: from here on so many are waited for; a smaller number than before changes nothing.
        monitors: monitor → fingerprint of its configuration, which is told from its first registration on.
    """

    topic: str
    epoch: str
    partitions: int
    monitors: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class MonitorState:
    """Snapshot of one monitor's judge, as it lies in the compacted state topic.

    Args:
        monitor: name of the monitor.
        offset: first offset of the summaries partition that the snapshot does not contain.
        body: the judge's own state bytes.
    """

    monitor: str
    offset: int
    body: bytes


@dataclass(slots=True)
class DeadLetter:
    """A record that could not be counted, with why.

    Args:
        topic, partition, offset: where it stood.
        key, value, headers: the original bytes.
        timestamp_ms: Kafka timestamp, -1 if none.
        reason: machine-readable reason.
        message: the detail for a person.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]] = field(default_factory=list)
    timestamp_ms: int = -1
    reason: str = ""
    message: str = ""
