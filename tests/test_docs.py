"""What the pages say of the code is so, and what they point to is there."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pytest
from click import Context, unstyle
from prometheus_client import CollectorRegistry
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from benchmarks import pictures
from driftbus.detectors.episodes import ASPECTS, WHATS
from driftbus.schemas.config import Config, Detector
from driftbus.schemas.configfile import ENVIRONMENT, config_json_schema, read_config
from driftbus.schemas.configtypes import format_duration
from driftbus.schemas.contracts import contract
from driftbus.schemas.streamconfig import LabelsConfig, StreamConfig
from driftbus.stream.cli.main import group, run
from driftbus.stream.worker.metrics import Metrics

ROOT = Path(__file__).parents[1]
DETECTORS = sorted(page for page in ROOT.glob("docs/detectors/*.md") if page.name != "README.md")
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        ROOT / "docs/detectors/README.md",
        *DETECTORS,
        *ROOT.glob("docs/runbooks/*.md"),
    ]
)


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that a key holds, inside Optional, list or dict."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType, list, dict):
        return next(filter(None, map(model_in, get_args(annotation))), None)
    return None


def shown(name: str, field: FieldInfo, schema: dict[str, Any]) -> str:
    """A default as the page has to write it."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)  # type: ignore[call-arg]
    if value is None or value == "":
        return "none" if value is None else "empty"
    if isinstance(value, int) and not isinstance(value, bool) and "pattern" in json.dumps(schema):
        return f"`{format_duration(value)}`"
    text = value if isinstance(value, str) else json.dumps(value)
    return f"`{text}`"


def keys_of(model: type[BaseModel], section: str) -> Iterator[tuple[str, str, str | None]]:
    """(section, key, default) of every key; the default is None where a section of its own has them."""
    schema = model.model_json_schema(by_alias=True)
    properties = schema.get("$defs", {}).get(model.__name__, schema)["properties"]
    inherited = StreamConfig.model_fields if model is LabelsConfig else {}
    for name, field in model.model_fields.items():
        if name in inherited:
            continue
        key = field.alias or name
        inner = model_in(field.annotation)
        if inner is None or inner is model:  # a rule is made of rules
            yield section, key, shown(key, field, properties[key])
            continue
        yield section, key, None
        inner_section = {
            ("", "monitors"): "monitors.NAME",
            ("monitors.NAME", "features"): "",
            ("monitors.NAME.retrain", "all"): "",
            ("monitors.NAME", "predictions"): "monitors.NAME.predictions, features, labels",
            ("kafka", "oauth"): "kafka.oauth, registry.oauth",
            ("registry", "oauth"): "",
        }.get((section, key), f"{section}.{key}".strip("."))
        if inner_section:
            yield from keys_of(inner, inner_section)


def rows_of(page: Path) -> dict[tuple[str, str], str]:
    """(section, key) → default, of the tables of configuration.md."""
    section, found = "", {}
    for line in page.read_text().splitlines():
        if line.startswith("#"):
            section = line.lstrip("# ").replace("Top level", "")
        elif row := re.match(r"\| `([\w.\[\]]+)`(?: ●)? \| (.*?) \|", line):
            key = row[1].rpartition(".")
            inner = f"{section}.{key[0].replace('[]', '')}".strip(".") if key[0] else section
            found[inner, key[2]] = row[2]
    return found


def test_every_key_of_the_configuration_stands_in_its_table_with_its_default() -> None:
    told = rows_of(ROOT / "docs/configuration.md")
    known = {(section, key): default for section, key, default in keys_of(Config, "")}
    assert len(known) > 80
    assert told.keys() == known.keys()
    wrong = {k: (told[k], default) for k, default in known.items() if default is not None and told[k] != default}
    assert wrong == {}


def test_environment_and_json_schema_are_current() -> None:
    page = (ROOT / "docs/configuration.md").read_text()
    assert all(f"`{variable}`" in page for variable in ENVIRONMENT)
    assert (ROOT / "docs/driftbus.schema.json").read_text() == config_json_schema()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_yaml_examples_are_configurations(page: Path, tmp_path: Path) -> None:
    for name in {"ca.pem", *re.findall(r"(?:\w+/)?[\w-]+\.pem|secrets/[\w-]+", page.read_text())}:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    for number, text in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text)
        _, problems = read_config(file, {})
        assert problems == []


