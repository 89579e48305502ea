"""How requests to a registry prove who asks: a password, a token from a file, or one by OpenID Connect."""

from __future__ import annotations

from collections.abc import Generator

import httpx

from driftbus.schemas.accessconfig import RegistryConfig
from driftbus.schemas.oauth import TokenSource


class Login(httpx.Auth):
    """Puts ``Authorization`` on each request. Secrets in files are read each time: a new one counts at once.

    Args:
        config: the registry's section.
        tokens: where tokens come from; None: from the section's own endpoint, if it has one.
    """

    def __init__(self, config: RegistryConfig, tokens: TokenSource | None = None) -> None:
        self._config = config
        self._tokens = tokens or (TokenSource(config.oauth, "registry.oauth") if config.oauth is not None else None)

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
