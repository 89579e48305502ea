"""A real nginx in front of another server, for what that one can't ask for itself: client certificates, passwords."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from harness.cache import cached
from harness.missing import MissingService, not_downloaded
from harness.pki import Authority, Identity
from harness.process import Child, accepts, free_ports


def nginx() -> Path:
    """The program, from PATH or from Debian's package, unpacked without installing.

    Raises:
        MissingService: it is not on PATH and this is not Debian.
    """
    found = shutil.which("nginx")
    return Path(found) if found else cached("nginx", _unpack) / "usr" / "sbin" / "nginx"


class Front:
    """HTTPS in front of a plain HTTP server: each port asks for something else, or shows another certificate.

    Args:
        authority: signs the certificates.
        behind: address of the server, as http://127.0.0.1:8080.
        users: name → password, for basic authentication.
    """

    def __init__(self, authority: Authority, behind: str, users: dict[str, str]) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="driftbus-nginx-"))
        good = authority.issue("front")
        self._passwords = self._home / "passwords"
        self.know(users)
        basic = f"auth_basic driftbus; auth_basic_user_file {self._passwords};"
        mutual = f"ssl_client_certificate {authority.certificate}; ssl_verify_client on;"
        servers: dict[str, tuple[Identity, str]] = {
            "basic": (good, basic),
            "mutual": (good, mutual),
            "expired": (authority.issue("front", days=(-30, -1)), ""),
            "elsewhere": (authority.issue("front", hosts=("registry.example",)), ""),
        }
        self.ports = dict(zip(servers, free_ports(len(servers)), strict=True))
        blocks = "".join(
            f"server {{ listen 127.0.0.1:{self.ports[name]} ssl; ssl_certificate {identity.certificate}; "
            f"ssl_certificate_key {identity.key}; {asked} location / {{ proxy_pass {behind}; }} }}\n"
            for name, (identity, asked) in servers.items()
        )
        temporary = "".join(
            f"{kind}_temp_path {self._home / kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;" if os.geteuid() == 0 else ""
        self._configuration = self._home / "nginx.conf"
        self._configuration.write_text(
            f"daemon off; master_process off; {user} pid {self._home / 'pid'}; error_log stderr;\n"
            f"events {{}}\nhttp {{ access_log off; {temporary}\n{blocks}}}\n"
        )
        self._child: Child | None = None

    def know(self, users: dict[str, str]) -> None:
        """Other names and passwords, from now on."""
        self._passwords.write_text("".join(f"{name}:{{PLAIN}}{password}\n" for name, password in users.items()))

    def url(self, name: str) -> str:
        """Address of one of its ports."""
        return f"https://127.0.0.1:{self.ports[name]}"

    def start(self) -> None:
        """Returns when it answers."""
        command: list[str | Path] = [nginx(), "-p", self._home, "-c", self._configuration, "-e", "stderr"]
        self._child = Child(command, self._home / "log")
        self._child.wait_until(lambda: all(map(accepts, self.ports.values())), 30.0, "nginx")

    def close(self) -> None:
        """Stop it."""
        if self._child is not None:
            self._child.kill()
        shutil.rmtree(self._home, ignore_errors=True)


def _unpack(folder: Path) -> None:
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise MissingService("nginx: put it on PATH")
    done = subprocess.run(["apt-get", "-q", "download", "nginx"], cwd=folder, capture_output=True, text=True)
    packages = list(folder.glob("*.deb"))
    if done.returncode or not packages:
        raise not_downloaded("nginx", done.stderr or "apt-get update is needed first")
    for package in packages:
        subprocess.run(["dpkg", "-x", package, folder], check=True, capture_output=True)
        package.unlink()
