"""Sections of driftbus.yaml on how to reach brokers and registry, and on who may ask the worker."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import unquote

from pydantic import Field, PrivateAttr, SecretStr, field_validator, model_validator

from driftbus.schemas.configtypes import DurationMs
from driftbus.schemas.oauth import OAuthConfig, TokenSource
from driftbus.schemas.secrets import WithSecrets, is_secret_option, remember

_REFUSED_OPTIONS = {
    "enable.ssl.certificate.verification": "give the CA that signed the brokers' certificates as ca under kafka",
    "ssl.endpoint.identification.algorithm": "write verify_hostname: false under kafka",
}


class KafkaConfig(WithSecrets):
    """How to reach the brokers."""

    bootstrap: str = Field(description="host:port, several separated by commas")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = None
    username: str | None = None
    password: SecretStr | None = Field(
        default=None, description="better: password_file, or the environment variable DRIFTBUS_KAFKA_PASSWORD"
    )
    password_file: str | None = Field(default=None, description="path of a file that holds the password")
    oauth: OAuthConfig | None = Field(default=None, description="OpenID Connect, for OAUTHBEARER")
    ca: str | None = Field(default=None, description="path of the CA certificate (PEM)")
    certificate: str | None = Field(default=None, description="path of the client certificate (PEM)")
    key: str | None = Field(default=None, description="path of the client key (PEM)")
    key_password: SecretStr | None = Field(
        default=None, description="of an encrypted key; better: key_password_file, or DRIFTBUS_KAFKA_KEY_PASSWORD"
    )
    key_password_file: str | None = Field(default=None, description="path of a file that holds the key's password")
    verify_hostname: bool = Field(
        default=True, description="false: any certificate that the CA signed is a broker's; warned of at every start"
    )
    group_protocol: Literal["classic", "consumer"] = Field(
        default="classic", description="consumer: KIP-848, Kafka 4.0 and newer"
    )
    instance_id: str | None = Field(default=None, description="static membership: a restart leaves the peers untouched")
    session_timeout: DurationMs = 10_000
    options: dict[str, Any] = Field(default_factory=dict, description="any other librdkafka property")

    _tokens: TokenSource | None = PrivateAttr(default=None)

    @field_validator("options")
    @classmethod
    def _guarded(cls, options: dict[str, Any]) -> dict[str, Any]:
        for name, instead in _REFUSED_OPTIONS.items():
            if name in options:
                raise ValueError(f"{name} is not set here: {instead}")
        return {k: SecretStr(str(v)) if is_secret_option(k) and v is not None else v for k, v in options.items()}

    @model_validator(mode="after")
    def _fits(self) -> KafkaConfig:
        if self.sasl_mechanism and not self.security_protocol.startswith("SASL"):
            raise ValueError(
                f"sasl_mechanism needs security_protocol: SASL_SSL, or SASL_PLAINTEXT; it is {self.security_protocol}"
            )
        if (
            self.security_protocol.startswith("SASL")
            and not self.sasl_mechanism
            and not {"sasl.mechanism", "sasl.mechanisms"} & self.options.keys()
        ):
            raise ValueError(f"security_protocol: {self.security_protocol} needs a sasl_mechanism")
        if self.oauth is not None and self.sasl_mechanism != "OAUTHBEARER":
            raise ValueError("oauth is for sasl_mechanism: OAUTHBEARER")
        own = any(name.startswith("sasl.oauthbearer.") for name in self.options)
        if self.sasl_mechanism == "OAUTHBEARER" and self.oauth is None and not own:
            raise ValueError("sasl_mechanism: OAUTHBEARER needs oauth: where tokens come from")
        if self.certificate is not None and self.key is None and "ssl.key.pem" not in self.options:
            raise ValueError("certificate needs its key: write key: PATH")
        return self

    def librdkafka(self) -> dict[str, Any]:
        """The properties that every librdkafka client needs to connect, with secrets as they are now.

        Raises:
            ConfigError: the file of a secret can't be read.
        """
        pairs = {
            "bootstrap.servers": self.bootstrap,
            "security.protocol": None if self.security_protocol == "PLAINTEXT" else self.security_protocol,
            "sasl.mechanism": self.sasl_mechanism,
            "sasl.username": self.username,
            "sasl.password": self.secret("password"),
            "ssl.ca.location": self.ca,
            "ssl.certificate.location": self.certificate,
            "ssl.key.location": self.key,
            "ssl.key.password": self.secret("key_password"),
            "ssl.endpoint.identification.algorithm": None if self.verify_hostname else "none",
            "oauth_cb": self.tokens.for_librdkafka if self.tokens is not None else None,
        }
        shown = {k: remember(v.get_secret_value()) if isinstance(v, SecretStr) else v for k, v in self.options.items()}
        return {k: v for k, v in pairs.items() if v is not None} | shown

    @property
    def tokens(self) -> TokenSource | None:
        """Where tokens for OAUTHBEARER come from: one source for all clients of this configuration."""
        if self.oauth is not None and self._tokens is None:
            self._tokens = TokenSource(self.oauth, "kafka.oauth")
        return self._tokens


class RegistryConfig(WithSecrets):
    """Where writer schemas come from: a Confluent-compatible registry, or .avsc files."""

    url: str | None = None
    username: str | None = None
    password: SecretStr | None = Field(
        default=None, description="better: password_file, or the environment variable DRIFTBUS_REGISTRY_PASSWORD"
    )
    password_file: str | None = Field(default=None, description="path of a file that holds the password")
    token: SecretStr | None = Field(
        default=None, description="bearer token; better: token_file, or DRIFTBUS_REGISTRY_TOKEN"
    )
    token_file: str | None = Field(default=None, description="path of a file that holds the token")
    oauth: OAuthConfig | None = Field(default=None, description="bearer tokens by OpenID Connect")
    ca: str | None = Field(default=None, description="path of the CA certificate (PEM)")
    certificate: str | None = Field(default=None, description="path of the client certificate (PEM)")
    key: str | None = Field(default=None, description="path of the client key (PEM)")
    key_password: SecretStr | None = Field(
        default=None, description="of an encrypted key; better: key_password_file, or DRIFTBUS_REGISTRY_KEY_PASSWORD"
    )
    key_password_file: str | None = Field(default=None, description="path of a file that holds the key's password")
    timeout: DurationMs = 5_000

    @model_validator(mode="before")
    @classmethod
    def _login_apart(cls, values: Any) -> Any:
        """user:password@ of an address become keys of their own, so that the address can be shown."""
        if not isinstance(values, dict) or not isinstance(values.get("url"), str):
            return values
        head, at, host = values["url"].rpartition("@")
        scheme, slashes, login = head.partition("://")
        if not at or not slashes or "/" in login:
            return values
        user, _, password = login.partition(":")
        own = {"username": unquote(user), "password": unquote(password) or None}
        taken = {"password", "password_file"} & {k for k, v in values.items() if v is not None}
        kept = {k: v for k, v in values.items() if v is not None}
        return (
            {k: v for k, v in own.items() if v and not (k == "password" and taken)}
            | kept
            | {"url": f"{scheme}://{host}"}
        )

    @model_validator(mode="after")
    def _one_login(self) -> RegistryConfig:
        ways = {
            "username": self.username is not None,
            "token": self.token is not None or self.token_file is not None,
            "oauth": self.oauth is not None,
        }
        if sum(ways.values()) > 1:
            raise ValueError(f"write one of {' and '.join(name for name, used in ways.items() if used)}")
        if self.certificate is not None and self.key is None:
            raise ValueError("certificate needs its key: write key: PATH")
        return self


class WebConfig(WithSecrets):
    """Who may ask the worker for metrics and health, and how."""

    certificate: str | None = Field(default=None, description="path of the server's certificate (PEM): HTTPS")
    key: str | None = Field(default=None, description="path of its key (PEM)")
    key_password: SecretStr | None = Field(
        default=None, description="of an encrypted key; better: key_password_file, or DRIFTBUS_WEB_KEY_PASSWORD"
    )
    key_password_file: str | None = Field(default=None, description="path of a file that holds the key's password")
    client_ca: str | None = Field(
        default=None, description="path of a CA (PEM): only clients with a certificate of it may ask"
    )
    username: str | None = Field(default=None, description="basic authentication")
    password: SecretStr | None = Field(default=None, description="better: password_file, or DRIFTBUS_WEB_PASSWORD")
    password_file: str | None = Field(default=None, description="path of a file that holds the password")
    token: SecretStr | None = Field(default=None, description="bearer token; better: token_file, or DRIFTBUS_WEB_TOKEN")
    token_file: str | None = Field(default=None, description="path of a file that holds the token")

    @model_validator(mode="after")
    def _fits(self) -> WebConfig:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: write both")
        if self.client_ca is not None and self.certificate is None:
            raise ValueError("client_ca needs certificate and key of the server")
        secret = self.password is not None or self.password_file is not None
        if (self.username is not None) != secret:
            raise ValueError("username and password belong together: write both")
        return self

    @property
    def guarded(self) -> bool:
        """Whether a caller has to prove who they are."""
        return any((self.client_ca, self.username, self.token, self.token_file))
