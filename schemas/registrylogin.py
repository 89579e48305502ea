"""How requests to a registry prove who asks: a password, a token from a file, or one by OpenID Connect."""

from __future__ import annotations

import logging
from collections.abc import Generator

import httpx

from driftbus.schemas.accessconfig import RegistryConfig
from driftbus.schemas.oauth import TokenSource

LOG = logging.getLogger(__name__)


class Login(httpx.Auth):
    """Puts ``Authorization`` on each request. Secrets in files are read each time: a new one counts at once.

    Args:
        config: the registry's section.
        tokens: where tokens come from; None: from the section's own endpoint, if it has one.
    """

    def __init__(self, config: RegistryConfig, tokens: TokenSource | None = None) -> None:
        self._config = config
        self._tokens = tokens or (TokenSource(config.oauth, "registry.oauth") if config.oauth is not None else None)
        if (config.username or self.key != "registry.username") and not (config.url or "").startswith("https:"):
            LOG.warning("the login at the registry can be read on the network: registry.url has no TLS")

    @property
    def key(self) -> str:
        """The key of the configuration to look at when the registry refuses us."""
        ways = {"oauth": self._tokens, "token": self._config.token or self._config.token_file}
        return "registry." + next((name for name, used in ways.items() if used), "username")

    @property
    def fix(self) -> str:
        """What to do then."""
        return {
            "registry.oauth": "Compare the token's audience, issuer and scope with what it expects",
            "registry.token": "Check registry.token_file, or DRIFTBUS_REGISTRY_TOKEN: until when the token holds",
        }.get(self.key, "Check DRIFTBUS_REGISTRY_PASSWORD, or registry.password_file, and the user's rights")

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """The request with a login; once more with a new token when the registry no longer takes the old one."""
        if self._tokens is None:
            if (header := self._header()) is not None:
                request.headers["Authorization"] = header
            yield request
            return
        token = self._tokens.token().value
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code == 401:
            request.headers["Authorization"] = f"Bearer {self._tokens.token(refused=token).value}"
            yield request

    def _header(self) -> str | None:
        if (token := self._config.secret("token")) is not None:
            return f"Bearer {token}"
        if self._config.username is None:
            return None
        basic = httpx.BasicAuth(self._config.username, self._config.secret("password") or "")
        return str(next(basic.auth_flow(httpx.Request("GET", "http://x"))).headers["Authorization"])
