"""One target under atheris: inputs that reach new code are kept, and what ends badly is written down.

Started by `fuzz.__main__` in a process of its own. The kernels are not compiled here, so that the machine of the
decoder is code that coverage sees.
"""

from __future__ import annotations

import os
import sys
import warnings


def main() -> None:
    """`python -m fuzz.cover TARGET [libFuzzer's arguments]`."""
    os.environ["NUMBA_DISABLE_JIT"] = "1"
    warnings.simplefilter("ignore")
    import atheris

    with atheris.instrument_imports(include=["driftbus"], enable_loader_override=False):
        from fuzz.targets import TARGETS, attempt
    import logging

    logging.disable(logging.CRITICAL)
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, lambda data: attempt(target, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
