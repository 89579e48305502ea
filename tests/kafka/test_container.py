"""A worker as the image runs it: as nobody, without capabilities, on a tree that it can't write to."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

import driftbus
from driftbus.stream.worker.warmup import warm_up
from harness import jail
from harness.broker import Broker
from harness.cache import REPOSITORY
from harness.missing import skipped_when_missing
from harness.process import Child, free_ports

from .scenario import Scenario, rows
from .workers import Worker

pytestmark = pytest.mark.kafka

PACKAGE = Path(driftbus.__file__).parent


COMPILED = {"kernels in the image": True}
if os.environ.get("DRIFTBUS_LONG"):  # all kernels are compiled again
    COMPILED["kernels of another processor"] = False


@pytest.mark.parametrize("compiled", COMPILED.values(), ids=COMPILED)
@pytest.mark.timeout(1_200)
def test_a_worker_needs_no_rights_on_the_machine(kafka: Broker, compiled: bool) -> None:
    """With kernels that were compiled before it compiles none; without, it compiles them into memory."""
    with skipped_when_missing():
        jail.require_jail()
    scenario = Scenario(kafka)
    scenario.home.chmod(0o755)
    scratch, binaries, kernels = (scenario.home / name for name in ("scratch", "bin", "kernels"))
    for folder in (scratch, binaries):
        folder.mkdir()
    (binaries / "driftbus").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m driftbus "$@"\n')
    (binaries / "driftbus").chmod(0o755)
    if compiled:
        warm_up()
        collect_kernels(kernels)
    (port,) = free_ports(1)
    document = scenario._document()
    document["run"] |= {"metrics_port": port}
    path = scenario.home / "jailed.yaml"
    path.write_text(json.dumps(document))
    environment = jail.environment(scratch) | {
        "PATH": f"{binaries}:/usr/sbin:/usr/bin:/sbin:/bin",
        "NUMBA_CACHE_DIR": str(scratch / "numba"),
        "DRIFTBUS_KERNELS": str(kernels),
        "PYTHONPATH": str(PACKAGE.parent),
    }
    scenario.produce(rows(12_000, seed=8, drift_at=8_000))
    log = scenario.home / "jailed.log"
    worker = Worker(
        Child(jail.command(REPOSITORY / "deploy" / "start", "run", "-c", path), log, environment=environment), port
    )
    scenario.workers.append(worker)
    try:
        worker.wait_ready(240 if compiled else 900)
        status = Path(f"/proc/{worker.child.pid}/status").read_text()
        assert re.search(rf"^Uid:\s+{jail.USER}\s+{jail.USER}\s", status, re.MULTILINE)
        assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
        assert set(re.findall(r"^Cap\w+:\s+(\w+)$", status, re.MULTILINE)) == {"0" * 16}
        mounts = Path(f"/proc/{worker.child.pid}/mounts").read_text()
        assert [line for line in mounts.splitlines() if line.split()[1] == "/"][-1].split()[3].startswith("ro")
        used = contents(Path(f"/proc/{worker.child.pid}/root{scratch}/numba"))
        assert used
        assert (used == contents(kernels)) is compiled
        scenario.settle()
    finally:
        scenario.close()


def collect_kernels(into: Path) -> None:
    """Machine code that lies beside its sources, as it lies in NUMBA_CACHE_DIR."""
    for top in PACKAGE.iterdir():
        for folder, _, _ in os.walk(top, followlinks=True):
            compiled = [*Path(folder).glob("__pycache__/*.nbi"), *Path(folder).glob("__pycache__/*.nbc")]
            if compiled:
                target = into / f"{Path(folder).name}_{hashlib.sha1(folder.encode()).hexdigest()}"
                target.mkdir(parents=True)
                for each in compiled:
                    shutil.copy(each, target)


def contents(folder: Path) -> dict[str, str]:
    """Path → hash of what each file holds."""
    files = [path for path in folder.rglob("*.nb?") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
