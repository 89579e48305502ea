"""What a worker compiles, or loads, before its first record."""

from __future__ import annotations

import json
import subprocess
import sys

_PROGRAM = """
import gc, json
from numba.core.dispatcher import Dispatcher
import driftbus.stream.worker.worker
from driftbus.stream.worker.warmup import warm_up

def compiled():
    found = [one for one in gc.get_objects() if isinstance(one, Dispatcher)]
    return {f"{one.py_func.__module__}.{one.py_func.__qualname__}{types}" for one in found for types in one.signatures}

warm_up()
first = compiled()
warm_up(panes=200, rows=40)
print(json.dumps([len(first), sorted(compiled() - first)]))
"""


def test_a_longer_stream_needs_no_kernel_that_was_not_ready() -> None:
    """In a process of its own: in this one others have compiled what they needed."""
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=250, check=True)
    count, late = json.loads(done.stdout)
    assert count > 40
    assert late == []
