"""A Kafka that nobody enters without TLS, a user and a right."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from confluent_kafka.admin._acl import AclBinding, AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from harness.broker import Broker
from harness.process import free_ports

USER, PASSWORD = "alice", "alice-secret"


class SecureBroker(Broker):
    """A broker with a second listener: SASL_SSL, SCRAM-SHA-512, and ACLs that deny by default.

    The plain listener stays, for the harness, whose anonymous user may do everything.
    """

    def __init__(self) -> None:
        self._keys = Path(tempfile.mkdtemp(prefix="driftbus-keys-"))
        _certificates(self._keys)
        plain, controller, (self._secure_port,) = *free_ports(2), free_ports(1)
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        super().__init__(
            {
                "listeners": (
                    f"PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller},"
                    f"SASL_SSL://127.0.0.1:{self._secure_port}"
                ),
                "controller.quorum.voters": f"1@127.0.0.1:{controller}",
                "listener.security.protocol.map": ("CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL"),
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": self._keys / "broker.pem",
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": self.ca,
                "sasl.enabled.mechanisms": "SCRAM-SHA-512",
                "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": scram,
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",
                "allow.everyone.if.no.acl.found": "false",
            },
            users={USER: PASSWORD},
        )
        self._port = plain

    @property
    def ca(self) -> Path:
        """Certificate of the authority that signed the broker's."""
        return self._keys / "ca.pem"

    @property
    def section(self) -> dict[str, Any]:
        """The kafka section of driftbus.yaml for the secured listener, without the password."""
        return {
            "bootstrap": f"127.0.0.1:{self._secure_port}",
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "SCRAM-SHA-512",
            "username": USER,
            "ca": str(self.ca),
        }

    def allow(self, rights: Iterable[tuple[str, str, str]]) -> None:
        """Give the user rights: ("topic" or "group", its name, the operation as Kafka spells it, in capitals)."""
        bindings = [
            AclBinding(
                ResourceType[resource.upper()], name, ResourcePatternType.LITERAL, f"User:{USER}", "*",
                AclOperation[operation], AclPermissionType.ALLOW,
            )
            for resource, name, operation in rights
        ]  # fmt: skip
        for future in self.admin.create_acls(bindings).values():
            future.result(15)

    def forbid(self, name: str | None = None) -> None:
        """Take rights away again: on all resources of a name, or on everything."""
        what: list[Any] = [ResourceType.ANY, name, ResourcePatternType.ANY]  # None stands for any
        whose: list[Any] = [None, None, AclOperation.ANY, AclPermissionType.ANY]
        every = AclBindingFilter(*what, *whose)
        for future in self.admin.delete_acls([every]).values():
            future.result(15)


def _certificates(folder: Path) -> None:
    """An authority, and a certificate for 127.0.0.1 signed by it."""
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    name = folder / "names"
    name.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for command in (
        ("req", "-x509", *curve, "-days", "30", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=driftbus-tests"),
        ("req", *curve, "-keyout", "broker.key", "-out", "broker.csr", "-subj", "/CN=localhost"),
        ("x509", "-req", "-in", "broker.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30",
         "-out", "broker.crt", "-extfile", "names"),
    ):  # fmt: skip
        subprocess.run(("openssl", *command), cwd=folder, check=True, capture_output=True)
    parts = [(folder / part).read_text() for part in ("broker.key", "broker.crt", "ca.pem")]
    (folder / "broker.pem").write_text("".join(parts))
