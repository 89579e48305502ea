"""Tokens by client credentials, from a real OpenID provider."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from driftbus.schemas.errors import ConfigError, Unavailable
from driftbus.schemas.oauth import OAuthConfig, TokenSource
from harness.idp import IdentityProvider
from harness.missing import running
from harness.pki import Authority

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def idp() -> Iterator[IdentityProvider]:
    with running(lambda: IdentityProvider(Authority(), {"ana": "ana-secret"})) as server:
        yield server


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def config(idp: IdentityProvider, **more: Any) -> OAuthConfig:
    values = {"token_url": idp.token_url, "client_id": "ana", "client_secret": "ana-secret", "ca": idp.ca}
    return OAuthConfig.model_validate(values | more)


def test_a_token_is_kept_while_it_holds(idp: IdentityProvider) -> None:
    clock = Clock()
    source = TokenSource(config(idp, scope="kafka"), "kafka.oauth", clock=clock)
    first = source.token()
    assert first.expires_at == clock.now + 60.0
    assert source.token() is first
    assert first.value not in repr(first)
    assert source.token(refused=first.value).value != first.value
    second = source.token()
    clock.now += 50.0
    assert source.token().value != second.value, "a token is replaced before it ends"
    assert source.for_librdkafka("")[1:] == (clock.now + 60.0, "ana", {})


def test_a_new_secret_in_its_file_counts_for_the_next_token(idp: IdentityProvider, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("ana-secret\n")
    source = TokenSource(config(idp, client_secret=None, client_secret_file=str(file)), "kafka.oauth")
    old = source.token().value
    try:
        idp.know({"ana": "another-one"})
        with pytest.raises(ConfigError, match=r"kafka.oauth: .* refuses the client ana \(401"):
            source.token(refused=old)
        file.write_text("another-one\n")
        assert source.token(refused=old).value != old
    finally:
        idp.know({"ana": "ana-secret"})


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"client_secret": "not-it-at-all"}, ConfigError, "kafka.oauth: .*401: invalid_client"),
        ({"client_id": "bob"}, ConfigError, "refuses the client bob"),
        ({"ca": None}, Unavailable, "Write the path of the CA that signed it as kafka.oauth.ca"),
        ({"token_url": "/jwks"}, ConfigError, "kafka.oauth.token_url: .*does not answer like a token endpoint"),
        ({"token_url": "https://127.0.0.1:1/token"}, Unavailable, "can't be reached: ConnectError"),
    ],
)
def test_what_goes_wrong_is_named(
    idp: IdentityProvider, change: dict[str, str], kind: type[Exception], said: str
) -> None:
    if change.get("token_url") == "/jwks":
        change = {"token_url": f"{idp.issuer}/jwks"}
    with pytest.raises(kind, match=said) as e:
        TokenSource(config(idp, **change), "kafka.oauth").token()
    assert "not-it-at-all" not in str(e.value)


@pytest.mark.parametrize("url", ["idp.example/token", "ftp://idp.example", "https://ana:secret@idp.example/token", ""])
def test_what_is_no_endpoint(url: str) -> None:
    with pytest.raises(ValueError, match="without user or password") as e:
        OAuthConfig(token_url=url, client_id="ana")
    assert "ana:secret" not in str(e.value)
