"""driftbus.yaml from the disk: read safely, overridden by the environment, explained with line numbers."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from driftbus.schemas.config import Config
from driftbus.schemas.errors import ConfigError
from driftbus.schemas.secrets import SECRETS, is_secret_key, read_secret, without_secrets

ENVIRONMENT: dict[str, tuple[str, ...]] = {
    "DRIFTBUS_KAFKA_BOOTSTRAP": ("kafka", "bootstrap"),
    "DRIFTBUS_KAFKA_USERNAME": ("kafka", "username"),
    "DRIFTBUS_KAFKA_PASSWORD": ("kafka", "password"),
    "DRIFTBUS_KAFKA_KEY_PASSWORD": ("kafka", "key_password"),
    "DRIFTBUS_KAFKA_OAUTH_CLIENT_ID": ("kafka", "oauth", "client_id"),
    "DRIFTBUS_KAFKA_OAUTH_CLIENT_SECRET": ("kafka", "oauth", "client_secret"),
    "DRIFTBUS_REGISTRY_URL": ("registry", "url"),
    "DRIFTBUS_REGISTRY_USERNAME": ("registry", "username"),
    "DRIFTBUS_REGISTRY_PASSWORD": ("registry", "password"),
    "DRIFTBUS_REGISTRY_TOKEN": ("registry", "token"),
    "DRIFTBUS_REGISTRY_KEY_PASSWORD": ("registry", "key_password"),
    "DRIFTBUS_REGISTRY_OAUTH_CLIENT_ID": ("registry", "oauth", "client_id"),
    "DRIFTBUS_REGISTRY_OAUTH_CLIENT_SECRET": ("registry", "oauth", "client_secret"),
    "DRIFTBUS_WEB_USERNAME": ("run", "web", "username"),
    "DRIFTBUS_WEB_PASSWORD": ("run", "web", "password"),
    "DRIFTBUS_WEB_TOKEN": ("run", "web", "token"),
    "DRIFTBUS_WEB_KEY_PASSWORD": ("run", "web", "key_password"),
}
"""Variables that override keys of the file. With ``_FILE`` behind it, that of a secret names a file that holds it."""

_ACCESS = (("kafka",), ("registry",), ("run", "web"), ("kafka", "oauth"), ("registry", "oauth"))
_FILES = (
    *((*section, key) for section in _ACCESS for key in ("ca", "certificate", "key", "client_ca")),
    *((*section, f"{key}_file") for section in _ACCESS for key in SECRETS),
    ("monitors", "*", "profile"),
    *(("monitors", "*", stream, "schema_file") for stream in ("predictions", "features", "labels")),
)
_Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong in the file.

    Args:
        line, column: where, counted from 1; 0 when it is not in the file.
        key: dotted path of the key (``monitors.credit.predictions.time``), or "".
        message: what is wrong, in one sentence without its full stop.
        fix: what to write instead, or "".
    """

    line: int
    column: int
    key: str
    message: str
    fix: str = ""

    def __str__(self) -> str:
        said = f"{self.key}: {self.message}" if self.key else self.message
        return f"{said}. {self.fix}" if self.fix else said


def load_config(path: str | Path, env: Mapping[str, str]) -> Config:
    """The configuration of a file, overridden by the environment.

    Paths of files in it are taken relative to its folder.

    Args:
        path: of driftbus.yaml.
        env: environment variables; those of `ENVIRONMENT` count.

    Raises:
        ConfigError: it can't be read or can't work; every problem is named with its line.
    """
    config, found = read_config(path, env)
    if config is not None:
        return config
    lines = [f"{path}:{p.line}:{p.column}: {p}" if p.line else f"{path}: {p}" for p in found]
    raise ConfigError("\n".join(lines))


def problems(path: str | Path, env: Mapping[str, str] | None = None) -> list[Problem]:
    """Everything that is wrong with a file, in the order of its lines; empty when it is fine."""
    return read_config(path, env or {})[1]


def read_config(path: str | Path, env: Mapping[str, str]) -> tuple[Config | None, list[Problem]]:
    """The configuration, or None and what is wrong."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        reason = e.strerror if isinstance(e, OSError) else "it is not UTF-8 text"
        return None, [Problem(0, 0, "", f"can't be read: {reason}", "`driftbus init` writes a first one")]
    tree, found = _parse(text)
    if found:
        return None, found
    values = _plain(tree)
    found = [*_tagged(tree), *apply_environment(values, env), *_files(values, tree, Path(path).resolve().parent)]
    try:
        config = Config.model_validate(values)
    except ValidationError as e:
        found += {_problem(error, tree) for error in e.errors(include_url=False)}
    return (None, sorted(found)) if found else (config, [])


def config_json_schema() -> str:
    """JSON Schema of driftbus.yaml, as published in docs/driftbus.schema.json."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _schema() -> dict[str, Any]:
    return Config.model_json_schema(by_alias=True)


