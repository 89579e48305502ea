"""An examination: checks in the order in which they depend on one another, within a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from confluent_kafka import KafkaException

from driftbus.schemas.errors import DriftbusError, Unavailable
from driftbus.stream.doctor.finding import Finding, from_error, not_checked, wrong

T = TypeVar("T")


class Examination:
    """Gathers findings.

    Args:
        timeout_s: for everything.
        tell: called with each finding as it comes.
        begin: called with the name of each step as it begins.

    Attributes:
        findings: so far.
        unreachable: whether something did not answer.
    """

    def __init__(self, timeout_s: float, tell: Callable[[Finding], None], begin: Callable[[str], None]) -> None:
        self._until = time.monotonic() + timeout_s
        self._timeout_s, self._tell, self._begin = timeout_s, tell, begin
        self.findings: list[Finding] = []
        self.unreachable = False

    @property
    def left_s(self) -> float:
        """Seconds that are left."""
        return max(0.0, self._until - time.monotonic())

    def add(self, findings: Iterable[Finding]) -> None:
        """Take findings."""
        for finding in findings:
            self.findings.append(finding)
            self._tell(finding)

    def attempt(self, id_: str, what: str, step: Callable[[], T], fix: str = "") -> T | None:
        """What a step returns; None when it fails, or does not end in time, which becomes a finding.

        Args:
            id_, what: of that finding.
            step: blocks; it may outlive the examination as a thread that nobody waits for.
            fix: what to do where the error itself does not say it.
        """
        self._begin(what)
        if not self.left_s:
            self.add([not_checked(id_, what, f"{self._timeout_s:g} s are over (--timeout)")])
            return None
        done: list[T] = []
        failed: list[BaseException] = []

        def work() -> None:
            try:
                done.append(step())
            except BaseException as error:  # noqa: BLE001 - raised again or told, in the thread that waits
                failed.append(error)

        thread = threading.Thread(target=work, daemon=True, name=id_)
        thread.start()
        thread.join(self.left_s)
        if done:
            return done[0]
        if not failed:
            self.unreachable = True
            said = f"no answer within the {self._timeout_s:g} s that everything may take"
            self.add([wrong(id_, what, said, fix or "Give it longer with --timeout, or look why it is so slow")])
            return None
        (error,) = failed
        self.unreachable |= isinstance(error, Unavailable | KafkaException)
        if isinstance(error, DriftbusError):
            self.add([from_error(id_, what, error, fix)])
        elif isinstance(error, KafkaException):
            self.add([wrong(id_, what, error.args[0].str(), fix)])
        else:
            raise error
        return None
