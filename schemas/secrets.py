"""Secrets: written down, or in files that are read when they are needed; and kept out of everything that is shown."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr, model_validator

from driftbus.schemas.configtypes import Model
from driftbus.schemas.errors import ConfigError

MASK = "**********"
_SHORTEST = 4
"""A shorter secret is not looked for in texts: it would be found in every other word."""
_SECRET_OPTION = re.compile(r"password|passphrase|secret|\.pem$|^sasl\.oauthbearer\.config$|jaas|token$", re.IGNORECASE)
"""librdkafka's properties that hold secrets."""

SECRETS = ("password", "key_password", "client_secret", "token")
"""Keys of driftbus.yaml that hold secrets. Each has a twin with ``_file``: the path of a file that holds it."""

_seen: set[str] = set()


class WithSecrets(Model):
    """A section with secrets, each as a value or as the path of a file that holds it."""

    @model_validator(mode="after")
    def _one_of_both(self) -> WithSecrets:
        for name in SECRETS:
            if getattr(self, name, None) is not None and getattr(self, f"{name}_file", None) is not None:
                raise ValueError(f"write one of {name} and {name}_file")
        return self

    def secret(self, name: str) -> str | None:
        """A secret as it is now: its file is read each time, so that a new one counts from the next connect on.

        Raises:
            ConfigError: its file can't be read, or is empty.
        """
        value, path = getattr(self, name, None), getattr(self, f"{name}_file", None)
        if isinstance(value, SecretStr):
            return remember(value.get_secret_value())
        return None if path is None else read_secret(path, f"{name}_file")


def read_secret(path: str | Path, key: str) -> str:
    """What a file holds, without line ends behind it.

    Raises:
        ConfigError: it can't be read, or is empty.
    """
    try:
        text = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{path} can't be read: {reason}", key=key) from None
    if not text:
        raise ConfigError(f"{path} is empty", key=key, fix="Write the secret into it, and nothing else")
    return remember(text)


def remember(secret: str) -> str:
    """From now on `masked` hides it."""
    written = (secret, *secret.splitlines(), json.dumps(secret)[1:-1], quote(secret, safe=""))
    _seen.update(text for text in written if len(text) >= _SHORTEST)
    return secret


def masked(text: str) -> str:
    """A text for people, with every secret that this process has used hidden."""
    for secret in sorted(_seen, key=len, reverse=True):
        if secret in text:
            text = text.replace(secret, MASK)
    return text


def is_secret_key(key: object) -> bool:
    """Whether a key of the file, or a property of librdkafka, holds a secret."""
    return key in SECRETS or (isinstance(key, str) and "." in key and is_secret_option(key))


def is_secret_option(name: str) -> bool:
    """Whether a property of librdkafka holds a secret; paths of files and addresses don't."""
    return _SECRET_OPTION.search(name) is not None


def without_secrets(value: Any) -> Any:
    """Plain values with secrets hidden, by their keys."""
    if isinstance(value, Mapping):
        return {k: MASK if is_secret_key(k) else without_secrets(v) for k, v in value.items()}
    return [without_secrets(each) for each in value] if isinstance(value, list | tuple) else value


class Masked(logging.Filter):
    """Hides secrets in log records, whoever wrote them: librdkafka with ``debug`` is one of them."""

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage() if record.args else None
        if said is not None and masked(said) != said:
            record.msg, record.args = masked(said), ()
        elif isinstance(record.msg, str):
            record.msg = masked(record.msg)
        return True
