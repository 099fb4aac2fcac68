"""The CapabilityStatement (R4 capabilitystatement.html): exactly what is served, so that clients ask for nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from fhir.resources.R4B.capabilitystatement import CapabilityStatement

from broker import __version__
from broker.consent import service as consent
from broker.release.filters import SEARCHABLE

_KINDS = {"code": "token", "token": "token", "date": "date"}
_OPERATIONS = {
    "everything": ("http://hl7.org/fhir/OperationDefinition/Patient-everything", "GET, with _type, _since, start, end and _count."),
    "export": (
        "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/patient-export",
        "Asynchronous, by GET or POST; all patients of the application.",
    ),
    "match": ("http://hl7.org/fhir/OperationDefinition/Patient-match", "Certain matches alone, and of patients of the application alone."),
}
_CONTROL = [
    {"name": "_id", "type": "token", "documentation": "One id."},
    {"name": "_lastUpdated", "type": "date"},
]
_SECURITY = (
    "SMART Backend Services: a token of /oauth2/token is bound to one approved application, and every call to that application's "
    "patients, data, purpose and time. Unknown, refused and withheld look the same."
)
_SEARCHING = (
    "GET and POST _search. One patient for each search, each parameter once, no modifiers. Besides the parameters listed here: _elements, "
    "_count (1 to 500), _total and _format=json. Any other parameter is refused with 400 whatever Prefer says."
)


def _resource(name: str) -> dict[str, Any]:
    own = [{"name": parameter, "type": _KINDS[looks.kind]} for parameter, looks in SEARCHABLE.get(name, {}).items()]
    patient = {"name": "patient", "type": "reference", "documentation": "Required: the one patient whose record is searched."}
    resource: dict[str, Any] = {
        "type": name,
        "documentation": _SEARCHING,
        "interaction": [{"code": "read"}, {"code": "search-type"}],
        "versioning": "no-version",
        "readHistory": False,
        "conditionalCreate": False,
        "conditionalRead": "not-match",
        "conditionalUpdate": False,
        "conditionalDelete": "not-supported",
        "searchParam": [*([] if name == "Patient" else [patient]), *_CONTROL, *own],
    }
    if name == "Patient":
        resource["operation"] = [{"name": operation, "definition": url, "documentation": told} for operation, (url, told) in _OPERATIONS.items()]
    return resource


_EXPORT = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/export"
#: The one thing that is served of a Group: an application's number names its patients.
_GROUP = {
    "type": "Group",
    "documentation": "The patients of an application, under its number.",
    "operation": [{"name": "export", "definition": "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/group-export"}],
}


@lru_cache(maxsize=4)
def statement(base_url: str, types: Iterable[str]) -> bytes:
    """The statement as JSON bytes, built and checked by fhir.resources (R4B; the same as R4 here)."""
    document = {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-11-23",
        "kind": "instance",
        "software": {"name": "Data-sharing broker", "version": __version__},
        "implementation": {
            "description": "Releases permitted resources under approved applications 按已批准的共享申请释放数据",
            "url": f"{base_url}/fhir",
        },
        "instantiates": ["http://hl7.org/fhir/uv/bulkdata/CapabilityStatement/bulk-data"],
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "rest": [
            {
                "mode": "server",
                "security": {
                    "cors": False,
                    "description": _SECURITY,
                    "service": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/restful-security-service", "code": "SMART-on-FHIR"}]}],
                    "extension": [
                        {
                            "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
                            "extension": [{"url": name, "valueUri": f"{base_url}/oauth2/{name}"} for name in ("authorize", "token")],
                        }
                    ],
                },
                "resource": [*(_resource(name) for name in types), _GROUP, *consent.capability()],
                "operation": [{"name": "export", "definition": _EXPORT}],
            }
        ],
    }
    return CapabilityStatement.model_validate(document).model_dump_json(exclude_none=True).encode()
