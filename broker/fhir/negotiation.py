"""Which format a caller takes (R4 http.html#mime-type, RFC 9110 12.5.1). JSON of FHIR 4.0 is the one that is served."""

from __future__ import annotations

import re

_JSON = ("application/fhir+json", "application/json", "text/json")
_RANGES = ("*/*", "application/*")
_WEIGHT = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
#: What a browser asks for first; somebody who looks at a resource in one gets JSON.
_HTML = "text/html"


def takes_json(accept: str | None) -> bool:
    """Whether an Accept header lets FHIR R4 JSON through. Absent: anything is taken."""
    if accept is None or not accept.strip():
        return True
    named: dict[str, float] = {}
    for part in accept.lower().split(","):
        kind, *parameters = (one.strip() for one in part.split(";"))
        weight, version = 1.0, "4.0"
        for parameter in parameters:
            name, _, value = parameter.replace(" ", "").partition("=")
            if name == "q":
                weight = float(value) if _WEIGHT.fullmatch(value) else 0.0
            elif name == "fhirversion":
                version = value.strip('"')
        if version in ("4.0", "4.0.1") or kind not in (*_JSON, *_RANGES):
            named[kind] = max(weight, named.get(kind, 0.0))
    own = [named[kind] for kind in _JSON if kind in named]
    if own:
        return max(own) > 0
    return any(named.get(kind, 0.0) > 0 for kind in (*_RANGES, _HTML))


def sends_json(content_type: str | None) -> bool:
    """Whether a body says that it is JSON, or doesn't say what it is."""
    return content_type is None or content_type.partition(";")[0].strip().lower() in ("", *_JSON)


def strictly(prefer: str | None) -> bool:
    """Whether ``Prefer`` asks for strict handling (R4 search.html#handle), which is how every query is handled."""
    return any(one.strip().replace(" ", "").lower() == "handling=strict" for one in re.split("[,;]", prefer or ""))
