"""Looks at a running demo as anybody could: at the worker's metrics and at the topics it writes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import httpx
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.live import Live

from driftbus.schemas.codec import decode_drift, decode_event, decode_incident, decode_performance, decode_retrain
from driftbus.schemas.config import Config
from driftbus.schemas.errors import Unavailable
from driftbus.schemas.events import Published
from driftbus.stream.demo.play import Player
from driftbus.stream.demo.screen import Picture, line_of, progress_line

_STEP_S, _SAMPLE_S, _LINE_S, _SETTLE_S = 0.2, 1.0, 5.0, 4.0


def watch(
    console: Console, picture: Picture, config: Config, player: Player, alive: Callable[[], bool], metrics_url: str
) -> None:
    """Show what happens until everything played has been judged.

    Raises:
        Unavailable: the worker ended.
    """
    gauges = _Gauges(picture, metrics_url)
    live = Live(picture.draw(), console=console, refresh_per_second=5) if console.is_terminal else None
    line_at, end_at = 0.0, None
    with _decisions(config) as news, live or nullcontext():
        while end_at is None or time.monotonic() < end_at:
            if not alive():
                raise Unavailable("the worker ended before the stream did")
            picture.sent, picture.labelled = player.sent, player.labelled
            gauges.sample()
            for event in news():
                if picture.take(event) and live is None:
                    console.print(line_of(event), soft_wrap=True)
            if live is not None:
                live.update(picture.draw())
            elif time.monotonic() > line_at:
                line_at = time.monotonic() + _LINE_S
                console.print(progress_line(picture), soft_wrap=True)
            if end_at is None and player.finished and gauges.counted >= picture.sent + picture.labelled:
                end_at = time.monotonic() + _SETTLE_S


class _Gauges:
    """The worker's metrics, sampled once a second."""

    def __init__(self, picture: Picture, url: str) -> None:
        self._picture, self._url = picture, url
        self._client = httpx.Client(timeout=2)
        self._at = 0.0
        self.counted = 0.0

    def sample(self) -> None:
        now = time.monotonic()
        if now - self._at < _SAMPLE_S:
            return
        try:
            text = self._client.get(self._url).text
        except httpx.TransportError:
            return
        counted, delays = 0.0, []
        for family in text_string_to_metric_families(text):
            for one in family.samples:
                if one.name == "driftbus_events_total":
                    counted += one.value
                elif one.name == "driftbus_watermark_delay_seconds":
                    delays.append(one.value)
                elif one.name == "driftbus_drift_score" and one.labels["column"] in self._picture.columns:
                    self._picture.sample(one.labels["column"], one.value)
        self._picture.rate = (counted - self.counted) / (now - self._at) if self._at else 0.0
        if delays:
            self._picture.watermark_ms = round((time.time() - max(delays)) * 1000)
        self._at, self.counted = now, counted


@contextmanager
def _decisions(config: Config) -> Iterator[Callable[[], list[Published]]]:
    """What has newly come to the topics of results, read as any consumer downstream would."""
    topics = config.topics
    readers: dict[str, Callable[[bytes], Published]] = {
        topics.drift: decode_drift,
        topics.incidents: decode_incident,
        topics.performance: decode_performance,
        topics.retrain: decode_retrain,
    }
    consumer = Consumer(
        {**config.kafka.librdkafka(), "group.id": f"{config.app}-screen", "enable.auto.commit": False},
        logger=logging.getLogger("librdkafka"),
    )
    consumer.assign(
        [
            TopicPartition(name, partition, OFFSET_BEGINNING)
            for name in readers
            for partition in consumer.list_topics(name, timeout=10).topics[name].partitions
        ]
    )

    def news() -> list[Published]:
        found: list[Published] = []
        for message in consumer.consume(500, timeout=_STEP_S):
            value = message.value()
            if message.error() is not None or value is None:
                continue
            if value[:1] == b"\0":  # the registry's id of the package's own schema
                found.append(readers[message.topic() or ""](value[5:]))
            else:
                found.append(decode_event(value))
        return found

    try:
        yield news
    finally:
        consumer.close()
