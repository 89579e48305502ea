"""driftbus: a streaming drift detector over Kafka whose verdicts are a function of the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from driftbus.stream.client.producer import Producer

__all__ = ["Producer", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`Producer` is imported when it is asked for: the command line has no use for it."""
    if name == "Producer":
        from driftbus.stream.client.producer import Producer

        return Producer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
