"""What is installed is what is here, from pinned and hashed dependencies, each with a reason."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from harness.cache import REPOSITORY

PROJECT: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
FOLDERS = ("schemas", "detectors", "stream")
LOCKS = ("requirements.lock", "requirements-dev.lock")


def sources(*patterns: str) -> set[str]:
    """Files below the three folders, as they are named inside the distribution."""
    found = {path for folder in FOLDERS for pattern in patterns for path in (REPOSITORY / folder).rglob(pattern)}
    return {f"driftbus/{path.relative_to(REPOSITORY)}" for path in found if path.is_file()}


def requirement_name(requirement: str) -> str:
    return re.split(r"[\[<>=;~! ]", requirement)[0].lower()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was made from it, of a copy of the sources."""
    copy = tmp_path_factory.mktemp("copy")
    for name in (*FOLDERS, "src"):
        shutil.copytree(
            REPOSITORY / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, copy)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(copy / "dist"), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return copy / "dist"


def test_every_package_is_listed() -> None:
    there = {Path(name).parent.as_posix().replace("/", ".") for name in sources("__init__.py")} | {"driftbus"}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == there


def test_wheel_and_sdist_hold_everything(built: Path) -> None:
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    expected = sources("*.py", "*.avsc") | sources("demo/data/*") | {"driftbus/__init__.py", "driftbus/py.typed"}
    assert expected - set(zipfile.ZipFile(wheel).namelist()) == set()
    with tarfile.open(sdist) as archive:
        assert {f"src/{name}" for name in expected} - {name.partition("/")[2] for name in archive.getnames()} == set()


def test_wheel_imports_without_the_repository(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path)  # noqa: S202 - just built from our own files
    program = "import driftbus.schemas.codec, driftbus.stream.cli.main as main; print(driftbus.__file__, main.main)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.stdout.startswith(str(tmp_path)), done.stderr


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_are_pinned_hashed_and_name_no_host(lock: str) -> None:
    text = (REPOSITORY / lock).read_text()
    assert "://" not in text
    entries = re.findall(r"^(\S+)==\S+(?: ;[^\\\n]*)? \\\n +--hash=sha256:[0-9a-f]{64}", text, re.MULTILINE)
    assert len(entries) == len(re.findall(r"^[a-z]", text, re.MULTILINE))


def test_locks_hold_what_the_project_asks_for() -> None:
    wanted = {requirement_name(requirement) for requirement in PROJECT["project"]["dependencies"]}
    for lock in LOCKS:
        held = set(re.findall(r"^([a-z0-9-]+)==", (REPOSITORY / lock).read_text(), re.MULTILINE))
        assert {name.replace(".", "-") for name in wanted} - held == set()


def test_every_dependency_has_its_reason() -> None:
    groups = PROJECT["dependency-groups"].values()
    wanted = {requirement_name(r) for r in PROJECT["project"]["dependencies"]}
    wanted |= {requirement_name(r) for group in groups for r in group if isinstance(r, str)}
    text = (REPOSITORY / "docs" / "dependencies.md").read_text()
    told = {
        cell.split("[")[0].strip()
        for line in text.splitlines()
        for cell in line.split("|")[1:2]
        for cell in cell.split(",")
    }
    assert wanted - told == set()


def test_make_says_what_to_do_when_python_is_too_old(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "cksum", "cut"):
        (programs / name).symlink_to(str(shutil.which(name)))
    old = programs / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit 0\nexit 1\n')
    old.chmod(0o755)
    for name in ("Makefile", "pyproject.toml", *LOCKS):
        shutil.copy(REPOSITORY / name, tmp_path)
    done = subprocess.run(
        [str(shutil.which("make")), "demo"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": str(programs), "HOME": str(tmp_path)},
    )
    assert done.returncode != 0
    assert "needs Python 3.11 or newer with the venv module; found: Python 3.9.2" in done.stderr
    assert "make demo PYTHON=/path/to/python3" in done.stderr
