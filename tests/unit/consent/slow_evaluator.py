"""A second evaluator of consents, written from the eight rules alone, over raw FHIR JSON. It shares no code with the broker.

It is slow and says things twice on purpose: every question walks the JSON again. Rules are numbered as in
docs/decisions/0008-consent-rules.md. Whatever it meets that it was not told about makes the consent one that denies.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

LADDER = "ULMNRV"
CONF = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"

#: Written down from the pages of the code systems, only so far as the tests ask.
ABOVE = {
    "BTG": "ETREAT", "ERTREAT": "ETREAT", "ETREAT": "TREAT", "COC": "TREAT", "TREAT": "PurposeOfUse",
    "CLINTRCH": "HRESCH", "CLINTRCHPC": "CLINTRCH", "HRESCH": "PurposeOfUse", "HPAYMT": "PurposeOfUse", "PurposeOfUse": None,
    "ETHUD": "SUD", "OPIOIDUD": "SUD", "SUD": "SPI", "PSY": "SPI", "MH": "SPI", "HIV": None, "SEX": None, "SPI": None,
}  # fmt: skip

IN_PROVISION = {"type", "period", "actor", "action", "securityLabel", "purpose", "class", "code", "dataPeriod", "data", "provision"}
IN_CONSENT = {
    "resourceType",
    "id",
    "identifier",
    "status",
    "scope",
    "category",
    "patient",
    "dateTime",
    "policyRule",
    "policy",
    "provision",
    "organization",
    "meta",
    "text",
}


class NotUnderstood(Exception):
    pass


def and_above(code):
    found = [code]
    while ABOVE.get(found[-1]):
        found.append(ABOVE[found[-1]])
    return found


def moments(text):
    """Earliest and latest moment of a date or dateTime."""
    try:
        if "T" in text:
            at = datetime.fromisoformat(text)
            if at.tzinfo is None:
                raise NotUnderstood
            return at, at
        parts = [int(part) for part in text.split("-")]
        first = datetime(*[*parts, 1, 1][:3], tzinfo=UTC)
        if len(parts) == 3:
            after = first + timedelta(days=1)
        elif len(parts) == 2:
            after = (first + timedelta(days=32)).replace(day=1)
        else:
            after = first.replace(year=first.year + 1)
        return first, after - timedelta(seconds=1)
    except (ValueError, TypeError, AttributeError) as error:
        raise NotUnderstood from error


def period(value):
    start = moments(value["start"])[0] if "start" in value else datetime.min.replace(tzinfo=UTC)
    end = moments(value["end"])[1] if "end" in value else datetime.max.replace(tzinfo=UTC)
    if start > end or not set(value) <= {"start", "end"} or not value:
        raise NotUnderstood
    return start, end


def everything_under(value):
    yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from everything_under(inner)


def check(consent):
    """Rule 8: raise NotUnderstood where anything stands that rules don't know."""
    for part in everything_under(consent):
        if isinstance(part, dict) and ("modifierExtension" in part or part in ({}, [])):
            raise NotUnderstood
    allowed = (
        IN_CONSENT
        if "decision" not in consent
        else IN_CONSENT - {"patient", "scope", "dateTime", "policyRule"} | {"subject", "date", "period", "decision"}
    )
    if not set(consent) <= allowed:
        raise NotUnderstood
    root = consent.get("provision", {})
    if "dateTime" in consent:
        moments(consent["dateTime"])
    for provision in root if isinstance(root, list) else [root] if root else []:
        check_provision(provision)


def check_provision(provision):
    if not set(provision) <= IN_PROVISION or provision.get("type", "deny") not in ("permit", "deny"):
        raise NotUnderstood
    for name in ("period", "dataPeriod"):
        if name in provision:
            period(provision[name])
    for actor in provision.get("actor", []):
        kind, _, name = actor["reference"].get("reference", "").partition("/")
        if kind not in ("Organization", "Practitioner") or not name or actor["role"]["coding"][0]["code"] not in ("IRCP", "PRCP"):
            raise NotUnderstood
    for coding in provision.get("securityLabel", []):
        if not ((coding["system"] == CONF and coding["code"] in LADDER) or (coding["system"] == ACT and coding["code"] in ABOVE)):
            raise NotUnderstood
    for coding in provision.get("purpose", []):
        if coding["system"] != REASON or coding["code"] not in ABOVE:
            raise NotUnderstood
    for coding in provision.get("class", []):
        if coding["system"] != "http://hl7.org/fhir/resource-types":
            raise NotUnderstood
    for inner in provision.get("provision", []):
        check_provision(inner)


