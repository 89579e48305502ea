"""Rights in the forms in which they are given: commands of kafka-acls.sh, JSON, a KafkaUser of Strimzi."""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML

from driftbus.stream.doctor.rights import Resource, Right

_WORDS = {"READ": "Read", "WRITE": "Write", "DESCRIBE": "Describe", "CREATE": "Create",
          "DESCRIBE_CONFIGS": "DescribeConfigs"}  # fmt: skip
BOOTSTRAP, PRINCIPAL = "BOOTSTRAP:9092", "User:PRINCIPAL"
"""Stand for what nobody has named."""


def by_resource(rights: Iterable[Right]) -> dict[tuple[Resource, str], list[Right]]:
    """(kind, name) → its rights."""
    found: dict[tuple[Resource, str], list[Right]] = {}
    for right in rights:
        found.setdefault((right.resource, right.name), []).append(right)
    return found


def acl_command(
    resource: Resource, name: str, rights: Sequence[Right], principal: str = PRINCIPAL, bootstrap: str = BOOTSTRAP
) -> str:
    """The command that gives rights on one resource, for a POSIX shell."""
    words = ["kafka-acls.sh", "--bootstrap-server", bootstrap, "--add", "--allow-principal", principal]
    for right in rights:
        words += ["--operation", _WORDS[right.operation]]
    return shlex.join([*words, f"--{resource}", name])


def as_commands(rights: Mapping[str, Sequence[Right]], principal: str, bootstrap: str) -> str:
    """A script: per command its rights, with the reasons."""
    lines = []
    for command, needed in rights.items():
        lines.append(f"# {title(command)}")
        for (resource, name), ours in by_resource(needed).items():
            for right in ours:
                optional = "optional; " if right.optional else ""
                lines.append(f"#   {right.operation} {resource} {_one_line(name)}: {optional}{_one_line(right.reason)}")
            lines.append(acl_command(resource, name, ours, principal, bootstrap))
        lines.append("")
    return "\n".join(lines).rstrip()


def as_records(rights: Mapping[str, Sequence[Right]]) -> list[dict[str, Any]]:
    """One plain value a right."""
    return [
        {
            "command": command,
            "resource_type": right.resource.upper(),
            "name": right.name,
            "pattern_type": "LITERAL",
            "operation": right.operation,
            "reason": right.reason,
            "optional": right.optional,
        }
        for command, needed in rights.items()
        for right in needed
    ]


def as_strimzi(rights: Mapping[str, Sequence[Right]], principal: str) -> str:
    """A KafkaUser with all of them; its cluster and its authentication are the reader's."""
    name = re.sub(r"[^a-z0-9.-]+", "-", principal.removeprefix("User:").lower()).strip("-.") or "driftbus"
    every = [right for needed in rights.values() for right in needed]
    acls = [
        {
            "resource": {"type": resource, "name": name_, "patternType": "literal"},
            "operations": list(dict.fromkeys(_WORDS[right.operation] for right in ours)),
        }
        for (resource, name_), ours in by_resource(every).items()
    ]
    user = {
        "apiVersion": "kafka.strimzi.io/v1beta2",
        "kind": "KafkaUser",
        "metadata": {"name": name, "labels": {"strimzi.io/cluster": "CLUSTER"}},
        "spec": {"authorization": {"type": "simple", "acls": acls}},
    }
    text, yaml = io.StringIO(), YAML()
    yaml.width = 1_000
    yaml.dump(user, text)
    return text.getvalue().rstrip()


def title(command: str) -> str:
    """Who needs the rights of a command."""
    return "producers of what is watched" if command == "producers" else f"driftbus {command}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
