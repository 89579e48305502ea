"""A password in a file that another program renews: clients that are open get the new one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from driftbus.schemas.config import KafkaConfig
from driftbus.schemas.errors import ConfigError

LOG = logging.getLogger(__name__)


class LoginFile:
    """Looks whether the password of SASL has changed in its file.

    Args:
        kafka: names the file.

    Attributes:
        watched: whether there is such a file at all.
    """

    def __init__(self, kafka: KafkaConfig) -> None:
        self._kafka = kafka
        self.watched = kafka.password_file is not None and kafka.username is not None
        self._known = kafka.secret("password") if self.watched else None

    def renewal(self) -> Callable[[Any], None] | None:
        """What gives a client the new password; None while there is none."""
        try:
            found = self._kafka.secret("password")
        except ConfigError as error:
            LOG.warning("the password can't be read again: %s", error)
            return None
        if found == self._known:
            return None
        self._known = found
        return lambda client: client.set_sasl_credentials(self._kafka.username, found)