@pytest.mark.parametrize("name", ["ComparisonEvent", "DriftEvent", "Incident", "PerformanceReport", "RetrainTrigger"])
def test_every_field_of_the_events_stands_in_its_table(name: str) -> None:
    page = (ROOT / "docs/events.md").read_text()
    section = page.split(f"## {name}\n", 1)[1].split("\n## ", 1)[0]
    told = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert told == [field["name"] for field in contract(name).source["fields"]]


def test_every_module_stands_in_the_file_map() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    folders = ("schemas", "detectors", "stream")
    modules = {p.relative_to(ROOT / f).as_posix() for f in folders for p in (ROOT / f).rglob("*.py")}
    told = set(re.findall(r"`([\w/]+\.py)`", page.split("## File map", 1)[1].split("### Around it", 1)[0]))
    assert told == {module for module in modules if not module.endswith("__init__.py")}


def test_folders_import_what_the_architecture_allows() -> None:
    allowed = {"schemas": {"schemas"}, "detectors": {"schemas", "detectors"}}
    for folder, known in allowed.items():
        for module in (ROOT / folder).rglob("*.py"):
            taken = set(re.findall(r"^\s*(?:from|import) driftbus\.(\w+)", module.read_text(), re.MULTILINE))
            assert taken <= known, f"{module.relative_to(ROOT)} imports {taken - known}"


def test_every_detector_and_what_it_finds_has_a_page() -> None:
    index = (ROOT / "docs/detectors/README.md").read_text().split("\n## ", 1)[0]
    rows = re.findall(r"^\| (`[^|]*) \|.*\[([\w-]+\.md)\]", index, re.MULTILINE)
    named = {name for names, _ in rows for name in re.findall(r"`(\w+)`", names)}
    needed = {*get_args(Detector), *WHATS, *ASPECTS} - {"", "quality", "distribution"}
    assert needed <= named, f"the index of docs/detectors has no row of {needed - named}"
    assert {page for _, page in rows} == {page.name for page in DETECTORS}, "index and pages differ"


@pytest.mark.parametrize("page", DETECTORS, ids=lambda page: page.stem)
def test_a_detectors_page_has_every_section_and_its_picture(page: Path) -> None:
    text = page.read_text()
    told = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert told == ["What it sees", "What it misses", "How it decides", "Defaults and keys", "Measured", "Source"]
    assert f"](img/{page.stem}.svg)" in text.split("\n## ", 1)[0]
    assert "<svg" in (page.parent / f"img/{page.stem}.svg").read_text(), "draw it: make pictures"


def test_a_picture_is_drawn_from_code_and_the_same_each_time(tmp_path: Path) -> None:
    drawn = pictures.known()
    kept = {file.stem for file in (ROOT / "docs/detectors/img").glob("*.svg")}
    assert drawn.keys() == kept
    one, other = pictures.save("ks", tmp_path).read_bytes(), pictures.save("ks", tmp_path).read_bytes()
    assert one == other
    assert len(one) < 100_000


def test_metrics_that_pages_name_exist() -> None:
    registry = CollectorRegistry()
    Metrics(registry)
    exposed = {metric.name for metric in registry.collect()} | {"driftbus_ready"}
    for page in PAGES:
        for name in re.findall(r"`(driftbus_\w+)", page.read_text()):
            assert name.removesuffix("_total") in exposed, f"{page.name} names {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name} points to {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name} points to {link}"


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_commands_that_pages_name_exist() -> None:
    known = set(group.list_commands(Context(group)))
    for page in PAGES:
        for command in re.findall(r"(?:`|^\$ )driftbus ([a-z]+)\b", page.read_text(), re.MULTILINE):
            assert command in known, f"{page.name} names `driftbus {command}`"


def test_the_replay_of_the_readme_is_what_a_person_sees(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command, told = re.findall(r"\$ driftbus (replay [^\n]*)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[0]
    monkeypatch.chdir(ROOT)
    assert run(shlex.split(command)) == 0
    seen = unstyle(capsys.readouterr().out).split("\n  next: ")[0]
    assert seen.strip() == told.strip()
