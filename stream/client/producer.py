"""`driftbus.Producer`: three lines in serving code."""

from __future__ import annotations

import time as clock
import weakref
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from driftbus.schemas.codec import encode_input
from driftbus.schemas.config import RegistryConfig
from driftbus.schemas.contracts import schema_text
from driftbus.stream.client.canonical import Cleaner, optional_number, optional_text, text_of, time_ms, with_utf8
from driftbus.stream.client.delivery import Counters, Encoded, Sender

_CLOSE_AT_EXIT_S = 5.0


class Producer:
    """Sends canonical events to a topic, from inside a serving process.

    It never blocks and never raises: what can't be sent is counted (`counters`) and said in the log
    of ``driftbus.producer`` at most once a minute. Events are keyed by their id, so that a prediction
    and its label meet in one partition. Use one producer a topic, and one kind of event a topic.
    It is safe to use from several threads and across forks; at exit it waits up to 5 s for what is
    still under way.

    Args:
        topic: topic to send to.
        bootstrap: Kafka's host:port, several separated by commas.
        registry: URL of a Confluent-compatible schema registry (user and password may stand in it);
            None: events carry their schema's fingerprint instead of an id.
        monitor: name of the monitor that watches them.
        kafka: any librdkafka properties, for example for TLS and SASL.
        queue: events that may wait while Kafka or the registry can't be reached; more are dropped.

    >>> events = Producer("predictions", bootstrap="kafka:9092", monitor="credit")
    >>> events.prediction(id="r-1", version="12", features={"income": 1200.0}, score=0.25)
    """

    def __init__(
        self,
        topic: str,
        *,
        bootstrap: str,
        registry: str | None = None,
        monitor: str = "",
        kafka: Mapping[str, Any] | None = None,
        queue: int = 100_000,
    ) -> None:
        self._monitor = monitor
        self._cleaner = Cleaner()
        schema_id = _registrar(registry, topic) if registry else None
        self._sender = Sender(topic, {"bootstrap.servers": bootstrap, **(kafka or {})}, schema_id, queue)
        self._finalizer = weakref.finalize(self, self._sender.close, _CLOSE_AT_EXIT_S)

    def prediction(
        self,
        id: object,  # noqa: A002 - the event's own word for it
        version: object = "",
        features: Mapping[str, Any] | None = None,
        score: Any = None,
        prediction: Any = None,
        time: datetime | float | None = None,
        segments: Mapping[str, Any] | None = None,
    ) -> None:
        """Send a prediction.

        Args:
            id: identifies it; its label carries the same id.
            version: of the model.
            features: name to value: numbers, texts, truth values, None; nested mappings are flattened with dots.
            score: the model's score, a number.
            prediction: the predicted class.
            time: when it was made: a datetime, or seconds since 1970; None: now.
            segments: fields by which the monitor may be split (country, channel).
        """

        def fields() -> dict[str, Any]:
            return {
                "version": text_of(version),
                "score": optional_number(score),
                "prediction": optional_text(prediction),
                **self._features(features, segments),
            }

        self._put("PredictionEvent", id, time, fields)

    def features(
        self,
        id: object,  # noqa: A002
        features: Mapping[str, Any],
        version: object = "",
        time: datetime | float | None = None,
        segments: Mapping[str, Any] | None = None,
    ) -> None:
        """Send a row of a feature view; arguments as of `prediction`."""
        self._put("FeatureEvent", id, time, lambda: {"version": text_of(version), **self._features(features, segments)})

    def label(
        self,
        id: object,  # noqa: A002
        label: Any,
        time: datetime | float | None = None,
    ) -> None:
        """Send the outcome of a prediction.

        Args:
            id: the prediction's.
            label: what really happened: a class or a number; None withdraws an earlier label.
            time: when it became known: a datetime, or seconds since 1970; None: now.
        """
        self._put("LabelEvent", id, time, lambda: {"label": optional_text(label)})

    def counters(self) -> Counters:
        """What was accepted, sent, dropped and cleaned so far, in this process."""
        return self._sender.counters()

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait up to `timeout` seconds until everything so far is sent or dropped; False when time ran out."""
        return self._sender.flush(timeout)

    def close(self, timeout: float = 10.0) -> bool:
        """As `flush`, then stop: later events are dropped. False when something could not be sent."""
        self._finalizer.detach()
        return self._sender.close(timeout)

    def __enter__(self) -> Producer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _features(self, features: Mapping[str, Any] | None, segments: Mapping[str, Any] | None) -> dict[str, Any]:
        found = self._cleaner.features(features or {})
        if found.cleaned:
            self._sender.clean(found.cleaned)
        return {
            "numeric_features": found.numeric,
            "categorical_features": found.categorical,
            "segments": {str(name): optional_text(value) for name, value in (segments or {}).items()},
        }

    def _put(self, name: str, id_: object, time: datetime | float | None, fields: Callable[[], dict[str, Any]]) -> None:
        try:
            identity = "" if id_ is None else text_of(id_)
            record = fields() | {"monitor": self._monitor, "id": identity, "time": time_ms(time, clock.time())}
            try:
                body = encode_input(name, record)
            except UnicodeEncodeError:
                body = encode_input(name, with_utf8(record))
            self._sender.put(Encoded(name, body, identity.encode("utf-8", "replace") or None))
        except Exception as e:  # noqa: BLE001 - serving must not fail because it is watched
            self._sender.drop("bad_event", f"{type(e).__name__}: {e}")


def _registrar(url: str, topic: str) -> Callable[[str], int]:
    """Looks before it registers: credentials that may only read are enough for a schema that is there."""

    def schema_id(name: str) -> int:
        from driftbus.schemas.registry import Registry

        registry = Registry(RegistryConfig(url=url))
        try:
            subject, text = f"{topic}-value", schema_text(name)
            known = registry.lookup(subject, text)
            return registry.register(subject, text) if known is None else known
        finally:
            registry.close()

    return schema_id
