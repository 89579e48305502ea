"""The ways into a registry: TLS, mutual TLS, a password; real nginx in front of a real registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from driftbus.schemas.config import RegistryConfig
from driftbus.schemas.errors import ConfigError, Unavailable
from driftbus.schemas.registry import Registry
from harness.missing import running
from harness.nginx import Front
from harness.pki import Authority
from harness.registry import Registry as Server

pytestmark = pytest.mark.registry

USER, PASSWORD = "ana", "ana-secret"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def front(registry: Server, authority: Authority) -> Iterator[Front]:
    behind = urlsplit(registry.url)
    with running(lambda: Front(authority, f"http://{behind.netloc}", {USER: PASSWORD})) as server:
        yield server


def client(front: Front, authority: Authority, name: str, **config: Any) -> Registry:
    values = {"url": f"{front.url(name)}/apis/ccompat/v7", "ca": str(authority.certificate)}
    return Registry(RegistryConfig.model_validate(values | config))


def test_a_password(front: Front, authority: Authority, tmp_path: Path) -> None:
    assert client(front, authority, "basic", username=USER, password=PASSWORD).subjects() is not None
    inside = front.url("basic").replace("//", f"//{USER}:{PASSWORD}@")
    assert client(front, authority, "basic", url=f"{inside}/apis/ccompat/v7").subjects() is not None
    file = tmp_path / "password"
    file.write_text("not-it-at-all\n")
    from_file = client(front, authority, "basic", username=USER, password_file=str(file))
    with pytest.raises(ConfigError, match=r"registry.username: .*refuses the credentials \(401\)") as refused:
        from_file.subjects()
    assert "not-it-at-all" not in str(refused.value)
    file.write_text(f"{PASSWORD}\n")
    assert from_file.subjects() is not None, "a new password counts at the next request"


def test_a_client_certificate(front: Front, authority: Authority) -> None:
    ours = authority.issue("client", password="of-the-key")
    paths = {"certificate": str(ours.certificate), "key": str(ours.key)}
    assert client(front, authority, "mutual", **paths, key_password="of-the-key").subjects() is not None
    with pytest.raises(ConfigError, match=r"registry.key: .*Check registry.key_password"):
        client(front, authority, "mutual", **paths, key_password="not-it-at-all")
    with pytest.raises(ConfigError, match="400"):
        client(front, authority, "mutual").subjects()


@pytest.mark.parametrize(
    ("name", "config", "said"),
    [
        ("basic", {"ca": None}, r"not signed by a CA that is trusted here. Write .* as registry.ca"),
        ("expired", {}, r"has expired. Renew it there"),
        ("elsewhere", {}, r"is for another name. Use a name that stands in the certificate"),
    ],
)
def test_a_bad_certificate_is_named_at_once(
    front: Front, authority: Authority, name: str, config: dict[str, Any], said: str
) -> None:
    with pytest.raises(Unavailable, match=said):
        client(front, authority, name, **config).subjects()


def test_one_login_at_a_time() -> None:
    for ways in ({"username": USER, "token": "x"}, {"token": "x", "token_file": "y"}):
        with pytest.raises(ValueError, match="write one of"):
            RegistryConfig.model_validate({"url": "http://registry"} | ways)


def test_a_login_in_the_address_is_no_part_of_it() -> None:
    config = RegistryConfig(url="https://ana:p%40ss@registry:8081/x")
    assert (config.url, config.username, config.secret("password")) == ("https://registry:8081/x", "ana", "p@ss")
    assert "p%40ss" not in repr(config) + config.model_dump_json()
    assert RegistryConfig(url="https://ana@registry", password_file="/run/secret").username == "ana"


@pytest.mark.parametrize(
    ("login", "warned"), [({}, False), ({"username": "ana", "password": "x"}, True), ({"token": "x"}, True)]
)
def test_a_login_without_tls_is_warned_of(
    caplog: pytest.LogCaptureFixture, login: dict[str, str], warned: bool
) -> None:
    Registry(RegistryConfig.model_validate({"url": "http://registry"} | login)).close()
    Registry(RegistryConfig.model_validate({"url": "https://registry"} | login)).close()
    assert caplog.text.count("can be read on the network") == warned
