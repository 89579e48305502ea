"""One broker whose clients come through a proxy."""

from __future__ import annotations

from collections.abc import Mapping

from harness.broker import Broker
from harness.process import free_ports
from harness.proxy import Proxy


class ProxiedBroker(Broker):
    """A broker with a second listener, advertised as the proxy's port; the plain one stays, for the harness.

    Args:
        settings: more lines of server.properties.
    """

    def __init__(self, settings: Mapping[str, object] = {}) -> None:
        plain, controller, behind = free_ports(3)
        self.proxy = Proxy(behind)
        super().__init__(
            {
                "controller.quorum.voters": f"1@127.0.0.1:{controller}",
                "listeners": (
                    f"PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller},OUTSIDE://127.0.0.1:{behind}"
                ),
                "advertised.listeners": f"PLAINTEXT://127.0.0.1:{plain},OUTSIDE://127.0.0.1:{self.proxy.port}",
                "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,OUTSIDE:PLAINTEXT",
                "inter.broker.listener.name": "PLAINTEXT",
                **settings,
            }
        )
        self._port = plain

    @property
    def outside(self) -> str:
        return f"127.0.0.1:{self.proxy.port}"

    def start(self) -> None:
        """Start, or start again on the data that is there. Returns when it answers."""
        self.proxy.start()
        super().start()

    def close(self) -> None:
        self.proxy.close()
        super().close()
