"""What is asked for and what is agreed, as plain values: the same form before and after approval. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from hashlib import sha256
from typing import Any
from uuid import UUID

from broker.policy.facts import RequestFacts


def day_start(day: date, zone: tzinfo = UTC) -> datetime:
    """The first moment of a day, in UTC. Days of records are UTC days, as their dates are read; days of people are days of the house."""
    return datetime.combine(day, time.min, zone).astimezone(UTC)


def day_end(day: date, zone: tzinfo = UTC) -> datetime:
    """The first moment after a day, in UTC: a grant that is valid until a day is valid through it."""
    return day_start(day + timedelta(days=1), zone)


@dataclass(frozen=True)
class Item:
    """One line of the data asked for: a data class or a resource type, perhaps cut to elements and codes.

    Empty ``elements`` or ``codes`` mean all that policy allows, so cutting the last one is not a way to say nothing.
    """

    data_class: str | None = None
    resource_type: str | None = None
    elements: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Item:
        """From the posted form."""
        return cls(data.get("data_class"), data.get("resource_type"), tuple(data.get("elements") or ()), tuple(data.get("codes") or ()))

    def to_json(self) -> dict[str, Any]:
        """The posted form again, absent fields absent: what policy judges."""
        line: dict[str, Any] = {"data_class": self.data_class} if self.data_class else {"resource_type": self.resource_type}
        if self.elements:
            line["elements"] = list(self.elements)
        if self.codes:
            line["codes"] = list(self.codes)
        return line


@dataclass(frozen=True)
class Terms:
    """The terms of an application or grant, without the patients, who are listed apart under their blinded keys."""

    purpose: str
    lawful_basis: str
    recipient: str
    data: tuple[Item, ...]
    valid_until: date
    period_start: date | None = None
    period_end: date | None = None
    channel: str = "api"
    urgency: str = "routine"
    retention_days: int | None = None
    releases_limit: int | None = None
    justified: bool = False
    frequency: tuple[int, int] | None = None  #: so many releases within so many seconds
    emergency: bool = False  #: break-glass: no approval, judged by its own rules, reviewed afterwards

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Terms:
        """From a complete form or from a grant's stored terms. Raises KeyError or ValueError where something is missing."""
        period = data.get("period") or {}
        return cls(
            purpose=data["purpose"],
            lawful_basis=data["lawful_basis"],
            recipient=data["recipient"],
            data=tuple(Item.from_json(item) for item in data["data"]),
            valid_until=date.fromisoformat(data["valid_until"]),
            period_start=_day(period.get("start")),
            period_end=_day(period.get("end")),
            channel=data.get("channel") or "api",
            urgency=data.get("urgency") or "routine",
            retention_days=data.get("retention_days"),
            releases_limit=data.get("releases_limit"),
            justified=bool(data.get("justified")),
            frequency=(data["frequency"]["releases"], data["frequency"]["seconds"]) if data.get("frequency") else None,
            emergency=data.get("emergency") is True,
        )

    def to_json(self) -> dict[str, Any]:
        """JSON with every field, so that two equal terms have equal bytes."""
        return {
            "purpose": self.purpose,
            "lawful_basis": self.lawful_basis,
            "recipient": self.recipient,
            "data": [item.to_json() for item in self.data],
            "valid_until": self.valid_until.isoformat(),
            "period": {
                "start": self.period_start.isoformat() if self.period_start else None,
                "end": self.period_end.isoformat() if self.period_end else None,
            },
            "channel": self.channel,
            "urgency": self.urgency,
            "retention_days": self.retention_days,
            "releases_limit": self.releases_limit,
            "justified": self.justified,
            # Absent where there is none, so that what was approved before there were frequencies keeps its hash.
            **({"frequency": {"releases": self.frequency[0], "seconds": self.frequency[1]}} if self.frequency else {}),
            **({"emergency": True} if self.emergency else {}),
        }

    def request_facts(self) -> RequestFacts:
        """What policy is told of the request. The period's last second belongs to it."""
        return RequestFacts(
            purpose=self.purpose,
            lawful_basis=self.lawful_basis,
            data=tuple(item.to_json() for item in self.data),
            period_from=int(day_start(self.period_start).timestamp()) if self.period_start else None,
            period_until=int(day_end(self.period_end).timestamp()) - 1 if self.period_end else None,
            channel=self.channel,
            urgency=self.urgency,
            emergency=self.emergency,
            retention_days=self.retention_days,
            justification=self.justified,
        )


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def patients_digest(patients: Iterable[UUID]) -> str:
    """SHA-256 over the sorted blinded keys, hex."""
    return sha256(b"".join(sorted(patient.bytes for patient in patients))).hexdigest()


def content_hash(terms: Mapping[str, Any], patients: str) -> str:
    """SHA-256, hex, of the terms' JSON with sorted keys and of :func:`patients_digest`: what an approval is bound to.

    The terms hold strings, whole numbers, booleans and null only, for which sorted keys without spaces are the canonical
    form of RFC 8785.
    """
    canonical = json.dumps([terms, patients], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(canonical.encode()).hexdigest()
