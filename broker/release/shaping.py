"""``_elements``: fewer of the elements that may leave, never others. Values are copied as they are, digit for digit.

Applied after reduction and consent, so that neither sees a resource with holes, and before the checker, which sees what is sent.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from broker.fhir import definitions

_read = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_write = msgspec.json.Encoder().encode

#: Elements that stand in every answer whatever was asked: what it is, its marks, and whose it is.
ALWAYS = frozenset({"resourceType", "id", "meta", "subject", "patient", "beneficiary"})


@lru_cache(maxsize=1024)
def names(resource_type: str, elements: tuple[str, ...]) -> frozenset[str]:
    """JSON names that stay: those asked for and those without which the resource is not valid (R4 search.html#elements)."""
    required = [name for name, raw in definitions.raw_elements(resource_type).items() if raw["min"] > 0]
    return ALWAYS.union(*(definitions.json_names(resource_type, name) for name in {*elements, *required} - ALWAYS))


def shaped(resource_type: str, body: bytes, elements: tuple[str, ...]) -> bytes:
    """The resource with these elements alone; as it is where none are named."""
    if not elements:
        return body
    kept = names(resource_type, elements)
    return _write({name: value for name, value in _read(body).items() if name in kept})
