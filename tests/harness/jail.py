"""What a container does to a program, without a container: another user, no capabilities, nothing to write to."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from harness.cache import REPOSITORY
from harness.missing import MissingService

USER = 10001

# Python may live below a folder that only root enters, like /root: it is mounted where it was, the rest stays hidden.
_SCRIPT = """
set -e
mount --make-rprivate /
if [ -n "$JAIL_HIDDEN" ]; then
  mount -t tmpfs tmpfs /mnt
  mkdir /mnt/prefix
  mount --rbind "$JAIL_PREFIX" /mnt/prefix
  mount -t tmpfs -o mode=755 tmpfs "$JAIL_HIDDEN"
  mkdir -p "$JAIL_PREFIX"
  mount --rbind /mnt/prefix "$JAIL_PREFIX"
fi
mount -t tmpfs -o mode=1777 tmpfs "$JAIL_SCRATCH"
cd "$JAIL_SCRATCH"
mount -o remount,bind,ro /
exec setpriv --reuid "$JAIL_USER" --regid "$JAIL_USER" --clear-groups \\
  --bounding-set=-all --inh-caps=-all --ambient-caps=-all --no-new-privs "$@"
"""


def require_jail() -> None:
    """Raises MissingService where this machine can't do it: it takes root on Linux, and a checkout that others read."""
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("setpriv"):
        raise MissingService("a jail: root on Linux with unshare and setpriv")
    if hidden(REPOSITORY) is not None:
        raise MissingService(f"a jail: {hidden(REPOSITORY)} is readable by its owner only")
    done = subprocess.run(["unshare", "--mount", "mount", "--make-rprivate", "/"], capture_output=True)
    if done.returncode:
        raise MissingService("a jail: this machine allows no mounts")


def hidden(path: Path) -> Path | None:
    """The first folder on the way to a path that others may not enter."""
    steps = [*reversed(path.resolve().parents), path.resolve()]
    return next((step for step in steps if not step.stat().st_mode & 0o001), None)


def environment(scratch: Path) -> dict[str, str]:
    """What the program needs in its environment.

    Args:
        scratch: an empty folder that becomes its /tmp, in memory.
    """
    prefix = Path(sys.base_prefix).resolve()
    blocked = hidden(prefix)
    return {
        "JAIL_HIDDEN": str(blocked or ""),
        "JAIL_PREFIX": str(prefix),
        "JAIL_SCRATCH": str(scratch),
        "JAIL_USER": str(USER),
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def command(*program: str | Path) -> list[str | Path]:
    """A program in the jail, in this very process: its id stays."""
    return ["unshare", "--mount", "--", "sh", "-c", _SCRIPT, "jail", *program]
