"""What happens when a test needs a service that this machine can't run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

import pytest


class MissingService(Exception):
    """A service can't be had here. The message says which, why, and how to get it."""


def not_downloaded(what: str, why: str) -> MissingService:
    """The error for something that is downloaded once and could not be."""
    reason = next((line.strip() for line in why.splitlines() if line.strip()), "no reason given")
    return MissingService(
        f"{what} is not in .cache/services; run the tests once while connected to the network ({reason[:120]})"
    )


def services_required() -> bool:
    """True where a missing service is a failure: in CI, or when DRIFTBUS_REQUIRE_SERVICES is set."""
    return any(os.environ.get(name, "").lower() in {"1", "true", "yes"} for name in ("CI", "DRIFTBUS_REQUIRE_SERVICES"))


@contextmanager
def skipped_when_missing() -> Iterator[None]:
    """Turn `MissingService` into a skipped test, or into a failed one where services are required."""
    try:
        yield
    except MissingService as error:
        if services_required():
            pytest.fail(f"required service missing: {error}", pytrace=False)
        pytest.skip(f"service missing: {error}")


class Service(Protocol):
    """What a fixture starts and ends."""

    def start(self) -> None: ...

    def close(self) -> None: ...


S = TypeVar("S", bound=Service)


@contextmanager
def running(make: Callable[[], S]) -> Iterator[S]:
    """A service for as long as a fixture lives; what happens when it can't be had is `skipped_when_missing`'s."""
    with skipped_when_missing():
        service = make()
        try:
            service.start()
            yield service
        finally:
            service.close()
