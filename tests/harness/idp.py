"""A real OpenID provider: oidc-provider on Node.js."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import httpx
from joserfc.jwk import RSAKey

from harness.node import Node
from harness.pki import Authority
from harness.process import Child, accepts, free_ports

AUDIENCE = "driftbus-tests"


class IdentityProvider:
    """Gives tokens to clients that know their secrets.

    Args:
        authority: signs its certificate.
        clients: id → secret.
        ttl_s: how long tokens hold.
    """

    def __init__(self, authority: Authority, clients: dict[str, str], ttl_s: int = 60) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="driftbus-idp-"))
        self._authority, self._node = authority, Node()
        self._https, self._http = free_ports(2)
        self._ttl_s = ttl_s
        self._clients = self._home / "clients.json"
        self.know(clients)
        jwk = RSAKey.generate_key(2048, {"alg": "RS256", "use": "sig", "kid": "tests"})
        (self._home / "jwk.json").write_text(json.dumps(jwk.as_dict(private=True)))
        self._child: Child | None = None

    @property
    def issuer(self) -> str:
        """What stands in its tokens as ``iss``."""
        return f"https://127.0.0.1:{self._https}"

    @property
    def ca(self) -> str:
        """Path of the certificate of the authority that signed its own."""
        return str(self._authority.certificate)

    @property
    def token_url(self) -> str:
        return f"{self.issuer}/token"

    @property
    def jwks_url(self) -> str:
        """Its public keys, without TLS: the brokers' JVM knows no CA of tests."""
        return f"http://127.0.0.1:{self._http}/jwks"

    def know(self, clients: dict[str, str]) -> None:
        """Other clients and secrets, from now on."""
        self._clients.write_text(json.dumps(clients))

    def start(self) -> None:
        """Returns when it answers."""
        server = self._authority.issue("idp")
        arguments = (self._https, self._http, server.key, server.certificate, self._clients)
        self._child = Child(
            self._node.command("idp.mjs", *map(str, arguments)),
            self._home / "log",
            environment=self._node.environment | {"IDP_JWK": str(self._home / "jwk.json"), "IDP_TTL": str(self._ttl_s)},
        )
        self._child.wait_until(self._answers, 60.0, "the OpenID provider")

    def close(self) -> None:
        """Stop it."""
        if self._child is not None:
            self._child.kill()

    def _answers(self) -> bool:
        return accepts(self._https) and httpx.get(self.jwks_url, timeout=5).is_success