def base_of(consent):
    """Rule 2."""
    if "decision" in consent:
        return consent["decision"]
    if "type" in consent.get("provision", {}):
        return consent["provision"]["type"]
    for coding in consent.get("policyRule", {}).get("coding", []):
        if coding["code"].startswith(("OPTIN", "IMPLIED")):
            return "permit"
        if coding["code"].startswith(("OPTOUT", "EMRGONLY")):
            return "deny"
    raise NotUnderstood


def untyped_root_is_clear(consent):
    """Rule 2, untyped roots: a root with conditions must be the frame for sure."""
    root = consent.get("provision", {})
    if "decision" in consent or "type" in root or not set(root) - {"period", "provision"}:
        return True
    base = base_of(consent)
    if any(inner.get("type", base) != base for inner in root.get("provision", [])):
        return True
    return bool(root.get("actor")) and all(actor["role"]["coding"][0]["code"] == "IRCP" for actor in root["actor"])


def level_of(labels):
    rungs = [LADDER.index(code) for system, code in labels if system == CONF]
    return max(rungs) if rungs else None


def label_covered(kind, provision, labels):
    """Rule 5."""
    for coding in provision["securityLabel"]:
        if coding["system"] == ACT:
            if any(coding["code"] in and_above(code) for system, code in labels if system == ACT and code in ABOVE):
                return True
            if kind == "deny" and any(system == ACT and code not in ABOVE for system, code in labels):
                return True
        else:
            rung, height = LADDER.index(coding["code"]), level_of(labels)
            if kind == "permit" and height is not None and height <= rung:
                return True
            if kind == "deny" and (height is None or height >= rung):
                return True
    return False


def purpose_covered(kind, provision, purpose):
    """Rule 5."""
    for coding in provision["purpose"]:
        if coding["code"] in and_above(purpose) and not (kind == "permit" and purpose == "BTG" and coding["code"] in ("TREAT", "PurposeOfUse")):
            return True
    return False


def about(provision, resource, question):
    """``data``."""
    me = f"{resource['resourceType']}/{resource['id']}"
    refers = {part["reference"] for part in everything_under(resource) if isinstance(part, dict) and isinstance(part.get("reference"), str)}
    for datum in provision["data"]:
        named, meaning = datum["reference"]["reference"], datum["meaning"]
        if meaning != "authoredby" and named == me:
            return True
        if meaning == "authoredby" and named in {author["reference"] for author in resource.get("performer", [])}:
            return True
        belongs = meaning == "dependents" or (meaning == "related" and question["typed"] and named.startswith("Encounter/"))
        if belongs and named in refers:
            return True
        if meaning == "related" and not belongs and question["kind"] == "deny":  # What it refers to isn't known here.
            return True
    return False


def matches(provision, kind, question):
    """All elements of one provision hold."""
    resource, at = question["resource"], question["at"]
    if "period" in provision and not question.get("is_root"):
        start, end = period(provision["period"])
        if not start <= at <= end:
            return False
    if "actor" in provision and not {actor["reference"]["reference"] for actor in provision["actor"]} & set(question["actors"]):
        return False
    if "action" in provision:
        asked = {coding["code"] for concept in provision["action"] for coding in concept["coding"]}
        if not asked & ({"access", "disclose"} if kind == "permit" else {"access", "disclose", "use", "collect"}):
            return False
    if "purpose" in provision and not purpose_covered(kind, provision, question["purpose"]):
        return False
    if "securityLabel" in provision and not label_covered(kind, provision, question["labels"]):
        return False
    if "class" in provision and resource["resourceType"] not in {coding["code"] for coding in provision["class"]}:
        return False
    if "code" in provision:
        asked = {(coding["system"], coding["code"]) for concept in provision["code"] for coding in concept["coding"]}
        inside = {
            (part["system"], part["code"])
            for key, value in resource.items()
            if key != "meta"
            for part in everything_under(value)
            if isinstance(part, dict) and "system" in part and "code" in part
        }
        if not asked & inside:
            return False
    if "dataPeriod" in provision:
        start, end = period(provision["dataPeriod"])
        given = resource.get("effectiveDateTime") or resource.get("onsetDateTime") or resource.get("meta", {}).get("lastUpdated")
        if given is None:
            return kind == "deny" and ("data" not in provision or about(provision, resource, question | {"kind": kind}))
        first, last = moments(given)
        if kind == "deny":
            last = datetime.max.replace(tzinfo=UTC) if "onsetDateTime" in resource else last
            if last < start or end < first:
                return False
        elif "onsetDateTime" in resource:
            if not start <= first <= end:  # It began within and lasts.
                return False
        elif not (start <= first and last <= end):
            return False
    return "data" not in provision or about(provision, resource, question | {"kind": kind})


def nested(provision):
    return provision if isinstance(provision, list) else provision.get("provision", [])


