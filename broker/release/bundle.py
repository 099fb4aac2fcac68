"""The bytes that leave: resources that were reduced and checked, joined into one FHIR Bundle without being parsed again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from uuid import UUID

CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
#: Confidentiality from least to most (HL7 v3 Confidentiality, the classification set).
ORDER = ("U", "L", "M", "N", "R", "V")


_CERTAIN = b',"search":{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/match-grade","valueCode":"certain"}],"mode":"match","score":1}}'


@lru_cache(maxsize=4096)
def security(labels: tuple[str, ...]) -> bytes:
    """``meta.security`` of a resource as ready JSON: confidentiality first, then sensitivity, each as a Coding."""
    ordered = sorted(labels, key=lambda code: (code not in ORDER, code))
    return json.dumps([{"system": CONFIDENTIALITY if code in ORDER else ACT_CODE, "code": code} for code in ordered], separators=(",", ":")).encode()


def high_water(labels: Sequence[tuple[str, ...]]) -> str:
    """The highest confidentiality among the entries; N where there are none."""
    return max((code for one in labels for code in one if code in ORDER), key=ORDER.index, default="N")


_MATCH = b',"search":{"mode":"match"}}'


def each_entry(base_url: str, resources: Sequence[tuple[str, str, bytes]], end: bytes = _MATCH) -> list[bytes]:
    """The entries of a Bundle; those of a searchset unless ``end`` says otherwise."""
    prefix = b'{"fullUrl":"' + base_url.encode() + b"/fhir/"
    return [b"".join((prefix, name.encode(), b"/", one.encode(), b'","resource":', body, end)) for name, one, body in resources]


def bodies(base_url: str, names: Sequence[tuple[str, str]], written: Sequence[bytes]) -> list[bytes]:
    """The resources in entries of a searchset: what was given to :func:`each_entry`, whose type and id are ``names``."""
    before = len(b'{"fullUrl":"' + base_url.encode() + b'/fhir//","resource":')
    return [one[before + len(name) + len(own) : -len(_MATCH)] for (name, own), one in zip(names, written, strict=True)]


def assemble(
    *,
    release: UUID,
    kind: str,
    base_url: str,
    at: datetime,
    resources: Sequence[tuple[str, str, bytes]],
    labels: Sequence[tuple[str, ...]],
    obligations: Sequence[Mapping[str, object]],
    links: Mapping[str, str],
    total: int | None,
    certain: bool = False,
    prepared: bytes | None = None,
) -> bytes:
    """A Bundle (R4 bundle.html) of ``kind`` ``collection`` or ``searchset``.

    ``resources`` are (type, id, JSON bytes). The bundle's own labels are the highest confidentiality of its entries and the
    obligations (HL7 DS4P), so that what the recipient must do travels with the data. ``certain``: the entry is the one patient that
    ``$match`` found (R4 patient-operation-match). ``prepared``: entries of a searchset joined by commas, instead of resources.
    """
    marks = [{"system": CONFIDENTIALITY, "code": high_water(labels)}, *({"system": ACT_CODE, "code": str(one["code"])} for one in obligations)]
    head: dict[str, object] = {
        "resourceType": "Bundle",
        "id": str(release),
        "meta": {"security": marks},
        "type": kind,
        "timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    if total is not None:
        head["total"] = total
    if links:
        head["link"] = [{"relation": relation, "url": url} for relation, url in links.items()]
    opened = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()[:-1]
    if prepared is None:
        prepared = b",".join(each_entry(base_url, resources, b"}" if kind != "searchset" else _CERTAIN if certain else _MATCH))
    if not prepared:
        return opened + b"}"  # An empty array is not valid FHIR JSON.
    return b"".join((opened, b',"entry":[', prepared, b"]}"))
