"""Every way in works on a real broker; what can't work is refused with what to do, and not tried for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from harness.idp import IdentityProvider
from harness.missing import running
from harness.pki import Authority
from harness.secure import PASSWORD, USER, SecureBroker

from .access import CLIENT, SECRET, Shell, document
from .access import shell as shell

pytestmark = pytest.mark.kafka

Section = dict[str, Any]
OTHER, OTHER_PASSWORD = "bert", "bert-secret"


@pytest.fixture(scope="module")
def idp() -> Iterator[IdentityProvider]:
    with running(lambda: IdentityProvider(Authority("tokens"), {CLIENT: SECRET})) as server:
        yield server


@pytest.fixture(scope="module")
def broker(idp: IdentityProvider) -> Iterator[SecureBroker]:
    with running(lambda: SecureBroker(idp)) as server:
        server.set_password(OTHER_PASSWORD, OTHER, "SCRAM-SHA-256")
        yield server


@pytest.fixture(scope="module")
def app(broker: SecureBroker) -> str:
    """A deployment whose topics all three users may see."""
    name = f"app-{uuid4().hex[:8]}"
    broker.create_topic(f"{name}.source", unique=False)
    seen = [*document({}, name, "")["topics"].values(), f"{name}.source"]
    for user in (USER, OTHER, CLIENT):
        broker.allow([("topic", topic, right) for topic in seen for right in ("DESCRIBE", "CREATE")], user)
    return name


def with_secret(section: Section, secret: str) -> Section:
    return section | {"oauth": section["oauth"] | {"client_secret": secret}}


def encrypted(broker: SecureBroker, password: str | None) -> Section:
    section = broker.mutual(broker.authority.issue(USER, password="of-the-key"))
    return section if password is None else section | {"key_password": password}


WAYS: dict[str, Callable[[SecureBroker], Section]] = {
    "scram-sha-512": lambda b: b.section | {"password": PASSWORD},
    "scram-sha-256": lambda b: (
        b.section | {"sasl_mechanism": "SCRAM-SHA-256", "username": OTHER, "password": OTHER_PASSWORD}
    ),
    "plain": lambda b: b.section | {"sasl_mechanism": "PLAIN", "password": PASSWORD},
    "mutual tls": lambda b: b.mutual(b.authority.issue(USER)),
    "mutual tls, encrypted key": lambda b: encrypted(b, "of-the-key"),
    "oauthbearer": lambda b: with_secret(b.oauth(CLIENT), SECRET),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_way_in(broker: SecureBroker, app: str, shell: Shell, way: str) -> None:
    said = shell(document(WAYS[way](broker), app, f"{app}.source"), "topics", "--create")
    assert said.code == 0, said.text
    assert "✓" in said.text


Refusal = tuple[Callable[[SecureBroker], Section], int, str]
REFUSED: dict[str, Refusal] = {
    "a wrong password": (
        lambda b: b.section | {"password": "not-it-at-all"},
        2,
        "kafka.username: the brokers refuse the login of alice by SCRAM-SHA-512",
    ),
    "a wrong client secret": (
        lambda b: with_secret(b.oauth(CLIENT), "not-it-at-all"),
        2,
        "kafka.oauth: the token endpoint https://127.0.0.1:",
    ),
    "a token endpoint whose CA is unknown": (
        lambda b: (s := with_secret(b.oauth(CLIENT), SECRET)) | {"oauth": s["oauth"] | {"ca": b.ca}},
        3,
        "Write the path of the CA that signed it as kafka.oauth.ca",
    ),
    "a mechanism that the broker does not know": (
        lambda b: b.at("OAUTH", sasl_mechanism="PLAIN", username=USER, password=PASSWORD),
        2,
        "kafka.sasl_mechanism: the brokers don't know PLAIN",
    ),
    "another CA": (
        lambda b: b.section | {"password": PASSWORD, "ca": str(Authority("other").certificate)},
        3,
        "is not signed by a CA that is trusted here. Write the path of the CA that signed it as kafka.ca",
    ),
    "no CA": (
        lambda b: b.section | {"password": PASSWORD, "ca": None},
        3,
        "is not signed by a CA that is trusted here",
    ),
    "a certificate that has expired": (lambda b: b.at("EXPIRED"), 3, "has expired. Renew it there"),
    "a certificate for another host": (lambda b: b.at("ELSEWHERE"), 3, "is for another name. Use a name that"),
    "no client certificate": (
        lambda b: b.at("MTLS"),
        3,
        "asks for a client certificate. Write kafka.certificate and kafka.key",
    ),
    "a client certificate of another CA": (
        lambda b: b.mutual(Authority("other").issue(USER)),
        3,
        "does not accept our client certificate. Check kafka.certificate",
    ),
    "a client certificate that has expired": (
        lambda b: b.mutual(b.authority.issue(USER, days=(-9, -2))),
        3,
        "does not accept our client certificate",
    ),
    "an encrypted key without its password": (lambda b: encrypted(b, None), 2, "Check kafka.key_password"),
    "an encrypted key and a wrong password": (lambda b: encrypted(b, "not-it-at-all"), 2, "Check kafka.key_password"),
    "another certificate's key": (
        lambda b: b.mutual(b.authority.issue(USER)) | {"key": str(b.authority.issue(USER).key)},
        2,
        "is not the key of",
    ),
    "no TLS where there is TLS": (
        lambda b: {"bootstrap": b.at("MTLS")["bootstrap"]},
        3,
        "speak TLS. Write kafka.security_protocol: SSL, or SASL_SSL",
    ),
    "tokens from nowhere": (
        lambda b: b.at("OAUTH", sasl_mechanism="OAUTHBEARER"),
        2,
        "OAUTHBEARER needs oauth: where tokens come from",
    ),
    "TLS where there is none": (lambda b: b.at("MTLS", bootstrap=b.bootstrap), 3, "don't speak TLS. Check the port"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_can_not_work_is_refused_with_the_fix(broker: SecureBroker, app: str, shell: Shell, what: str) -> None:
    section, code, told = REFUSED[what]
    said = shell(document(section(broker), app, f"{app}.source"), "topics")
    assert (said.code, told in said.text) == (code, True), said.text
    assert "not-it-at-all" not in said.text


def test_names_are_verified_unless_it_is_said_aloud(
    broker: SecureBroker, app: str, shell: Shell, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"ssl.endpoint.identification.algorithm": "none", "enable.ssl.certificate.verification": False}
    for name, value in options.items():
        refused = shell(document(broker.at("ELSEWHERE", options={name: value}), app, f"{app}.source"), "topics")
        assert refused.code == 2
        assert f"{name} is not set here" in refused.text
    wanted = document(broker.at("ELSEWHERE", verify_hostname=False), app, f"{app}.source")
    assert shell(wanted, "topics").code == 0
    assert "kafka.verify_hostname is false" in caplog.text


def test_a_new_password_in_its_file_counts_at_the_next_connect(
    broker: SecureBroker, app: str, shell: Shell, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    wanted = document(broker.section | {"password_file": str(file)}, app, f"{app}.source")
    try:
        file.write_text(f"{PASSWORD}\n")
        assert shell(wanted, "topics").code == 0
        broker.set_password("another-one")
        assert shell(wanted, "topics").code == 2
        file.write_text("another-one\n")
        assert shell(wanted, "topics").code == 0
    finally:
        broker.set_password(PASSWORD)
