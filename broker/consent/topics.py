"""A Subscription to changes of consents, as FHIR R4 with the R5 Subscriptions Backport writes it, read and answered. Pure.

Topic, channel and filters are those of HL7 FAST Scalable Consent Management. A notification never carries the consent itself: whoever
hears of a change reads the consent with their own credentials, and is asked again then whether they may.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from broker.consent import times
from broker.errors import Problem

TOPIC = "http://hl7.org/fhir/us/consent-management/SubscriptionTopic/FASTConsentSubscriptionTopic"
_BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-"
#: Filters of the topic; ``scope`` stands in FAST's topic, ``category`` in its text.
FILTERS = frozenset({"patientId", "organizationId", "actor", "status", "category", "scope"})
CONTENTS = ("empty", "id-only")
_FHIR_JSON = ("application/fhir+json", "application/json")

Filter = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Asked:
    """A subscription that can be served. A change counts if it meets every part of any filter; no filter: every change."""

    endpoint: str
    headers: tuple[tuple[str, str], ...]
    content: str
    filters: tuple[Filter, ...]
    until: int | None  #: epoch seconds


def read(value: Any, wrong_endpoint: str | None) -> Asked | tuple[Problem, ...]:
    """The subscription, or everything that is wrong with it. ``wrong_endpoint`` is what is wrong with its endpoint, from outside."""
    if not isinstance(value, dict) or value.get("resourceType") != "Subscription":
        return (Problem("Subscription", "not-a-subscription", "The body must be a FHIR R4 Subscription."),)
    found: list[Problem] = []
    channel = value.get("channel")
    channel = channel if isinstance(channel, dict) else {}
    if value.get("status") not in ("requested", "active"):
        found.append(Problem("Subscription.status", "status", "It must be requested."))
    if value.get("criteria") != TOPIC:
        found.append(Problem("Subscription.criteria", "unknown-topic", f"The topic must be {TOPIC}."))
    if channel.get("type") != "rest-hook":
        found.append(Problem("Subscription.channel.type", "unsupported-channel", "Only rest-hook is supported."))
    if channel.get("payload") not in _FHIR_JSON:
        found.append(Problem("Subscription.channel.payload", "unsupported-payload", "Only application/fhir+json is supported."))
    if wrong_endpoint is not None:
        found.append(Problem("Subscription.channel.endpoint", wrong_endpoint, "Nothing can be sent to this endpoint; use https."))
    content = _extension(channel.get("_payload"), "payload-content", "valueCode")
    if content not in (["empty"], ["id-only"]):
        found.append(Problem("Subscription.channel.payload", "unsupported-content", "The content must be empty or id-only."))
    filters, wrong = _filters(_extension(value.get("_criteria"), "filter-criteria", "valueString"))
    found += wrong
    headers = _headers(channel.get("header", []))
    if headers is None:
        found.append(Problem("Subscription.channel.header", "header", "A header must be written as Name: value, and not be one that we set."))
    until = times.read(value["end"]) if "end" in value else times.Span()
    if until is None:
        found.append(Problem("Subscription.end", "bad-date", "It must be a FHIR instant."))
    if found or headers is None or until is None:
        return tuple(found)
    return Asked(str(channel.get("endpoint")), headers, content[0], filters, until.end)


def _extension(element: Any, name: str, value: str) -> list[str]:
    """The values of a backport extension, which stands in the shadow of a primitive element or in an element."""
    listed = element.get("extension") if isinstance(element, dict) else None
    return [
        one[value] for one in (listed if isinstance(listed, list) else ())
        if isinstance(one, dict) and one.get("url") == _BACKPORT + name and isinstance(one.get(value), str)
    ]  # fmt: skip


def _filters(texts: list[str]) -> tuple[tuple[Filter, ...], list[Problem]]:
    found: list[Filter] = []
    wrong: list[Problem] = []
    for text in texts:
        parts = tuple(parse_qsl(text.removeprefix("Consent?"), keep_blank_values=True))
        if not parts or len(text) > 1000 or any(name not in FILTERS or not value for name, value in parts):
            wrong.append(Problem("Subscription.criteria", "unsupported-filter", f"Filters are {', '.join(sorted(FILTERS))}, with eq only."))
        found.append(parts)
    return tuple(found), wrong


def _headers(given: Any) -> tuple[tuple[str, str], ...] | None:
    found = []
    for one in given if isinstance(given, list) else [None]:
        name, colon, value = one.partition(":") if isinstance(one, str) else ("", "", "")
        plain = name.isascii() and name.replace("-", "").isalnum() and all(32 <= ord(char) < 127 for char in value)
        if not colon or not plain or name.lower() in ("host", "content-type", "content-length", "transfer-encoding", "connection", "user-agent"):
            return None
        found.append((name, value.strip()))
    return tuple(found) if len(found) <= 10 else None


def status(base: str, subscription: str, *, state: str, kind: str, count: int, event: tuple[int, datetime, str | None] | None) -> dict[str, Any]:
    """The SubscriptionStatus of the backport for R4: a Parameters resource. ``event``: its number, moment, and the consent, if told."""
    parameters: list[dict[str, Any]] = [
        {"name": "subscription", "valueReference": {"reference": f"{base}/fhir/Subscription/{subscription}"}},
        {"name": "topic", "valueCanonical": TOPIC},
        {"name": "status", "valueCode": state},
        {"name": "type", "valueCode": kind},
        {"name": "events-since-subscription-start", "valueString": str(count)},
    ]
    if event is not None:
        number, at, consent = event
        part: list[dict[str, Any]] = [
            {"name": "event-number", "valueString": str(number)},
            {"name": "timestamp", "valueInstant": at.isoformat(timespec="milliseconds")},
        ]
        if consent is not None:
            part.append({"name": "focus", "valueReference": {"reference": f"{base}/fhir/Consent/{consent}"}})
        parameters.append({"name": "notification-event", "part": part})
    return {"resourceType": "Parameters", "parameter": parameters}


def notification(content: Mapping[str, Any], *, at: datetime, url: str) -> dict[str, Any]:
    """The Bundle that is sent: a history whose one entry is the status."""
    entry = {"fullUrl": url, "resource": content, "request": {"method": "GET", "url": url}, "response": {"status": "200"}}
    return {"resourceType": "Bundle", "type": "history", "timestamp": at.isoformat(timespec="milliseconds"), "entry": [entry]}