def _parse(text: str) -> tuple[CommentedMap, list[Problem]]:
    empty = CommentedMap()
    try:
        tree = YAML(typ="rt").load(text)
    except DuplicateKeyError as e:
        key = re.search(r'duplicate key "(.*?)"', e.problem or "")
        name = key[1] if key else "?"
        return empty, [_marked(e, name, f"the key {name} is written twice", "Keep one of them")]
    except MarkedYAMLError as e:
        # an alias may be a password that begins with *
        problem = re.sub(r"(alias|anchor|tag|tag handle) ('.*'|\".*\")", r"\1", e.problem or "")
        return empty, [_marked(e, "", f"not readable as YAML: {problem}", "Check indentation, quotes and brackets")]
    except YAMLError as e:
        return empty, [Problem(1, 1, "", f"not readable as YAML ({type(e).__name__})")]
    if tree is None:
        return empty, [Problem(1, 1, "", "the file is empty", "`driftbus init` writes a first one")]
    if not isinstance(tree, CommentedMap):
        return empty, [Problem(1, 1, "", "the file must hold keys and values", "Begin with kafka: and monitors:")]
    return tree, []


def _marked(error: MarkedYAMLError, key: str, message: str, fix: str) -> Problem:
    mark = error.problem_mark
    return Problem(mark.line + 1 if mark else 1, mark.column + 1 if mark else 1, key, message, fix)


