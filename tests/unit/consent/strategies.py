"""Random consents and resources, as FHIR JSON: small vocabularies, so that conditions often meet."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import strategies as st

from tests.unit.consent.slow_evaluator import ACT, CONF, REASON

PURPOSES = ["TREAT", "ETREAT", "BTG", "COC", "HPAYMT", "HRESCH", "CLINTRCHPC", "PurposeOfUse"]
ACTORS = ["Organization/a", "Organization/b", "Practitioner/c"]
#: By their first moments.
DAYS = ["2024", "2024-03", "2024-03-10", "2024-03-10T12:00:00Z", "2025", "2025-06-01T00:00:00+08:00", "2025-06-01", "2026-01-31"]
LABELS = [(CONF, code) for code in "ULMNRV"] + [(ACT, code) for code in ("HIV", "SEX", "PSY", "MH", "SUD", "ETHUD", "SPI")]
CODES = [("http://loinc.org", "4548-4"), ("http://loinc.org", "2160-0"), ("http://snomed.info/sct", "38341003")]
RESOURCES = ["Observation/o1", "Observation/o2", "Condition/c1", "Encounter/e1", "Encounter/e2", "Practitioner/c"]
TIMES = [
    datetime(2024, 3, 10, 12, tzinfo=UTC),
    datetime(2025, 5, 31, 20, tzinfo=UTC),
    datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC),
    datetime(2026, 11, 1, tzinfo=UTC),
]


def coding(pair):
    return {"system": pair[0], "code": pair[1]}


def concept(pair):
    return {"coding": [coding(pair)]}


def some(values, most=2):
    return st.lists(st.sampled_from(values), min_size=1, max_size=most, unique=True)


@st.composite
def periods(draw):
    first, last = sorted(draw(st.tuples(st.integers(0, len(DAYS) - 1), st.integers(0, len(DAYS) - 1))))
    if draw(st.integers(0, 40)) == 40:
        first, last = last, first  # May end before it starts.
    value = {"start": DAYS[first], "end": DAYS[last]}
    kind = draw(st.sampled_from(["both", "start", "end"]))
    return value if kind == "both" else {kind: value[kind]}


@st.composite
def actor_lists(draw):
    role = draw(st.sampled_from(["IRCP", "IRCP", "PRCP"]))
    system = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
    return [{"role": concept((system, role)), "reference": {"reference": one}} for one in draw(some(ACTORS))]


ELEMENTS = {
    "period": periods(),
    "actor": actor_lists(),
    "action": some(["access", "disclose", "use", "correct"]).map(
        lambda codes: [concept(("http://terminology.hl7.org/CodeSystem/consentaction", code)) for code in codes]
    ),
    "purpose": some(PURPOSES).map(lambda codes: [coding((REASON, code)) for code in codes]),
    "securityLabel": some(LABELS).map(lambda pairs: [coding(pair) for pair in pairs]),
    "class": some(["Observation", "Condition", "Encounter"]).map(
        lambda names: [coding(("http://hl7.org/fhir/resource-types", name)) for name in names]
    ),
    "code": some(CODES).map(lambda pairs: [concept(pair) for pair in pairs]),
    "dataPeriod": periods(),
    "data": some([(meaning, name) for meaning in ("instance", "related", "dependents", "authoredby") for name in RESOURCES]).map(
        lambda pairs: [{"meaning": meaning, "reference": {"reference": name}} for meaning, name in pairs]
    ),
}
#: Weights: labels decide most cases in practice, and most of the trouble.
NAMES = [*ELEMENTS, "securityLabel", "securityLabel", "actor", "purpose", "class"]


@st.composite
def provisions(draw, depth, *, typed=None, root=False):
    fewest = 0 if root or typed or draw(st.integers(0, 60)) == 60 else 1  # FHIR has no empty elements, so an empty provision is not understood.
    raw = {name: draw(ELEMENTS[name]) for name in draw(st.lists(st.sampled_from(NAMES), min_size=fewest, max_size=2, unique=True))}
    if typed if root else draw(st.booleans()) if typed is None else typed:
        raw["type"] = draw(st.sampled_from(["permit", "deny"]))
    if depth > 0:
        inner = draw(st.lists(provisions(depth - 1, typed=typed if not root else None), max_size=3 if root else 2))
        if inner:
            raw["provision"] = inner
    return raw


@st.composite
def consents(draw, number=0):
    dialect = draw(st.sampled_from(["typed", "typed", "typed", "typed", "untyped", "r5"]))
    consent = {
        "resourceType": "Consent",
        "id": f"c{number}",
        "status": draw(st.sampled_from(["active"] * 30 + ["inactive"])),
        "category": [concept(("http://loinc.org", "59284-0"))],
    }
    if draw(st.integers(0, 3)) == 3:
        consent["identifier"] = [{"system": "urn:example", "value": "one"}]
    issued = draw(st.sampled_from([None, "2024-01-01", "2024-06-01"]))
    whose = {"reference": draw(st.sampled_from(["Patient/p"] * 30 + ["Patient/other"]))}
    if dialect == "r5":
        consent |= {"subject": whose, "decision": draw(st.sampled_from(["permit", "deny"]))}
        inner = [_untyped(one) for one in draw(st.lists(provisions(2, typed=False), max_size=3))]
        if [one for one in inner if one]:
            consent["provision"] = [one for one in inner if one]
        if draw(st.booleans()):
            consent["period"] = draw(periods())
        return consent | ({"date": issued} if issued else {})
    scope = draw(st.sampled_from(["patient-privacy"] * 20 + ["research", "treatment"]))
    consent |= {"patient": whose, "scope": concept(("http://terminology.hl7.org/CodeSystem/consentscope", scope))}
    root = draw(provisions(3, typed=dialect == "typed", root=True))
    if dialect == "untyped":
        consent["policyRule"] = concept((ACT, draw(st.sampled_from(["OPTIN", "OPTOUT", "IMPLIED", "EMRGONLY"]))))
    if root:
        consent["provision"] = root
    if draw(st.integers(0, 60)) == 60:
        consent["modifierExtension"] = [{"url": "http://example.org/not", "valueBoolean": True}]
    return consent | ({"dateTime": issued} if issued else {})


def _untyped(raw):
    """R5 has no types, and calls class resourceType."""
    found = {key: value for key, value in raw.items() if key not in ("type", "class", "provision")}
    inner = [one for one in map(_untyped, raw.get("provision", [])) if one]
    return found | ({"provision": inner} if inner else {})


@st.composite
def resources(draw):
    name = draw(st.sampled_from(["Observation/o1", "Observation/o2", "Condition/c1", "Encounter/e1", "Patient/p"]))
    kind, _, number = name.partition("/")
    labels = draw(
        st.lists(st.sampled_from([*LABELS, (ACT, "MENCAT")]), min_size=draw(st.sampled_from([0, 1, 1, 1, 1, 1, 2, 2])), max_size=3, unique=True)
    )
    meta = {"security": [coding(pair) for pair in labels]} if labels else {}
    if draw(st.booleans()):
        meta["lastUpdated"] = draw(st.sampled_from(DAYS[3:4] + DAYS[5:6]))
    resource = {"resourceType": kind, "id": number} | ({"meta": meta} if meta else {})
    if kind != "Patient":
        resource["subject"] = {"reference": draw(st.sampled_from(["Patient/p"] * 30 + ["Patient/other"]))}
    if kind in ("Observation", "Condition"):
        resource["code"] = concept(draw(st.sampled_from(CODES)))
        resource |= draw(st.sampled_from([{}, {"encounter": {"reference": "Encounter/e1"}}, {"encounter": {"reference": "Encounter/e2"}}]))
        when = draw(st.sampled_from([None, *DAYS]))
        if when:
            resource["effectiveDateTime" if kind == "Observation" else "onsetDateTime"] = when
    if kind == "Observation":
        resource |= draw(st.sampled_from([{}, {"performer": [{"reference": "Practitioner/c"}]}]))
    return resource


questions = st.tuples(st.lists(st.sampled_from(ACTORS), min_size=1, max_size=2, unique=True), st.sampled_from(PURPOSES[:-1]), st.sampled_from(TIMES))


@st.composite
def several_consents(draw):
    return [draw(consents(number)) for number in range(draw(st.sampled_from([1, 1, 1, 2, 3])))]
