"""A real registry that speaks TLS only, and answers nobody without a token: Apicurio with OpenID Connect."""

from __future__ import annotations

import ssl

import httpx

from driftbus.schemas.oauth import OAuthConfig, TokenSource
from harness.idp import AUDIENCE, IdentityProvider
from harness.pki import Authority
from harness.process import free_ports
from harness.registry import Registry


class GuardedRegistry(Registry):
    """One registry process.

    Args:
        authority: signs its certificate.
        idp: whose tokens it takes.
        client, secret: of the harness, to set it up.
    """

    def __init__(self, authority: Authority, idp: IdentityProvider, client: str, secret: str) -> None:
        super().__init__()
        self._authority, self._idp = authority, idp
        (self._secure_port,) = free_ports(1)
        login = OAuthConfig.model_validate(
            {"token_url": idp.token_url, "client_id": client, "client_secret": secret, "ca": idp.ca}
        )
        self._tokens = TokenSource(login, "harness")

    @property
    def url(self) -> str:
        """Base address for Confluent-compatible clients."""
        return f"https://127.0.0.1:{self._secure_port}/apis/ccompat/v7"

    @property
    def _options(self) -> list[str]:
        server = self._authority.issue("registry")
        return [
            f"-Dquarkus.http.ssl-port={self._secure_port}",
            "-Dquarkus.http.insecure-requests=disabled",
            f"-Dquarkus.http.ssl.certificate.files={server.certificate}",
            f"-Dquarkus.http.ssl.certificate.key-files={server.key}",
            "-Dregistry.auth.enabled=true",
            f"-Dquarkus.oidc.auth-server-url={self._idp.issuer}",
            "-Dquarkus.oidc.tls.verification=none",  # between the two services, which is not what is tested
            "-Dquarkus.oidc.client-id=registry",
            f"-Dquarkus.oidc.token.audience={AUDIENCE}",
        ]

    def _client(self) -> httpx.Client:
        header = {"Authorization": f"Bearer {self._tokens.token().value}"}
        verify = ssl.create_default_context(cafile=self._authority.certificate)
        return httpx.Client(verify=verify, headers=header, timeout=15)
