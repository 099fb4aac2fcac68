"""What a released resource may look like, as a JSON Schema: the checker's own reading of the plan and of the R4 definitions.

Written apart from ``fhir.keeplist`` on purpose, and in another way: that file grows a tree of what to copy, this one asks of every path
that FHIR knows whether the plan lets it stand. Where the two disagree, nothing is sent. Nothing of the minimiser is imported.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from broker.fhir import definitions
from broker.fhir.plan import Transform, TypePlan

ID_PATTERN = r"^[A-Za-z0-9.\-]{1,64}$"

_WITHHELD_TYPES = ("Narrative", "Resource", "Extension", "Meta")
_ONLY_BY_NAME = ("Annotation", "Identifier", "Signature")
_PROSE = ("string", "markdown", "base64Binary", "xhtml")
_NOT_PROSE = frozenset(
    [f"Address.{name}" for name in ("text", "line", "city", "district", "state", "postalCode", "country")]
    + [f"HumanName.{name}" for name in ("text", "family", "given", "prefix", "suffix")]
    + [f"{quantity}.unit" for quantity in ("Quantity", "Age", "Count", "Distance", "Duration")]
    + ["Annotation.text", "Coding.version", "Coding.display", "ContactPoint.value", "Identifier.value"]
    + ["Reference.reference", "SampledData.data"]
)
_HIDDEN_CHILDREN = frozenset({"Attachment.url", "Attachment.data", "Attachment.hash", "Attachment.title", "CodeableConcept.text"})
_HIDDEN_CHILDREN |= {"Reference.display", "Reference.identifier"}

#: What a date may look like after a transform, the coarsest first.
_FORMS = {
    "age_band 20": "^[0-9]{2}[02468]0$",
    "age_band 10": "^[0-9]{3}0$",
    "age_band 5": "^[0-9]{3}[05]$",
    "year": "^[0-9]{4}$",
    "month": "^[0-9]{4}(-[0-9]{2})?$",
}
_REGIONAL = ("use", "type", "city", "state", "country", "extension")
#: Texts that stay where text is dropped, since they are no prose: an amount's unit, an address of another resource, samples.
_UNWRITTEN = frozenset(
    [f"{quantity}.unit" for quantity in ("Quantity", "Age", "Count", "Distance", "Duration")]
    + ["Reference.reference", "Coding.version", "SampledData.data"]
)
_HIDDEN_PHONE = r"1[0-9]{2}\*{4}[0-9]{4}|\*{4}"
_HIDDEN_NAME = r"[\s\S]?\*\*"

_REASON = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
_NO_VALUE = {
    "type": "array",
    "minItems": 1,
    "maxItems": 1,
    "items": {"enum": [{"url": _REASON, "valueCode": reason} for reason in ("masked", "unknown")]},
}
_NO_PRIMITIVE = {"type": "object", "properties": {"extension": _NO_VALUE}, "required": ["extension"], "additionalProperties": False}

_CODING = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("system", "version", "code", "display")},
    "required": ["system", "code"],
    "additionalProperties": False,
}
_META = {
    "type": "object",
    "properties": {
        "versionId": {"type": "string", "pattern": ID_PATTERN},
        "lastUpdated": {"type": "string", "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9]{2}:[0-9]{2})$"},
        "security": {"type": "array", "minItems": 1, "items": _CODING},
        "tag": {"const": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}]},
    },
    "required": ["versionId", "lastUpdated", "security", "tag"],
    "additionalProperties": False,
}


#: How a resource begins as the broker writes it: its type and ``meta``, and nothing else.
OPENING = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"resourceType": {"type": "string"}, "meta": _META},
    "required": ["resourceType", "meta"],
    "additionalProperties": False,
}


def schema(resource_type: str, plan: TypePlan, *, pseudonymous: bool) -> dict[str, Any]:
    """The JSON Schema (2020-12) of everything that the plan lets leave of a type. The plan must have been compiled by ``fhir.minimise``."""
    return _Writer(plan, pseudonymous=pseudonymous).root(resource_type)


class _Writer:
    """Holds the plan's paths, and the schemas of elements that are defined by themselves (``$defs``)."""

    def __init__(self, plan: TypePlan, *, pseudonymous: bool) -> None:
        self.named = frozenset(plan.elements)
        self.above = frozenset(path[:at] for path in plan.elements for at, sign in enumerate(path) if sign == ".")
        self.transforms = plan.transforms
        self.reference = r"^[A-Z][A-Za-z]{1,40}/[A-Za-z0-9.\-]{1,64}$" if pseudonymous else r"^[^#?][^?]*$"
        self.defs: dict[str, Any] = {}
        self.open: set[str] = set()

    def root(self, resource_type: str) -> dict[str, Any]:
        elements = definitions.table()["types"][resource_type]["elements"]
        properties = self._properties(elements, ("",), "", resource_type, whole=False)
        properties["resourceType"] = {"const": resource_type}
        properties["id"] = {"type": "string", "pattern": ID_PATTERN}
        properties["meta"] = _META
        form = {"type": "object", "properties": properties, "required": ["resourceType", "id", "meta"], "additionalProperties": False}
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": self.defs, **form}

    def _properties(self, elements: Mapping[str, Any], spots: Collection[str], datatype: str, origin: str, *, whole: bool) -> dict[str, Any]:
        """``spots``: the paths by which a plan may speak of the object; ``whole``: whether the plan names it or something above it."""
        properties: dict[str, Any] = {}
        for base, raw in elements.items():
            if base in ("id", "extension", "modifierExtension", "implicitRules", "meta"):
                continue
            types = raw.get("types", ["BackboneElement"])
            spokesman = next((each for each in types if each not in definitions.primitives()), types[0])
            for given in types:
                name = base + given[:1].upper() + given[1:] if raw.get("choice") else base
                paths = [f"{spot}{each}" for spot in spots for each in dict.fromkeys((base, name))]
                exact = any(path in self.named for path in paths if path.rsplit(".", 1)[-1] == name)
                loose = (whole or any(path in self.named for path in paths)) and f"{datatype}.{base}" not in _HIDDEN_CHILDREN
                mandatory = raw["min"] > 0
                form = self._form(given, raw, paths, f"{datatype}.{base}", raw.get("same_as", f"{origin}.{base}"), exact=exact, loose=loose)
                if form is not None:
                    properties[name] = self._repeated(form, raw, paths)
                primitive = given in definitions.primitives()
                if primitive and ((mandatory and (form is not None or given == spokesman)) or (given == "instant" and self._coarseness(paths))):
                    properties[f"_{name}"] = _many(_NO_PRIMITIVE, raw)
                if form is None and mandatory and given == spokesman and not primitive:
                    properties[name] = _many(self._object(given, raw, ("-",), origin, whole=False), raw)
        return properties

    def _form(
        self, given: str, raw: Mapping[str, Any], paths: list[str], child: str, origin: str, *, exact: bool, loose: bool
    ) -> dict[str, Any] | None:
        """The schema of one value; None if it may not stand."""
        if given in _WITHHELD_TYPES or self._told("remove", paths):
            return None
        if given in definitions.primitives():
            if not exact and (not loose or (given in _PROSE and child not in _NOT_PROSE)):
                return None
            if given in _PROSE and child not in _UNWRITTEN and self._under("drop_text", paths):
                return None
            return self._leaf(given, paths, child)
        whole = exact or (loose and given not in _ONLY_BY_NAME)
        if not whole and self.above.isdisjoint(paths):
            return None
        form = self._object(given, raw, [f"{path}." for path in paths], origin, whole=whole)
        if given == "Annotation" and self._under("drop_text", paths):
            return None
        if self._told("mask", paths):
            form = _hidden(form)
        if self._told("region", paths):
            form = {**form, "properties": {name: each for name, each in form["properties"].items() if name in _REGIONAL}}
        return form

    def _object(self, given: str, raw: Mapping[str, Any], spots: Collection[str], origin: str, *, whole: bool) -> dict[str, Any]:
        own = _own_elements(raw)
        recurring = whole and bool(own) and self.above.isdisjoint(spot[:-1] for spot in spots)
        if recurring and origin in self.open:
            self.defs.setdefault(origin, {})
            return {"$ref": f"#/$defs/{origin}"}
        if recurring:
            self.open.add(origin)
        elements = own or definitions.table()["types"][given]["elements"]
        properties = self._properties(elements, spots, "" if own else given, origin if own else given, whole=whole)
        properties["extension"] = _NO_VALUE
        form = {"type": "object", "properties": properties, "minProperties": 1, "additionalProperties": False}
        if recurring:
            self.open.discard(origin)
            if origin in self.defs:
                self.defs[origin] = form
        return form

    def _leaf(self, given: str, paths: list[str], child: str) -> dict[str, Any] | None:
        if given == "boolean":
            return {"type": "boolean"}
        if given in ("decimal", "integer", "positiveInt", "unsignedInt"):
            sizes = [each.options["size"] for each in self._under("bucket", paths)]
            return {"type": "number"} | ({"multipleOf": sizes[-1]} if sizes else {})
        if child == "Reference.reference":
            return {"type": "string", "pattern": self.reference}
        coarse = self._coarseness(paths)
        if coarse and given in ("date", "dateTime", "instant"):
            return None if given == "instant" else {"type": "string", "pattern": _FORMS[coarse]}
        if self._told("mask", paths):
            return {"type": "string", "pattern": f"^({_HIDDEN_PHONE}|{_HIDDEN_NAME})$"}
        return {"type": "string"}

    def _coarseness(self, paths: Iterable[str]) -> str:
        """``year`` or ``month`` if a transform of this element or of one above it asks for that."""
        told = {f"age_band {each.options.get('years', 5)}" if each.do == "age_band" else each.do for path in paths for each in self._over(path)}
        return next((do for do in _FORMS if do in told), "")

    def _over(self, path: str) -> list[Transform]:
        """The transforms of an element and of those above it."""
        return [each for each in self.transforms if path == each.path or path.startswith(f"{each.path}.")]

    def _under(self, do: str, paths: Iterable[str]) -> list[Transform]:
        """The transforms of this name that reach an element, from itself or from above."""
        return [each for path in paths for each in self._over(path) if each.do == do]

    def _told(self, do: str, paths: Iterable[str]) -> bool:
        return any(each.do == do and each.path in paths for each in self.transforms)

    def _repeated(self, form: dict[str, Any], raw: Mapping[str, Any], paths: list[str]) -> dict[str, Any]:
        form = _many(form, raw)
        limits = [each.options.get("count", 1) for each in self.transforms if each.do == "keep_first" and each.path in paths]
        return {**form, "maxItems": min(limits)} if limits else form


def _own_elements(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """The elements of a backbone element, followed to where they are written; empty for datatypes."""
    while "same_as" in raw:
        head, *names = raw["same_as"].split(".")
        elements = definitions.table()["types"][head]["elements"]
        for name in names[:-1]:
            elements = elements[name]["elements"]
        raw = elements[names[-1]]
    own: Mapping[str, Any] = raw.get("elements", {})
    return own


def _many(form: dict[str, Any], raw: Mapping[str, Any]) -> dict[str, Any]:
    return form if raw["max"] == "1" else {"type": "array", "minItems": 1, "items": form}


def _hidden(form: dict[str, Any]) -> dict[str, Any]:
    """The schema of a HumanName or ContactPoint, its content masked."""
    shown = {
        "text": {"type": "string", "pattern": f"^{_HIDDEN_NAME}$"},
        "family": {"type": "string", "pattern": f"^{_HIDDEN_NAME}$"},
        "given": {"type": "array", "items": {"const": "**"}},
        "value": {"type": "string", "pattern": f"^({_HIDDEN_PHONE})$"},
    }
    properties = {name: shown.get(name, each) for name, each in form["properties"].items() if name not in ("prefix", "suffix")}
    return {**form, "properties": properties}
