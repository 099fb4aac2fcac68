"""What the METADATA comments of the Rego files say, read without OPA: enough for the checks and for policies/README.md.

Format: OPA documentation, "Annotations". Of YAML only what the house uses: ``key: value`` on one line, ``>-`` with the text
indented below, and one level of nesting under ``custom``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_HEAD = re.compile(r"^(?:default\s+)?([a-z_][a-z0-9_]*)(?=[\s(\[:])")
_FIELD = re.compile(r"^( *)([a-z_]+):\s*(.*)$")
_DENIED = re.compile(r'^deny contains "([^"]+)"')


@dataclass(frozen=True)
class Annotation:
    """One METADATA block and what stands below it: the package, or a rule by its name."""

    line: int
    subject: str  #: ``package``, or the name of a rule
    head: str  #: the line below the block
    fields: dict[str, str] = field(default_factory=dict)  #: ``title``, ``description``; ``custom.code`` …


@dataclass(frozen=True)
class Rule:
    """The beginning of a rule: its name, the line it stands on, and whether a METADATA block stands above it."""

    line: int
    name: str
    head: str
    annotated: bool
    default: bool


def blocks(source: str) -> list[Annotation]:
    """Every METADATA block of a Rego file, in order."""
    lines = source.splitlines()
    found = []
    for number, line in enumerate(lines):
        if line.strip() == "# METADATA":
            block = []
            below = number + 1
            while below < len(lines) and lines[below].startswith("#"):
                block.append(lines[below][2:])
                below += 1
            head = lines[below] if below < len(lines) else ""
            subject = "package" if head.startswith("package ") else _name(head)
            found.append(Annotation(number + 1, subject, head, _fields(block)))
    return found


def rules(source: str) -> Iterator[Rule]:
    """Every rule of a Rego file: lines that begin in the first column and are no package, import or closing bracket."""
    lines = source.splitlines()
    for number, line in enumerate(lines):
        if _HEAD.match(line) and not line.startswith(("package ", "import ")):
            annotated = number > 0 and lines[number - 1].startswith("#")
            yield Rule(number + 1, _name(line), line, annotated, line.startswith("default "))


def denied_code(head: str) -> str | None:
    """The reason code of a rule ``deny contains "…"``."""
    match = _DENIED.match(head)
    return match[1] if match else None


def package_of(source: str) -> str:
    """The package of a Rego file, or nothing."""
    match = re.search(r"^package\s+(\S+)", source, re.MULTILINE)
    return match[1] if match else ""


def _name(head: str) -> str:
    match = _HEAD.match(head)
    return match[1] if match else ""


def _fields(block: list[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    group, folded = "", ""
    for line in block:
        match = _FIELD.match(line)
        if folded and line.startswith("  ") and not (match and not match[1]):
            fields[folded] = f"{fields[folded]} {line.strip()}".strip()
            continue
        folded = ""
        if not match:
            continue
        indent, key, value = match.groups()
        name = f"{group}.{key}" if indent and group else key
        if not indent:
            group = key
        if value == ">-":
            folded, value = name, ""
        if value or folded:
            fields[name] = value
    return fields
