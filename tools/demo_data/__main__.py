"""Write the bundles. Run from the root of the repository: ``python -m tools.demo_data [FOLDER]``."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from tools.demo_data.chart import NUMBER
from tools.demo_data.others import chen, li, wang, wu, zhou
from tools.demo_data.sensitive import liu, sun, zhao
from tools.demo_data.staff import management
from tools.demo_data.terms import LOCAL
from tools.demo_data.zhang import zhang

FOLDER = Path(__file__).resolve().parents[2] / "broker" / "demo_data"

#: File name: resources. Ids say nothing of the person; the numbers follow the order of the medical record.
PATIENTS = {
    "p1001-hypertension-and-diabetes": zhang("p1001"),
    "p1002-asthma-child": chen("p1002"),
    "p1003-pregnancy": li("p1003"),
    "p1004-colorectal-cancer": wang("p1004"),
    "p1005-depression": liu("p1005"),
    "p1006-hiv": zhao("p1006"),
    "p1007-alcohol-dependence": sun("p1007"),
    "p1008-hip-fracture": zhou("p1008"),
    "p1009-check-up": wu("p1009"),
}


def _line(entry: dict[str, Any]) -> str:
    text = json.dumps(entry, ensure_ascii=False)
    return re.sub(rf'"{re.escape(json.dumps(NUMBER)[1:-1])}(-?[0-9.]+)"', r"\1", text)


def bundle(resources: list[dict[str, Any]]) -> str:
    """A transaction that stores each resource under its own id, one entry a line, so that changes read well."""
    entries = [
        {
            "fullUrl": f"{LOCAL}/{resource['resourceType']}/{resource['id']}",
            "resource": resource,
            "request": {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"},
        }
        for resource in resources
    ]
    return '{"resourceType": "Bundle", "type": "transaction", "entry": [\n' + ",\n".join(map(_line, entries)) + "\n]}\n"


def files() -> dict[str, str]:
    """Path under the folder: content."""
    return {
        "management.json": bundle(management()),
        **{f"patients/{file}.json": bundle(chart.resources) for file, chart in PATIENTS.items()},
    }


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    for path, text in files().items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_text(text, encoding="utf-8")
