"""A client for questions to the brokers, which knows why they don't let it in."""

from __future__ import annotations

import logging
import time
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from driftbus.schemas.config import KafkaConfig
from driftbus.schemas.errors import ConfigError, Unavailable
from driftbus.schemas.secrets import masked
from driftbus.stream.transport.rights import RIGHTS
from driftbus.stream.transport.tlsprobe import check_files, speaks_tls, why_no_tls

LOG = logging.getLogger(__name__)

_ANSWER_S = 15.0
_STEP_S = 1.0
_SOON_S = 3.0


class Admin(AdminClient):
    """An AdminClient that remembers what went wrong with its connections. Keep it while a future of its is awaited.

    Args:
        kafka: how to connect.

    Raises:
        ConfigError: a file of certificates or keys can't be used, or the token endpoint refuses us.
        Unavailable: the token endpoint can't be reached.
    """

    def __init__(self, kafka: KafkaConfig) -> None:
        check_files(kafka)
        if kafka.tokens is not None:
            kafka.tokens.token()
        if not kafka.verify_hostname:
            LOG.warning("kafka.verify_hostname is false: whoever has any certificate of the CA can pose as a broker")
        if kafka.security_protocol == "SASL_PLAINTEXT" and kafka.sasl_mechanism in ("PLAIN", "OAUTHBEARER"):
            LOG.warning("the login of %s can be read on the network: kafka.security_protocol has no TLS", _who(kafka))
        self._kafka = kafka
        self._said: list[KafkaError] = []
        super().__init__(kafka.librdkafka() | {"error_cb": self._said.append}, logger=logging.getLogger("librdkafka"))

    def topics(self) -> dict[str, Any]:
        """Metadata of all topics that we may see.

        Raises:
            ConfigError: the brokers refuse our login.
            Unavailable: no broker answers, or TLS fails.
        """
        began = time.monotonic()
        while True:
            self._said.clear()
            try:
                return dict(self.list_topics(timeout=_STEP_S).topics)
            except KafkaException as error:
                self.poll(0)
                self._explain()
                waited = time.monotonic() - began
                if waited >= _SOON_S and "SSL" not in self._kafka.security_protocol and speaks_tls(self._kafka):
                    raise Unavailable(
                        f"the brokers at {self._kafka.bootstrap} speak TLS. "
                        "Write kafka.security_protocol: SSL, or SASL_SSL"
                    ) from error
                if waited >= _ANSWER_S:
                    last = next((e for e in reversed(self._said) if e.code() != KafkaError._ALL_BROKERS_DOWN), None)
                    said = error.args[0].str() + (f" ({last.str()})" if last is not None else "")
                    raise Unavailable(f"no Kafka broker answers: {masked(said)}") from error
                time.sleep(0.1)

    def is_hidden(self, topic: str) -> bool:
        """Whether a topic is not shown because we have no right to see it: brokers don't say whether it exists."""
        try:
            found = self.list_topics(topic, timeout=_ANSWER_S).topics.get(topic)
        except KafkaException as error:
            raise Unavailable(f"no Kafka broker answers: {error.args[0].str()}") from error
        said = found.error if found is not None else None
        return said is not None and said.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED

    def _explain(self) -> None:
        codes = {error.code(): masked(error.str()) for error in self._said}
        # a refused client certificate is said after the handshake, and then counts as trouble of the transport
        tls = [said for code, said in codes.items() if code == KafkaError._SSL or "tls alert" in said]
        if tls:
            raise Unavailable(why_no_tls(self._kafka) or f"TLS with the brokers fails: {tls[0]}")
        if any("connecting to a PLAINTEXT broker listener?" in said for said in codes.values()):
            raise Unavailable(
                f"the brokers at {self._kafka.bootstrap} don't speak TLS. Check the port, or write "
                "kafka.security_protocol: PLAINTEXT, or SASL_PLAINTEXT"
            )
        if KafkaError._AUTHENTICATION in codes or KafkaError.SASL_AUTHENTICATION_FAILED in codes:
            raise _refused(self._kafka, next(codes[c] for c in codes if c in _LOGIN))


def _who(kafka: KafkaConfig) -> str:
    return kafka.username or (kafka.oauth.client_id if kafka.oauth is not None else "") or "driftbus"


_LOGIN = (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED)


def _refused(kafka: KafkaConfig, said: str) -> ConfigError:
    if "mechanism" in said.lower() and "unsupported" in said.lower():
        return ConfigError(
            f"the brokers don't know {kafka.sasl_mechanism}: {said}",
            key="kafka.sasl_mechanism",
            fix="Write one that they name",
        )
    if kafka.sasl_mechanism == "OAUTHBEARER":
        return ConfigError(
            f"the brokers refuse the token: {said}",
            key="kafka.oauth",
            fix="Compare its audience, issuer and scope with what the brokers expect",
        )
    return ConfigError(
        f"the brokers refuse the login of {kafka.username} by {kafka.sasl_mechanism}: {said}",
        key="kafka.username",
        fix="Check the name and the password: kafka.password_file, or DRIFTBUS_KAFKA_PASSWORD",
    )


def topic_partitions(admin: Admin, topic: str, fix: str = "`driftbus topics --create` makes driftbus's own") -> int:
    """How many partitions a topic has.

    Raises:
        ConfigError: it does not exist, or we may not see it.
        Unavailable: no broker answers.
    """
    found = admin.topics().get(topic)
    if found is not None and found.error is None:
        return len(found.partitions)
    if admin.is_hidden(topic):
        raise ConfigError(f"topic {topic} is not there, or this login may not DESCRIBE it", fix=f"{RIGHTS}; {fix}")
    raise ConfigError(f"topic {topic} does not exist", fix=fix)
