"""How topics have to be kept: what the protocol and a join assume of the log, as rules on their settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from driftbus.schemas.config import Config
from driftbus.schemas.configtypes import format_duration
from driftbus.stream.plan import topics_of
from driftbus.stream.worker.topics import Required, label_copies, required_topics

Settings = Mapping[str, str | None]

_FOREVER = 1 << 62
_GRAVITY = ("stops", "harms", "advice")
_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule that a topic's setting breaks.

    Args:
        topic: which.
        setting: its name.
        message: what is wrong.
        changed: settings that mend it.
        gravity: ``stops``: a worker does not start; ``harms``: it starts, and will suffer; ``advice``.
    """

    topic: str
    setting: str
    message: str
    changed: Mapping[str, str]
    gravity: Literal["stops", "harms", "advice"]


def problems_of_settings(config: Config, settings: Mapping[str, Settings]) -> list[Broken]:
    """What breaks a rule, of topics whose settings are known."""
    found: list[Broken] = []
    for required in required_topics(config):
        if required.name in settings:
            found += _own(required, settings[required.name])
    largest = max((_number(settings[t], "max.message.bytes", 0) for t in topics_of(config) if t in settings), default=0)
    letters = config.topics.deadletter
    if letters in settings and _number(settings[letters], "max.message.bytes", _FOREVER) < largest:
        said = f"takes {settings[letters]['max.message.bytes']} bytes, source topics {largest}: a large record stops us"
        found.append(Broken(letters, "max.message.bytes", said, {"max.message.bytes": str(largest + 65_536)}, "harms"))
    for topic, needed in _retentions(config).items():
        if topic in settings:
            found += _source(topic, settings[topic], *needed)
    for name in label_copies(config):
        topic = config.monitors[name].streams["labels"].topic
        if topic in settings:
            found += _copy(topic, settings[topic], config.monitors[name].join.horizon)
    gravest: dict[tuple[str, str], Broken] = {}
    for broken in sorted(found, key=lambda each: _GRAVITY.index(each.gravity)):
        gravest.setdefault((broken.topic, broken.setting), broken)
    return list(gravest.values())


def _own(required: Required, settings: Settings) -> Iterator[Broken]:
    name, wanted, policy = required.name, required.settings["cleanup.policy"], settings.get("cleanup.policy")
    if policy is not None:
        kept = policy.split(",")
        # where records are all there is of something, the other policy beside the right one loses some of them
        lossy = len(kept) > 1 and required.role in ("state", "profiles", "summaries")
        if wanted not in kept or lossy:
            said = f"has cleanup.policy={policy} instead of {wanted}"
            yield Broken(name, "cleanup.policy", said, {"cleanup.policy": wanted}, "stops")
    made = int(required.settings.get("max.message.bytes", 0))
    if _number(settings, "max.message.bytes", _FOREVER) < made:
        said = f"takes records of {settings['max.message.bytes']} bytes; larger ones stop a worker"
        yield Broken(name, "max.message.bytes", said, {"max.message.bytes": str(made)}, "advice")
    if required.role == "summaries":
        yield from _summaries(required, settings)
    yield from _clean(name, settings)


def _summaries(required: Required, settings: Settings) -> Iterator[Broken]:
    name, made = required.name, int(required.settings["retention.ms"])
    kept = _kept(settings)
    if kept < made:
        gravity: Literal["harms", "advice"] = "harms" if kept < _DAY_MS else "advice"
        said = f"is kept for {lasting(kept)}: workers that are down for longer lose what was not judged yet"
        yield Broken(name, "retention.ms", said, {"retention.ms": str(made)}, gravity)
    yield from _unsized(name, settings)


def _source(topic: str, settings: Settings, needed: int, why: str) -> Iterator[Broken]:
    kept = _kept(settings)
    if kept < needed:
        said = f"is kept for {lasting(kept)}, less than {lasting(needed)}: {why}"
        yield Broken(topic, "retention.ms", said, {"retention.ms": str(needed)}, "harms")
    yield from _unsized(topic, settings)
    if "compact" in (settings.get("cleanup.policy") or ""):
        said = "is compacted: what was counted can vanish, so a replay or a rebuild finds less than there was"
        yield Broken(topic, "cleanup.policy", said, {"cleanup.policy": "delete"}, "harms")
    yield from _clean(topic, settings)


def _copy(topic: str, settings: Settings, horizon: int) -> Iterator[Broken]:
    if settings.get("message.timestamp.type") == "LogAppendTime":
        said = "has LogAppendTime: copied labels lose the time at which they came"
        yield Broken(topic, "message.timestamp.type", said, {"message.timestamp.type": "CreateTime"}, "harms")
    for name in ("message.timestamp.before.max.ms", "message.timestamp.difference.max.ms"):
        if _number(settings, name, _FOREVER) < horizon:
            said = f"refuses records older than {lasting(_number(settings, name, 0))}: copying stops there"
            yield Broken(topic, name, said, {name: str((1 << 63) - 1)}, "harms")


def _clean(topic: str, settings: Settings) -> Iterator[Broken]:
    if settings.get("unclean.leader.election.enable") == "true":
        said = "may elect an unclean leader, which rewrites the log: verdicts would no longer follow from it"
        changed = {"unclean.leader.election.enable": "false"}
        yield Broken(topic, "unclean.leader.election.enable", said, changed, "harms")


def _unsized(topic: str, settings: Settings) -> Iterator[Broken]:
    if _number(settings, "retention.bytes", -1) >= 0:
        said = f"is cut at {settings['retention.bytes']} bytes a partition, however young the records are"
        yield Broken(topic, "retention.bytes", said, {"retention.bytes": "-1"}, "advice")


def _retentions(config: Config) -> dict[str, tuple[int, str]]:
    """Topic that is read → (milliseconds it has to be kept, why)."""
    limits = config.limits
    base = limits.lateness + limits.retention, "a worker that is away for longer misses records"
    found: dict[str, tuple[int, str]] = dict.fromkeys(
        [*topics_of(config), *(copied for copied, _ in label_copies(config).values())], base
    )
    for monitor in config.monitors.values():
        if monitor.outcomes != "joined":
            continue
        # docs/labels.md: a label may find its prediction until 9/8 of the horizon have passed
        needed = -(-(monitor.join.horizon * 9 // 8 + monitor.join.wait) // _HOUR_MS) * _HOUR_MS
        why = "what waits for labels can't be made again from the topics when the store is lost"
        for stream in (monitor.predictions, monitor.labels):
            if stream is not None and needed > found[stream.topic][0]:
                found[stream.topic] = needed, why
    return found


def lasting(ms: int) -> str:
    """A duration for a person: whole weeks, hours, seconds, or days to a tenth."""
    exact = format_duration(ms)
    return exact if len(exact) < 4 or ms < 2 * _DAY_MS else f"{ms / _DAY_MS:.1f} days"


def _kept(settings: Settings) -> int:
    """How long records are kept, in milliseconds."""
    if "delete" not in (settings.get("cleanup.policy") or "delete"):
        return _FOREVER
    kept = _number(settings, "retention.ms", _FOREVER)
    return kept if kept >= 0 else _FOREVER


def _number(settings: Settings, name: str, default: int) -> int:
    value = settings.get(name)
    try:
        return default if value is None else int(value)
    except ValueError:
        return default
