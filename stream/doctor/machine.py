"""What a worker needs of the machine it runs on: versions, memory, open files, a cache, a disk."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import confluent_kafka

from driftbus.schemas.config import Config
from driftbus.schemas.errors import ConfigError
from driftbus.stream.doctor.finding import Finding, advice, from_error, not_checked, ok, wrong
from driftbus.stream.worker.storefolder import require_writable

_FILES = 1_024
_MEMORY = 512 << 20
_BYTES_A_PREDICTION = 100
"""Disk of one prediction that waits for its label; docs/labels.md has the measurements."""


def look_at_machine(config: Config) -> Iterator[Finding]:
    """Everything that can be seen without a network."""
    yield _python()
    yield _packages()
    yield _open_files()
    yield _memory()
    yield _cache()
    if any(monitor.outcomes == "joined" for monitor in config.monitors.values()):
        yield _store(config)


def _python() -> Finding:
    librdkafka = confluent_kafka.libversion()[0]
    return ok("machine.versions", "versions", f"Python {platform.python_version()}, librdkafka {librdkafka}")


def _packages() -> Finding:
    id_, what = "machine.packages", "packages"
    try:
        pinned = [re.match(r"([\w.-]+)==([\w.]+)", each) for each in requires("driftbus") or ()]
    except PackageNotFoundError:
        return not_checked(id_, what, "driftbus is not installed as a package")
    for match in filter(None, pinned):
        name, wanted = match[1], match[2]
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "none"
        if found != wanted:
            said = f"{name} is {found}; driftbus stands on private names of {wanted}"
            return wrong(id_, what, said, f"{sys.executable} -m pip install {name}=={wanted}")
    told = ", ".join(f"{m[1]} {m[2]}" for m in filter(None, pinned))
    return ok(id_, what, f"{told} as it has to be")


def _open_files() -> Finding:
    id_, what = "machine.files", "open files"
    try:
        import resource
    except ImportError:  # there is none on Windows
        return not_checked(id_, what, "this system has no such limit")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < _FILES:
        fix = f"ulimit -n {_FILES if hard < 0 else min(_FILES, hard)}, or LimitNOFILE= of the service"
        return advice(id_, what, f"at most {soft}; connections and stores may need more", fix)
    return ok(id_, what, f"up to {soft if soft >= 0 else 'any number'}")


def _memory() -> Finding:
    id_, what = "machine.memory", "memory"
    free = _free_memory()
    if free is None:
        return not_checked(id_, what, "this system does not tell it as Linux does")
    if free < _MEMORY:
        fix = "Give the worker more; docs/operations.md says what it needs"
        return advice(id_, what, f"{free >> 20} MiB are free; a small worker needs {_MEMORY >> 20}", fix)
    return ok(id_, what, f"{free >> 20:,} MiB free")


def _free_memory() -> int | None:
    """Bytes that this process may still take: the machine's, or what its container leaves."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return None
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        return min(free, limit - int(Path("/sys/fs/cgroup/memory.current").read_text()))
    except (OSError, ValueError):  # no container, or no limit
        return free


def _cache() -> Finding:
    id_, what = "machine.cache", "compiled kernels"
    from driftbus.detectors import counting

    beside = Path(counting.__file__).parent / "__pycache__"
    given = os.environ.get("NUMBA_CACHE_DIR")
    places = [Path(given)] if given else [beside, Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))]
    place = next((each for each in places if _can_write(each)), None)
    if place is None:
        said = f"no cache can be written ({', '.join(map(str, places))}): each start compiles for half a minute"
        return advice(id_, what, said, "export NUMBA_CACHE_DIR=/a/folder/that/the/worker/may/write")
    filled = any(place.glob("*.nbi")) or (given and any(place.glob("*/*.nbi")))
    return ok(id_, what, "cached" if filled else f"will be cached in {place}; the first start takes half a minute")


def _can_write(folder: Path) -> bool:
    nearest = next((each for each in (folder, *folder.parents) if each.exists()), folder)
    return os.access(nearest, os.W_OK)


def _store(config: Config) -> Finding:
    id_, what, folder = "machine.store", f"store {config.run.store}", Path(config.run.store)
    existed = folder.exists()
    try:
        require_writable(folder)
    except ConfigError as error:
        return from_error(id_, what, error)
    free = shutil.disk_usage(folder).free
    if not existed:
        folder.rmdir()
    needed = sum(
        int(monitor.detection.events_per_second * monitor.join.horizon / 1_000 * monitor.join.sample)
        * _BYTES_A_PREDICTION * 2
        for monitor in config.monitors.values()
        if monitor.outcomes == "joined"
    )  # fmt: skip
    if free < needed:
        said = f"{free / 1e9:,.1f} GB are free, {needed / 1e9:,.1f} GB may be needed for join.horizon"
        fix = "Name a folder on a larger disk as run.store, or shorten join.horizon, or lower join.sample"
        return advice(id_, what, said, fix)
    return ok(id_, what, f"can be written; {free / 1e9:,.1f} GB free")
