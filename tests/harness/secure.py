"""A Kafka that nobody enters without TLS, a login and a right."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from confluent_kafka.admin._acl import AclBinding, AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.admin._scram import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from harness.broker import Broker
from harness.idp import AUDIENCE, IdentityProvider
from harness.pki import Authority, Identity
from harness.process import free_ports

USER, PASSWORD = "alice", "alice-secret"

_ANY: Any = None  # confluent-kafka's types know nothing of it, its filters do
_KAFKA = "org.apache.kafka.common.security"
_LISTENERS = {"SASL_SSL": "SASL_SSL", "MTLS": "SSL", "OAUTH": "SASL_SSL", "EXPIRED": "SSL", "ELSEWHERE": "SSL"}
"""Listener → its protocol. The plain one is the harness's, whose anonymous user may do everything."""


class SecureBroker(Broker):
    """A broker whose listeners ask for a login, or show a certificate that is no good; ACLs deny by default.

    Args:
        idp: whose tokens it takes; None: nobody's.
    """

    def __init__(self, idp: IdentityProvider | None = None) -> None:
        self.authority = Authority()
        self._idp = idp
        names = [name for name in _LISTENERS if name != "OAUTH" or idp is not None]
        plain, controller, *ports = free_ports(2 + len(names))
        self._ports = dict(zip(names, ports, strict=True))
        protocols = {"CONTROLLER": "PLAINTEXT", "PLAINTEXT": "PLAINTEXT"} | {n: _LISTENERS[n] for n in names}
        keys = {
            "": self.authority.issue("broker"),
            "listener.name.expired.": self.authority.issue("broker", days=(-30, -1)),
            "listener.name.elsewhere.": self.authority.issue("broker", hosts=("kafka.example",)),
        }
        settings: dict[str, object] = {
            "listeners": ",".join(
                f"{n}://127.0.0.1:{p}" for n, p in {"PLAINTEXT": plain, "CONTROLLER": controller, **self._ports}.items()
            ),
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
            **{f"{at}ssl.keystore.type": "PEM" for at in keys},
            **{f"{at}ssl.keystore.location": identity.together() for at, identity in keys.items()},
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.ca,
            "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/",
            "listener.name.mtls.ssl.client.auth": "required",
            "listener.name.sasl_ssl.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            "listener.name.sasl_ssl.plain.sasl.jaas.config": (
                f'{_KAFKA}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "allow.everyone.if.no.acl.found": "false",
        }
        for mechanism in ("256", "512"):
            settings[f"listener.name.sasl_ssl.scram-sha-{mechanism}.sasl.jaas.config"] = (
                f"{_KAFKA}.scram.ScramLoginModule required;"
            )
        super().__init__(settings | _oauth(idp), users={USER: PASSWORD}, flags=_flags(idp))
        self._port = plain

    @property
    def ca(self) -> str:
        """Path of the certificate of the authority that signed the broker's."""
        return str(self.authority.certificate)

    @property
    def section(self) -> dict[str, Any]:
        """The kafka section of driftbus.yaml for SCRAM, without the password."""
        return self.at("SASL_SSL", sasl_mechanism="SCRAM-SHA-512", username=USER)

    def at(self, listener: str, **more: Any) -> dict[str, Any]:
        """The kafka section for a listener, with what it needs besides."""
        return {
            "bootstrap": f"127.0.0.1:{self._ports[listener]}",
            "security_protocol": _LISTENERS[listener],
            "ca": self.ca,
            **more,
        }

    def mutual(self, identity: Identity) -> dict[str, Any]:
        """The kafka section for mutual TLS, without the key's password."""
        return self.at("MTLS", certificate=str(identity.certificate), key=str(identity.key))

    def oauth(self, client: str) -> dict[str, Any]:
        """The kafka section for tokens, without the client's secret."""
        assert self._idp is not None
        oauth = {"token_url": self._idp.token_url, "client_id": client, "scope": "kafka", "ca": self._idp.ca}
        return self.at("OAUTH", sasl_mechanism="OAUTHBEARER", oauth=oauth)

    def set_password(self, password: str, user: str = USER, mechanism: str = "SCRAM-SHA-512") -> None:
        """Give a user another password for SCRAM, or their first one; it counts at once."""
        info = ScramCredentialInfo(ScramMechanism[mechanism.replace("-", "_")], 4096)
        change = UserScramCredentialUpsertion(user, info, password.encode())
        for future in self.admin.alter_user_scram_credentials([change]).values():
            future.result(15)

    def allow(self, rights: Iterable[tuple[str, str, str]], user: str = USER) -> None:
        """Give a user rights: ("topic" or "group", its name, the operation as Kafka spells it, in capitals)."""
        for future in self.admin.create_acls([_binding(user, *right) for right in rights]).values():
            future.result(15)

    def take(self, right: tuple[str, str, str], user: str = USER) -> None:
        """Take one right away."""
        kind, name, operation = right
        one = AclBindingFilter(
            ResourceType[kind.upper()], name, ResourcePatternType.LITERAL, f"User:{user}", _ANY,
            AclOperation[operation], AclPermissionType.ALLOW,
        )  # fmt: skip
        self._delete(one)

    def forbid(self, name: str | None = None) -> None:
        """Take rights away again: on all resources of a name, or on everything."""
        named: Any = name
        self._delete(
            AclBindingFilter(
                ResourceType.ANY, named, ResourcePatternType.ANY, _ANY, _ANY, AclOperation.ANY, AclPermissionType.ANY
            )
        )

    def _delete(self, which: AclBindingFilter) -> None:
        for future in self.admin.delete_acls([which]).values():
            future.result(15)


def _binding(user: str, kind: str, name: str, operation: str) -> AclBinding:
    return AclBinding(
        ResourceType[kind.upper()], name, ResourcePatternType.LITERAL, f"User:{user}", "*", AclOperation[operation],
        AclPermissionType.ALLOW,
    )  # fmt: skip


def _oauth(idp: IdentityProvider | None) -> dict[str, object]:
    if idp is None:
        return {}
    at = "listener.name.oauth."
    return {
        f"{at}sasl.enabled.mechanisms": "OAUTHBEARER",
        f"{at}oauthbearer.sasl.jaas.config": f"{_KAFKA}.oauthbearer.OAuthBearerLoginModule required;",
        f"{at}oauthbearer.sasl.server.callback.handler.class": (
            f"{_KAFKA}.oauthbearer.OAuthBearerValidatorCallbackHandler"
        ),
        f"{at}oauthbearer.sasl.oauthbearer.jwks.endpoint.url": idp.jwks_url,
        f"{at}oauthbearer.sasl.oauthbearer.expected.audience": AUDIENCE,
        f"{at}oauthbearer.sasl.oauthbearer.expected.issuer": idp.issuer,
        # a token that ends is asked for again on the open connection
        f"{at}oauthbearer.connections.max.reauth.ms": 3_600_000,
    }


def _flags(idp: IdentityProvider | None) -> tuple[str, ...]:
    return () if idp is None else (f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={idp.jwks_url}",)
