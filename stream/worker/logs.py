"""Logs: JSON lines for machines, colours on a terminal; librdkafka's through the same door, fewer of them."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import structlog

from driftbus.schemas.secrets import masked

_PER_MINUTE = 5
_MINUTE_S = 60.0

_SPELLED = re.compile("[\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
"""What could end a line, move a cursor, colour a terminal or turn the direction of a text."""

_STAMP = structlog.processors.TimeStamper(fmt="iso", utc=True)


def set_up_logs(
    style: Literal["auto", "console", "json"] = "auto", level: str = "info", stream: TextIO | None = None
) -> None:
    """Send all logs of this process to a stream, by default standard error.

    Args:
        style: ``auto`` is console on a terminal and JSON elsewhere.
        level: least level shown.
        stream: where to.
    """
    out = stream or sys.stderr
    console = style == "console" or (style == "auto" and out.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        _STAMP,
    ]
    final: list[Any] = (
        [spelled_out, structlog.dev.ConsoleRenderer(colors=out.isatty())]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    final.append(_without_secrets)
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
        )
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("faust", "mode", "aiokafka", "numba", "asyncio", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    librdkafka = logging.getLogger("librdkafka")
    librdkafka.filters[:] = [Throttle()]


def _without_secrets(_logger: Any, _method: str, line: str) -> str:
    """The last step, after everything is text: whoever wrote it, no secret of ours is in it."""
    return masked(line)


def spelled_out(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Names from records in texts of a line, without what a terminal would obey. JSON escapes them by itself."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = _SPELLED.sub(lambda found: found[0].encode("unicode_escape").decode(), value)
    return event


class Throttle(logging.Filter):
    """Lets through few messages of one kind a minute, and then says how many it kept back.

    librdkafka writes up to 20 lines a second while a broker is down. A kind is a message's facility
    (``FAIL``, ``SESSTMOUT``), which it puts first among a record's arguments.

    Args:
        per_minute: messages of one kind that pass in a minute.
    """

    def __init__(self, per_minute: int = _PER_MINUTE) -> None:
        super().__init__()
        self._per_minute = per_minute
        self._seen: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        kind = str(record.args[0]) if isinstance(record.args, tuple) and record.args else record.msg[:20]
        now = time.monotonic()
        start, count = self._seen.get(kind, (now, 0))
        if now - start >= _MINUTE_S:
            kept_back, start, count = count - self._per_minute, now, 0
            if kept_back > 0:
                record.msg, record.args = f"{record.getMessage()} ({kept_back} like it were not shown)", ()
        self._seen[kind] = start, count + 1
        return count < self._per_minute
