"""TLS of our own connections (registry, token endpoint, metrics), and what is said when it fails: what, and the fix."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from pathlib import Path

import httpx

from driftbus.schemas.errors import ConfigError

_WITHOUT_OURS = "{whom} asks for a client certificate", "Write {section}.certificate and {section}.key"
_KINDS = tuple(
    (re.compile(pattern, re.IGNORECASE), message, fix)
    for pattern, message, fix in (
        (r"certificate.has.expired", "the certificate of {whom} has expired", "Renew it there"),
        (r"not yet valid", "the certificate of {whom} is not valid yet", "Compare the clocks of both machines"),
        (
            r"(hostname|ip address) mismatch",
            "the certificate of {whom} is for another name",
            "Use a name that stands in the certificate, or have one made for this name",
        ),
        (r"alert certificate required|peer did not return a certificate", *_WITHOUT_OURS),
        (
            r"alert (bad certificate|unknown ca|certificate (unknown|expired|revoked)|access denied|handshake failure)",
            "{whom} does not accept our client certificate",
            "Check {section}.certificate: who signed it, until when it is valid",
        ),
        (
            r"certificate verify failed|unable to get (local )?issuer|self.signed certificate",
            "the certificate of {whom} is not signed by a CA that is trusted here",
            "Write the path of the CA that signed it as {section}.ca",
        ),
        (
            r"wrong.version.number|record layer failure|http request|packet length too long",
            "{whom} does not speak TLS on this port",
            "Check the port and whether TLS is meant",
        ),
    )
)


@dataclass(frozen=True, slots=True)
class TlsTrouble:
    """Why TLS failed, and what to do."""

    message: str
    fix: str

    def __str__(self) -> str:
        return f"{self.message}. {self.fix}"


def tls_trouble(error: BaseException, section: str, whom: str, *, ours: bool = True) -> TlsTrouble | None:
    """What an error of a connection says about TLS; None when it is about something else.

    Args:
        error: as it was raised; what caused it is looked at, too.
        section: dotted path of the section that has ``ca``, ``certificate`` and ``key``.
        whom: host, or host:port, that was spoken to.
        ours: whether we showed a certificate; some servers say of none what others say of a bad one.
    """
    step: BaseException | None = error
    while step is not None:
        if isinstance(step, ssl.SSLError) or "SSL" in str(step):
            text = str(step).replace("_", " ")
            for pattern, message, fix in _KINDS:
                if pattern.search(text):
                    if not ours and "our client certificate" in message:
                        message, fix = _WITHOUT_OURS
                    return TlsTrouble(message.format(whom=whom), fix.format(section=section))
        step = step.__cause__ or step.__context__
    return None


def client_context(
    ca: str | None,
    certificate: str | None = None,
    key: str | None = None,
    key_password: str | None = None,
    *,
    section: str,
) -> ssl.SSLContext:
    """A context that verifies the other side's certificate and name, with our certificate if there is one.

    Args:
        ca: path of the CA (PEM); None: those that the package certifi has, or SSL_CERT_FILE names.
        certificate, key, key_password: ours, for mutual TLS.
        section: dotted path of the section of the configuration, for errors.

    Raises:
        ConfigError: a file can't be read or is not what it should be.
    """
    if ca is None:
        context = httpx.create_ssl_context()
    else:
        _readable(ca, f"{section}.ca")
        try:
            context = ssl.create_default_context(cafile=ca)
        except ssl.SSLError:
            raise ConfigError(f"{ca} holds no certificate (PEM)", key=f"{section}.ca") from None
    if certificate is not None:
        load_chain(context, certificate, key, key_password, section=section)
    return context


def load_chain(
    context: ssl.SSLContext, certificate: str, key: str | None, key_password: str | None, *, section: str
) -> None:
    """Put our certificate and its key into a context; raises ConfigError that names which of the two is wrong."""
    for path, name in ((certificate, "certificate"), (key, "key")):
        if path is not None:
            _readable(path, f"{section}.{name}")
    try:
        # an empty password instead of None: OpenSSL would ask at the terminal
        context.load_cert_chain(certificate, key, password=key_password or "")
    except ssl.SSLError as error:
        said = str(error)
        if "KEY_VALUES_MISMATCH" in said:
            raise ConfigError(
                f"{key} is not the key of {certificate}", key=f"{section}.key", fix="Give the key that belongs to it"
            ) from None
        raise ConfigError(
            f"{certificate} and {key} can't be used: they are not PEM, or the key is encrypted and its password wrong",
            key=f"{section}.key",
            fix=f"Check {section}.key_password, or where it comes from",
        ) from None
    except ValueError:
        raise ConfigError("the key's password is too long", key=f"{section}.key_password") from None


def _readable(path: str, key: str) -> None:
    try:
        Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"can't read {path}: {error.strerror}", key=key) from None
