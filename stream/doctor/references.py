"""Profiles, how labels are spread, and whether all of it together makes a plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from confluent_kafka import KafkaException

from driftbus.detectors.profile import Profile
from driftbus.schemas.config import Config
from driftbus.schemas.configtypes import format_duration
from driftbus.schemas.decode.batch import Resolver
from driftbus.schemas.errors import DriftbusError
from driftbus.stream.doctor.finding import Finding, advice, counted, from_error, not_checked, ok, wrong
from driftbus.stream.plan import build_plans, topics_of
from driftbus.stream.worker.copartition import look_at_spread
from driftbus.stream.worker.lacking import FIX, told_lacking
from driftbus.stream.worker.profiles import find_own_profiles, find_profiles
from driftbus.stream.worker.repartition_agent import targets_of


def look_at_profiles(config: Config, counts: Mapping[str, int]) -> Iterator[Finding]:
    """Each stream's reference, whether its topic has the columns, and whether workers could plan with it.

    Raises:
        ConfigError, StateError: a profile can't be read.
        Unavailable: the brokers don't answer.
    """
    places = counts.get(config.topics.profiles, 0)
    profiles = find_profiles(config, places)
    own = find_own_profiles(config, places)
    for name, monitor in config.monitors.items():
        for stream, settings in monitor.streams.items():
            yield _profile(config, name, stream, profiles.get((name, stream)), counts.get(settings.topic, 0))
    wanted = {(name, stream) for name, monitor in config.monitors.items() for stream in monitor.streams}
    if wanted <= profiles.keys() and topics_of(config).keys() <= counts.keys():
        try:
            plans = build_plans(config, profiles, counts, own=own)
            targets_of(config, counts)
        except DriftbusError as error:
            yield from_error("plan", "configuration as a whole", error)
        else:
            yield ok("plan", "configuration as a whole", f"{counted(len(plans.monitors), 'monitor')} can be judged")


def look_at_spreads(config: Config, counts: Mapping[str, int], resolvers: Mapping[str, Resolver]) -> Iterator[Finding]:
    """Whether the labels of each monitor stand in the partitions of their predictions."""
    for name, monitor in config.monitors.items():
        if monitor.outcomes != "joined":
            continue
        id_, what = f"copartition.{name}", f"labels of {name}"
        topics = [monitor.streams[stream].topic for stream in ("predictions", "labels")]
        if absent := [topic for topic in topics if topic not in counts]:
            yield not_checked(id_, what, f"topic {absent[0]} is not there")
            continue
        spread = look_at_spread(config, name, counts, resolvers)
        if spread.verdict == "different":
            yield wrong(id_, what, spread.message, spread.fix)
        elif spread.verdict == "unknown":
            yield not_checked(id_, what, spread.message)
        else:
            yield ok(id_, what, spread.message)


def _profile(config: Config, name: str, stream: str, profile: Profile | None, partitions: int) -> Finding:
    id_, what = f"profile.{name}.{stream}", f"profile of {name}'s {stream}"
    if profile is None:
        period = format_duration(config.monitors[name].learn.period)
        said = f"there is none: workers learn one from the first {period} of the topic before they judge"
        fix = f"driftbus profile TRAINING.parquet --monitor {name} --stream {stream} --publish"
        return advice(id_, what, said, fix)
    try:
        said = told_lacking(config, profile, partitions) if partitions else ""
    except (DriftbusError, KafkaException):
        said = ""
    if said:
        return wrong(id_, what, said, FIX)
    return ok(
        id_,
        what,
        f"{profile.profile_id[:12]}, {counted(len(profile.columns), 'column')} of {counted(profile.rows, 'row')}",
    )
