"""Writes ``fhir_profiles/CodeSystem-broker-problem.json``: every code that the broker says, in both languages, with what to do next.

Run from the root of the repository: ``python -m tools.fhir_profiles``. A test compares the file with the code and the policies.
"""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import broker
from broker.errors import BrokerError
from broker.fhir.outcome import CODES

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "fhir_profiles" / "CodeSystem-broker-problem.json"
REASONS = ROOT / "policies" / "data" / "reasons.json"


def errors() -> Iterator[type[BrokerError]]:
    """Every kind of error that any slice declares, the general ones first."""
    for module in pkgutil.walk_packages(broker.__path__, "broker."):
        # Not only ``errors`` modules declare some; the commands and the demo, which are run, declare none.
        if not module.name.startswith(("broker.cli", "broker.demo", "broker.fhir.definitions")):
            import_module(module.name)
    found = [BrokerError]
    while found:
        yield from found
        found = [below for kind in found for below in kind.__subclasses__()]


def concepts() -> list[dict[str, Any]]:
    """One concept for each code, sorted; a code that several kinds share is said in the words of the most general."""
    told: dict[str, tuple[str, str, str, str]] = {}
    for kind in errors():
        told.setdefault(kind.code, (kind.title("en"), kind.title("zh"), kind.help("en"), kind.help("zh")))
    for code, words in json.loads(REASONS.read_text(encoding="utf-8")).items():
        told[code] = (words["en"], words["zh"], words["help_en"], words["help_zh"])
    return [
        {
            "code": code,
            "display": english,
            "definition": help_en,
            "designation": [
                {"language": "zh-CN", "value": chinese},
                {"language": "zh-CN", "use": {"code": "help", "system": CODES}, "value": help_zh},
            ],
        }
        for code, (english, chinese, help_en, help_zh) in sorted(told.items())
    ]


def code_system() -> dict[str, Any]:
    """The CodeSystem resource."""
    listed = concepts()
    return {
        "resourceType": "CodeSystem",
        "id": "broker-problem",
        "url": CODES,
        "version": broker.__version__,
        "name": "BrokerProblem",
        "title": "What the broker says when it refuses or can't go on",
        "status": "active",
        "experimental": False,
        "description": "Codes of issue.details in the broker's OperationOutcomes, and of the reasons of its decisions. "
        "A code is permanent; its sentences may be improved.",
        "caseSensitive": True,
        "content": "complete",
        "count": len(listed),
        "concept": listed,
    }


def text() -> str:
    """The file's content."""
    return json.dumps(code_system(), ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(text(), encoding="utf-8")