def _plain(node: Any) -> Any:
    """Plain Python values; dates become the text that was written."""
    if isinstance(node, Mapping):
        return {key: _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    return str(node) if isinstance(node, date) else node


def _tagged(node: Any, path: _Path = ()) -> Iterator[Problem]:
    children = node.items() if isinstance(node, CommentedMap) else enumerate(node)
    for key, value in children:
        here = (*path, key)
        if isinstance(value, TaggedScalar) or (isinstance(value, CommentedMap | CommentedSeq) and value.tag.value):
            line, column = _position(node, (key,), on_key=False)
            tag = "a tag" if any(map(is_secret_key, here)) else f"the tag {value.tag.value}"
            yield Problem(line, column, _dotted(here), f"{tag} is not allowed", "Write a plain value, in quotes")
        elif isinstance(value, CommentedMap | CommentedSeq):
            yield from _tagged(value, here)


def apply_environment(values: dict[str, Any], env: Mapping[str, str]) -> list[Problem]:
    """Override the plain values of a configuration by the environment; what can't be read of it."""
    found = []
    for variable, (*section, key) in ENVIRONMENT.items():
        value, file = env.get(variable), env.get(f"{variable}_FILE") if key in SECRETS else None
        if not value and file:
            try:
                read_secret(file, f"{variable}_FILE")
            except ConfigError as e:
                found.append(Problem(0, 0, e.key, str(e).removeprefix(f"{e.key}: ")))
        here: Any = values
        for name in section if value or file else ():
            here = here.setdefault(name, {}) if isinstance(here, dict) else None
            if here is None:
                break
        if isinstance(here, dict) and (value or file):
            here.pop(key, None)
            here.pop(f"{key}_file", None)
            here |= {key: value} if value else {f"{key}_file": str(Path(file or "").absolute())}
    return found


def _files(values: Any, tree: CommentedMap, folder: Path) -> Iterator[Problem]:
    """Make the paths of files absolute, and name those that are not there."""
    for pattern in _FILES:
        for parent, path in list(_matches(values, pattern)):
            key = pattern[-1]
            if isinstance(parent.get(key), str):
                parent[key] = str(folder / Path(parent[key]).expanduser())
                if not Path(parent[key]).exists():
                    line, column = _position(tree, path, on_key=False)
                    yield Problem(line, column, _dotted(path), f"there is no {parent[key]}")


def _matches(node: Any, pattern: tuple[str, ...], path: _Path = ()) -> Iterator[tuple[dict[str, Any], _Path]]:
    if not isinstance(node, dict):
        return
    if len(pattern) == 1:
        yield node, (*path, pattern[0])
        return
    for key in list(node) if pattern[0] == "*" else [pattern[0]]:
        yield from _matches(node.get(key), pattern[1:], (*path, key))


def _problem(error: Mapping[str, Any], tree: CommentedMap) -> Problem:
    """One pydantic error in the reader's terms."""
    path: _Path = tuple(part for part in error["loc"] if part != "[key]")
    kind, context, value = error["type"], error.get("ctx", {}), error["input"]
    shown = "the value" if any(map(is_secret_key, path)) else _shown(value)
    fix = ""
    if kind == "extra_forbidden":
        message, fix = "unknown key", _known_keys(path)
    elif kind == "missing":
        message, fix = "is missing", _describe(path)
    elif value is None:
        message = "has no value"
    elif kind == "literal_error":
        choices = re.findall(r"'([^']*)'", context["expected"])
        message, fix = f"{shown} is not possible", f"Write one of {', '.join(choices)}{_closest(value, choices)}"
    elif kind == "string_type" and isinstance(value, int | float):
        message, fix = f"{shown} is read as a number or a truth value", "Put it in quotes"
    elif kind == "value_error":
        message = str(context["error"])
        named = re.match(r"(monitors(?:\..+?)?): (.*)", message, re.DOTALL)
        if named and not path:
            path, message = _resolve(named[1], tree), named[2]
    else:
        message = f"{shown} does not fit: {error['msg'][:1].lower()}{error['msg'][1:]}"
    line, column = _position(tree, path, on_key=kind in {"extra_forbidden", "missing"} or value is None)
    return Problem(line, column, _dotted(path), message.rstrip("."), fix)


def _position(tree: Any, path: _Path, *, on_key: bool) -> tuple[int, int]:
    """Line and column, from 1, of the deepest part of a path that the file has; (0, 0) for the file as a whole."""
    line = column = 0
    for depth, part in enumerate(path):
        if isinstance(tree, CommentedMap) and part in tree.lc.data:
            place = tree.lc.data[part]
            scalar = depth == len(path) - 1 and not isinstance(tree[part], CommentedMap)
            line, column = (place[2], place[3]) if scalar and not on_key else (place[0], place[1])
        elif isinstance(tree, CommentedSeq) and isinstance(part, int) and part in tree.lc.data:
            line, column = tree.lc.data[part][:2]
        else:
            return (line + 1, column + 1) if depth else (0, 0)
        tree = tree[part]
    return (line + 1, column + 1) if path else (0, 0)


def _resolve(dotted: str, tree: Any) -> _Path:
    """The path of a dotted key, where names of monitors may hold dots themselves."""
    if not dotted or not isinstance(tree, Mapping):
        return (dotted,) if dotted else ()
    names = dotted.split(".")
    for count in range(len(names), 0, -1):
        head = ".".join(names[:count])
        if head in tree:
            return (head, *_resolve(".".join(names[count:]), tree[head]))
    return (dotted,)


def _dotted(path: Sequence[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _shown(value: Any) -> str:
    text = json.dumps(without_secrets(value), ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _known_keys(path: _Path) -> str:
    node = _schema_at(path[:-1])
    known = node.get("properties", {})
    key = str(path[-1])
    close = difflib.get_close_matches(key, known, n=1)
    if close:
        return f"Did you mean {close[0]}?"
    inside = [name for name, child in known.items() if key in _deref(child).get("properties", {})]
    if inside:
        return f"It belongs under {' or '.join(inside)}"
    return f"Possible here: {', '.join(known)}"


def _describe(path: _Path) -> str:
    node = _schema_at(path[:-1]).get("properties", {}).get(path[-1], {})
    about = node.get("description") or _deref(node).get("description", "")
    return f"Add {path[-1]}:" + (f" ({about.splitlines()[0].rstrip('.')})" if about else "")


def _closest(value: Any, choices: list[str]) -> str:
    close = difflib.get_close_matches(str(value), choices, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _schema_at(path: _Path) -> dict[str, Any]:
    node = _schema()
    for part in path:
        node = _deref(node)
        if isinstance(part, int):
            node = node.get("items", {})
        else:
            node = node.get("properties", {}).get(part) or node.get("additionalProperties") or {}
            node = node if isinstance(node, dict) else {}
    return _deref(node)


def _deref(node: dict[str, Any]) -> dict[str, Any]:
    for option in node.get("anyOf", []):
        if option.get("type") != "null":
            return _deref(option)
    if "$ref" not in node:
        return node
    found: dict[str, Any] = _schema()["$defs"][node["$ref"].rpartition("/")[2]]
    return found
