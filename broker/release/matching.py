"""From who is meant to the call about that patient: the lookup before the gate of ``Patient/$match``, and the answer "nobody"."""

from __future__ import annotations

import asyncio
import json
from uuid import uuid4

from broker import clock
from broker.records import service as records
from broker.release.match_request import Meant
from broker.release.query import Wanted
from broker.release.service import Parts

#: An id that no patient can have, so that nobody found is refused at the gate like anybody else's patient.
_NOBODY = ""


async def wanted_match(parts: Parts, meant: Meant) -> Wanted:
    """The call about the one patient whom every identifier that leads anywhere leads to with certainty; else about nobody."""
    return Wanted(patient=await asyncio.to_thread(_found, parts, meant), types=("Patient",), path="Patient/$match")


def _found(parts: Parts, meant: Meant) -> str:
    certain: set[str] = set()
    with parts.database.transaction() as session:
        for system, value in meant.identifiers:
            match = records.match(session, parts.keys, {"system": system, "value": value}, meant.name, meant.birth_date)
            if match.grade != "none":
                certain.add(match.fhir_id or _NOBODY if match.grade == "certain" else _NOBODY)
    return certain.pop() if len(certain) == 1 else _NOBODY


def no_match() -> bytes:
    """An empty search result: nobody is meant, or nobody of whom you may be told. The same for both."""
    at = clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"resourceType": "Bundle", "id": str(uuid4()), "type": "searchset", "timestamp": at, "total": 0}).encode()
