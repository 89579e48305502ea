"""Whether a prediction and its labels stand in partitions of the same number, as far as it can be seen.

A join looks for the prediction of a label in the partition of the same number. Labels that are
spread otherwise would all be orphans, so a worker refuses to start with them and says what to do.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

import numpy as np
from confluent_kafka import KafkaException

from driftbus.schemas.columns import Projection
from driftbus.schemas.config import Config
from driftbus.schemas.decode.batch import BatchDecoder, Headers, Resolver
from driftbus.schemas.errors import ConfigError, Unavailable
from driftbus.schemas.partitioning import PARTITIONERS, Partitioner, partitions_of_keys
from driftbus.schemas.streamconfig import LabelsConfig, StreamConfig
from driftbus.stream.setup.peek import newest

LOG = logging.getLogger(__name__)

_SAMPLE = 2_000
_ENOUGH = 20
_AGREED = 0.95
"""Share of a sample that must be where a partitioner puts it; the rest may be written by hand."""

Verdict = Literal["same", "different", "unknown"]


@dataclass(slots=True)
class Sample:
    """Some records of a topic: their ids, and the partition of each."""

    ids: list[bytes] = field(default_factory=list)
    partitions: list[int] = field(default_factory=list)

    def placed_by(self, partitioner: Partitioner, count: int) -> float:
        """Share of the records that the partitioner would put where they are."""
        places = partitions_of_keys(partitioner, self.ids, count)
        return float(np.mean(places == np.array(self.partitions))) if self.ids else 0.0

    def partitioner(self, count: int) -> Partitioner | None:
        """By which partitioner ids are spread; None when by none, or too few records are known."""
        if len(self.ids) < _ENOUGH:
            return None
        return next((p for p in PARTITIONERS if self.placed_by(p, count) >= _AGREED), None)


def compare(predictions: Sample, labels: Sample, partitions: int) -> Verdict:
    """Whether both are spread over so many partitions alike.

    ``different`` is certain but for records written by hand; ``unknown`` when too few records are
    there to tell, or ids are spread by something that can't be seen.
    """
    if partitions == 1:
        return "same"
    known = dict(zip(predictions.ids, predictions.partitions, strict=True))
    met = [known[i] == at for i, at in zip(labels.ids, labels.partitions, strict=True) if i in known]
    if met and np.mean(met) < _AGREED:
        return "different"
    partitioner = predictions.partitioner(partitions)
    if partitioner is not None and len(labels.ids) >= _ENOUGH:
        return "same" if labels.placed_by(partitioner, partitions) >= _AGREED else "different"
    return "same" if len(met) >= _ENOUGH else "unknown"


@dataclass(frozen=True, slots=True)
class Spread:
    """What can be seen of the topics of one monitor.

    Args:
        verdict: whether labels are partitioned as predictions are.
        message: what was seen.
        key: of the configuration.
        fix: what to do, when they are not.
    """

    verdict: Verdict
    message: str
    key: str = ""
    fix: str = ""


def require_copartitioned(config: Config, counts: Mapping[str, int], resolvers: Mapping[str, Resolver]) -> None:
    """Compare the topics of every monitor whose labels are joined.

    Args:
        config: the configuration.
        counts: topic → number of partitions.
        resolvers: topic → where its writer schemas come from.

    Raises:
        ConfigError: labels are partitioned differently, with what to do.
    """
    for name, monitor in config.monitors.items():
        if monitor.outcomes != "joined":
            continue
        spread = look_at_spread(config, name, counts, resolvers)
        if spread.verdict == "different":
            raise ConfigError(spread.message, key=spread.key, fix=spread.fix)
        if spread.verdict == "unknown":
            LOG.warning("%s: %s", name, spread.message)


def look_at_spread(config: Config, name: str, counts: Mapping[str, int], resolvers: Mapping[str, Resolver]) -> Spread:
    """Compare the topics of a monitor whose labels are joined; arguments as of `require_copartitioned`."""
    predictions, labels = config.monitors[name].predictions, config.monitors[name].labels
    assert predictions is not None
    assert labels is not None
    count = counts[predictions.topic]
    if counts[labels.topic] != count:
        return Spread(
            "different",
            f"topic {labels.topic} has {counts[labels.topic]} partitions and {predictions.topic} {count}: "
            "a label is looked for in the partition of its prediction",
            f"monitors.{name}.labels.topic",
            _count_fix(labels, count),
        )
    if count == 1:
        return Spread("same", "one partition each")
    try:
        of_predictions = sample(config, predictions, count, resolvers[predictions.topic])
        of_labels = sample(config, labels, count, resolvers[labels.topic])
    except (Unavailable, KafkaException) as error:
        return Spread("unknown", f"whether labels are partitioned as predictions can't be looked at now: {error}")
    return _judge(name, predictions, labels, count, of_predictions, of_labels)


def _judge(
    name: str, predictions: StreamConfig, labels: LabelsConfig, count: int, of_predictions: Sample, of_labels: Sample
) -> Spread:
    partitioner = of_predictions.partitioner(count)
    if labels.repartition and partitioner not in (None, labels.partitioner):
        return Spread(
            "different",
            f"the ids of topic {predictions.topic} are spread by {partitioner}, not by {labels.partitioner}",
            f"monitors.{name}.labels.partitioner",
            f"write partitioner: {partitioner}, and a new topic under labels.topic if records stand in it already",
        )
    verdict = compare(of_predictions, of_labels, count)
    if verdict == "different":
        return Spread(
            verdict,
            f"topics {predictions.topic} and {labels.topic} spread the same ids over different partitions: a label "
            "is looked for in the partition of its prediction, and would not find it",
            f"monitors.{name}.labels.topic",
            _spread_fix(predictions, labels, partitioner),
        )
    if verdict == "unknown":
        return Spread(
            verdict,
            f"too little can be seen to tell whether {predictions.topic} and {labels.topic} spread ids over partitions "
            "alike; if they don't, labels become orphans, which driftbus_labels_total counts",
        )
    return Spread(verdict, f"{predictions.topic} and {labels.topic} spread ids over {count} partitions alike")


def _count_fix(labels: LabelsConfig, count: int) -> str:
    if labels.repartition:
        return f"make {labels.topic} anew with {count} partitions"
    return (
        f"make {labels.topic} with {count} partitions, or let the workers copy it to a topic that has them: "
        f"labels: {{topic: {labels.topic}.by-id, repartition: {labels.topic}}} and `driftbus topics --create`"
    )


def _spread_fix(predictions: StreamConfig, labels: LabelsConfig, partitioner: Partitioner | None) -> str:
    if partitioner is None:
        return (
            f"key the records of {predictions.topic} and of {labels.topic} by the prediction's id, with the same "
            "partitioner; the predictions are keyed by something else"
        )
    if labels.repartition:
        return f"something else than driftbus writes to {labels.topic}: name a topic of its own"
    return (
        f"key {labels.topic} by the prediction's id with the predictions' partitioner ({partitioner}), or let the "
        f"workers copy it to a topic that is: labels: {{topic: {labels.topic}.by-id, repartition: {labels.topic}, "
        f"partitioner: {partitioner}}} and `driftbus topics --create`"
    )


def sample(config: Config, stream: StreamConfig, partitions: int, resolver: Resolver) -> Sample:
    """The newest records of a topic that have an id.

    Raises:
        Unavailable: brokers or registry don't answer.
    """
    decoder = BatchDecoder(Projection((), (stream.id,), ""), resolver, max_bytes=config.limits.record_bytes)
    found = newest(config.kafka.librdkafka(), stream.topic, range(partitions), _SAMPLE)
    block = decoder.decode([m.value() for m in found], lambda row: cast(Headers, found[row].headers() or ())).block
    taken = Sample()
    for row, message in enumerate(found):
        text = block.string(0, row)
        if text is not None:
            taken.ids.append(text.encode())
            taken.partitions.append(message.partition() or 0)
    return taken