def walk(provision, kind, depth, question, counts):
    """(depth, kind, provision) of everything that counts below and including this provision (rules 3 and 4)."""
    found = [(depth, kind, provision)] if counts else []
    for inner in nested(provision):
        its_kind = inner.get("type") or ("deny" if kind == "permit" else "permit")
        its_own = matches(inner, its_kind, question) and (depth == 0 or counts)
        found += walk(inner, its_kind, depth + 1, question, its_own)
    return found


def decide(found):
    """Rule 4: the deepest wins, and of the deepest a denial."""
    if not found:
        return "silent"
    bottom = max(depth for depth, _, _ in found)
    return "deny" if any(kind == "deny" for depth, kind, _ in found if depth == bottom) else "permit"


def one_topic_at_a_time(labels):
    """Rule 6: the resource as if it were about one of its sensitive topics alone."""
    levels = [(system, code) for system, code in labels if system == CONF]
    topics = [(system, code) for system, code in labels if system != CONF]
    return [[*levels, topic] for topic in topics] or [levels]


def says(consent, question):
    """What one consent that speaks says."""
    root = consent.get("provision", {})
    kind = base_of(consent)
    holds = isinstance(root, list) or matches(root, kind, question | {"is_root": True})
    found = walk(root, kind, 0, question, holds)
    if decide(found) != "permit":
        return decide(found)
    for depth, effect, denial in found:
        if effect != "deny" or isinstance(denial, list) or "securityLabel" not in denial:
            continue
        for labels in one_topic_at_a_time(question["labels"]):
            if label_covered("deny", denial, labels):
                below = walk(denial, "deny", depth, question | {"labels": labels}, True)
                if decide(below) == "deny":
                    return "deny"
    return "permit"


def speaks(consent, question):
    """Rule 1. Raises NotUnderstood where the period can't be read."""
    if consent.get("status") != "active":
        return False
    scopes = {coding["code"] for coding in consent.get("scope", {}).get("coding", [])}
    if scopes <= {"adr", "treatment"} and scopes:
        return False
    if scopes == {"research"} and "HRESCH" not in and_above(question["purpose"]):
        return False
    patient = (consent.get("patient") or consent.get("subject") or {}).get("reference")
    resource = question["resource"]
    whose = f"Patient/{resource['id']}" if resource["resourceType"] == "Patient" else resource.get("subject", {}).get("reference")
    if patient is None or patient != whose:
        return False
    root = consent.get("provision", {})
    bound = consent.get("period") if "decision" in consent else root.get("period") if isinstance(root, dict) else None
    if bound is not None:
        start, end = period(bound)
        return start <= question["at"] <= end
    return True


def newer(one, other):
    dates = [consent.get("dateTime") or consent.get("date") for consent in (one, other)]
    return None not in dates and moments(dates[0])[0] > moments(dates[1])[1]


def understood(consent):
    """Rules 2 and 8."""
    try:
        check(consent)
        base_of(consent)
    except NotUnderstood:
        return False
    return untyped_root_is_clear(consent)


def is_replaced(consent, consents):
    """Rule 7."""
    mine = {(identifier["system"], identifier["value"]) for identifier in consent.get("identifier", [])}
    for other in consents:
        same_patient = (other.get("patient") or other.get("subject")) == (consent.get("patient") or consent.get("subject"))
        if other is not consent and same_patient and other.get("status") == "active" and understood(other) and not_about_care(other):
            theirs = {(identifier["system"], identifier["value"]) for identifier in other.get("identifier", [])}
            if mine & theirs and newer(other, consent):
                return True
    return False


def not_about_care(consent):
    """A consent to a treatment is refused when it is filed, so it replaces none about data."""
    return "treatment" not in {coding["code"] for coding in consent.get("scope", {}).get("coding", [])}


def evaluate(consents, resource, actors, purpose, at):
    """``permit``, ``deny`` or ``silent``: all eight rules. ``at`` is an aware datetime."""
    labels = [(coding["system"], coding["code"]) for coding in resource.get("meta", {}).get("security", [])]
    question = {"resource": resource, "actors": actors, "purpose": purpose, "at": at, "labels": labels}
    answers = []
    for consent in consents:
        if is_replaced(consent, consents):
            continue
        try:
            if not speaks(consent, question):
                continue
            if not understood(consent) or not labels:
                answers.append("deny")  # Rule 6: what has no label could not be given one.
                continue
            typed = "decision" not in consent and "type" in consent.get("provision", {})
            answers.append(says(consent, question | {"typed": typed}))
        except NotUnderstood:
            answers.append("deny")
    return "deny" if "deny" in answers else "permit" if "permit" in answers else "silent"
