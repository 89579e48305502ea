"""Tokens by OpenID Connect's client credentials, for brokers (OAUTHBEARER) and registry alike."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from pydantic import Field, SecretStr, field_validator

from driftbus.schemas.errors import ConfigError, Unavailable
from driftbus.schemas.secrets import WithSecrets, masked, remember
from driftbus.schemas.tls import client_context, tls_trouble

LOG = logging.getLogger(__name__)

_TIMEOUT_S = 10.0
_LIFETIME_S = 300.0
"""Of a token whose endpoint does not say how long it holds."""
_RENEW_AT = 0.8
"""Share of its lifetime after which a token is replaced."""


class OAuthConfig(WithSecrets):
    """Client credentials at a token endpoint."""

    token_url: str = Field(description="the token endpoint: https://idp.example/oauth2/token")
    client_id: str
    client_secret: SecretStr | None = Field(
        default=None, description="better: client_secret_file, or DRIFTBUS_KAFKA_OAUTH_CLIENT_SECRET and its like"
    )
    client_secret_file: str | None = Field(default=None, description="path of a file that holds the client secret")
    scope: str | None = None
    parameters: dict[str, str] = Field(
        default_factory=dict, description="further parameters of the request: audience: https://kafka.example"
    )
    extensions: dict[str, str] = Field(default_factory=dict, description="SASL extensions, which some brokers ask for")
    ca: str | None = Field(default=None, description="path of the CA certificate (PEM) of the endpoint")

    @field_validator("token_url")
    @classmethod
    def _address(cls, url: str) -> str:
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            parsed = httpx.URL("")
        if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo:
            raise ValueError("write an address like https://idp.example/oauth2/token, without user or password")
        return url


@dataclass(frozen=True, slots=True)
class Token:
    """A token and until when it holds, in seconds since 1970; `renew_at` is a while before."""

    value: str = field(repr=False)
    expires_at: float
    renew_at: float


class TokenSource:
    """Fetches tokens and keeps the last one while it holds. Safe to use from several threads.

    The client secret's file is read at each fetch, so a new one counts from then on.

    Args:
        config: endpoint and credentials.
        key: dotted path of its section, for errors.
        clock: seconds since 1970.
        transport: how requests travel, None for the network.
    """

    def __init__(
        self,
        config: OAuthConfig,
        key: str,
        *,
        clock: Callable[[], float] = time.time,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._config, self._key, self._clock, self._transport = config, key, clock, transport
        self._lock = threading.Lock()
        self._token: Token | None = None
        if not config.token_url.startswith("https:"):
            LOG.warning("the secret of %s can be read on the network: %s.token_url has no TLS", config.client_id, key)

    def token(self, *, refused: str = "") -> Token:
        """A token that holds.

        Args:
            refused: a token that was not taken; it is not given again.

        Raises:
            ConfigError: the endpoint refuses the client, or is none.
            Unavailable: it can't be reached.
        """
        with self._lock:
            kept = self._token
            if kept is None or self._clock() >= kept.renew_at or kept.value == refused:
                self._token = kept = self._fetch()
            return kept

    def for_librdkafka(self, _config: str) -> tuple[str, float, str, dict[str, str]]:
        """The callback of librdkafka's clients: token, its end, principal, extensions."""
        token = self.token()
        return token.value, token.expires_at, self._config.client_id, dict(self._config.extensions)

    def _fetch(self) -> Token:
        config, asked_at = self._config, self._clock()
        secret = config.secret("client_secret") or ""
        form = {"grant_type": "client_credentials", **({"scope": config.scope} if config.scope else {})}
        try:
            with httpx.Client(
                verify=client_context(config.ca, section=self._key),
                timeout=_TIMEOUT_S,
                transport=self._transport,
            ) as http:
                answer = http.post(
                    config.token_url,
                    data=form | config.parameters,
                    auth=(config.client_id, secret),
                    headers={"Accept": "application/json"},
                )
        except httpx.HTTPError as error:
            trouble = tls_trouble(error, self._key, httpx.URL(config.token_url).host)
            said = trouble or f"{type(error).__name__}: {error}"
            raise Unavailable(f"the token endpoint {config.token_url} can't be reached: {said}") from None
        return self._read(answer, asked_at)

    def _read(self, answer: httpx.Response, asked_at: float) -> Token:
        body = _json(answer)
        if answer.status_code in (400, 401, 403):
            raise ConfigError(
                f"the token endpoint {self._config.token_url} refuses the client {self._config.client_id} "
                f"({answer.status_code}{_said(body)})",
                key=self._key,
                fix="Check client_id, the client secret and the scope",
            )
        if answer.status_code >= 500 or answer.status_code in (408, 429):
            raise Unavailable(f"the token endpoint {self._config.token_url} answers {answer.status_code}{_said(body)}")
        value = body.get("access_token")
        if not answer.is_success or not isinstance(value, str) or not value:
            raise ConfigError(
                f"{self._config.token_url} does not answer like a token endpoint ({answer.status_code})",
                key=f"{self._key}.token_url",
                fix="It is the token_endpoint of /.well-known/openid-configuration",
            )
        lifetime = body.get("expires_in")
        seconds = float(lifetime) if isinstance(lifetime, int | float | str) and _is_number(lifetime) else _LIFETIME_S
        return Token(remember(value), asked_at + seconds, asked_at + seconds * _RENEW_AT)


def _is_number(value: object) -> bool:
    try:
        return 0 < float(value) < float("inf")  # type: ignore[arg-type] # that is the question
    except (TypeError, ValueError):
        return False


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _said(body: dict[str, Any]) -> str:
    words = [body[k] for k in ("error", "error_description") if isinstance(body.get(k), str)]
    return f": {masked(': '.join(words))[:300]}" if words else ""
