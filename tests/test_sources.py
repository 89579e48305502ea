"""What no source file may do, whoever writes it: run data as code, start a shell, write what a spreadsheet runs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDERS = ("schemas", "detectors", "stream", "src", "examples", "benchmarks", "tests", "docs")
REPOSITORY = Path(__file__).parents[1]

MODULES = frozenset({"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "imp"})
BUILTINS = frozenset({"eval", "exec", "compile", "__import__", "execfile"})
CALLS = frozenset({
    "os.system", "os.popen", "os.execl", "os.execv", "subprocess.getoutput", "subprocess.getstatusoutput",
    "yaml.load", "yaml.unsafe_load", "yaml.full_load", "pd.read_pickle", "torch.load",
})  # fmt: skip
TABLES = frozenset({"csv.writer", "csv.DictWriter", "pacsv.write_csv", "pa.csv.write_csv"})
"""Tables for spreadsheets are none of ours: a name like ``=HYPERLINK(...)`` would be run by one."""


def sources() -> list[Path]:
    """All Python files, each once: src/driftbus has links to the folders."""
    files = {path.resolve() for name in FOLDERS for path in (REPOSITORY / name).rglob("*.py")}
    return sorted(path for path in files if not {"node_modules", ".cache"} & set(path.parts))


def dotted(node: ast.AST) -> str:
    """The name that an expression writes, "" if it is none."""
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return node.id if isinstance(node, ast.Name) else ""


def forbidden(tree: ast.AST) -> Iterator[str]:
    """What a file does that none may do."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES:
            yield str(node.module)
        elif isinstance(node, ast.Call):
            name = dotted(node.func)
            if name in BUILTINS | CALLS | TABLES or name.rpartition(".")[2] in {"read_pickle", "to_pickle"}:
                yield name
            for word in node.keywords:
                on = isinstance(word.value, ast.Constant) and word.value.value is True
                if word.arg in ("shell", "allow_pickle") and on:
                    yield f"{name}({word.arg}=True)"
            if name == "YAML" and any(
                word.arg == "typ" and not (isinstance(word.value, ast.Constant) and word.value.value in ("rt", "safe"))
                for word in node.keywords
            ):
                yield "YAML of a type that makes objects"


def test_no_source_runs_data() -> None:
    found = {}
    for path in sources():
        name = str(path.relative_to(REPOSITORY))
        did = {*forbidden(ast.parse(path.read_text(encoding="utf-8"), name))}
        # tests and benchmarks write files of rows for driftbus to read
        did -= set() if name.split("/")[0] in ("schemas", "detectors", "stream", "src") else TABLES
        if did:
            found[name] = did
    assert len(sources()) > 400
    assert found == {}


@pytest.mark.parametrize(
    "text",
    [
        "import pickle", "from pickle import loads", "import marshal as m", "eval('1')", "exec(x)", "yaml.load(x)",
        "subprocess.run('x', shell=True)", "np.load(x, allow_pickle=True)", "YAML(typ='unsafe')", "os.system('x')",
        "import shelve", "csv.writer(x)",
    ],
)  # fmt: skip
def test_what_is_looked_for_is_found(text: str) -> None:
    assert list(forbidden(ast.parse(text)))
