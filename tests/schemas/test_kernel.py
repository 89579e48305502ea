"""Compiled code on disk is used again only while nothing that went into it has changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from driftbus.schemas import kernel
from driftbus.schemas.hashing import hash_bytes
from harness.missing import running
from harness.smalldisk import SmallDisk

INNER = "from driftbus.schemas.kernel import kernel\n@kernel\ndef inner(x):\n    return x + {}\n"
OUTER = """
from driftbus.schemas.inner import inner
from driftbus.schemas.kernel import kernel, leaf_kernel
@leaf_kernel
def outer(x):
    return inner(x) * 10
print(outer(1), sum(outer.stats.cache_hits.values()))
"""


def _package(folder: Path) -> Path:
    schemas = folder / "driftbus" / "schemas"
    schemas.mkdir(parents=True)
    (folder / "driftbus" / "__init__.py").touch()
    (schemas / "__init__.py").touch()
    shutil.copy(kernel.__file__, schemas / "kernel.py")
    (schemas / "outer.py").write_text(OUTER)
    return schemas


def _run(folder: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"} | {"PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", "import driftbus.schemas.outer"],
        env=environment, cwd=folder, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_change_in_what_a_kernel_calls_is_noticed(tmp_path: Path) -> None:
    schemas = _package(tmp_path)
    (schemas / "inner.py").write_text(INNER.format(1))
    assert _run(tmp_path) == "20 0"
    assert _run(tmp_path) == "20 1", "compiled once"
    (schemas / "inner.py").write_text(INNER.format(2))
    assert _run(tmp_path) == "30 0"
    (schemas / "unrelated.py").touch()
    assert _run(tmp_path) == "30 1"


def test_a_disk_without_room_for_the_cache_costs_time_only() -> None:
    with running(lambda: SmallDisk(1)) as disk:
        disk.fill()
        command = "from driftbus.schemas.hashing import hash_bytes; print(hash_bytes(b'x'))"
        done = subprocess.run(
            [sys.executable, "-c", command], env={**os.environ, "NUMBA_CACHE_DIR": str(disk.path / "kernels")},
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.stdout.strip() == str(hash_bytes(b"x")), done.stderr
