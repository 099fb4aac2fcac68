"""What policy judges: one frozen document, the same for an assessment, a preview and a release.

``to_json`` gives the Rego ``input``; ``policies/input.schema.json`` describes it. Times are epoch seconds, since Rego never
parses a date. No clinical content is in it, and the patient is named by the blinded key alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal


@dataclass(frozen=True)
class RequestFacts:
    """What is asked. In a release these are the approved terms of the grant, never what the client says."""

    purpose: str  #: HL7 v3 PurposeOfUse code, such as TREAT.
    lawful_basis: str  #: A code of policies/data/lawful_bases.json, such as ``consent``.
    data: tuple[dict[str, Any], ...]  #: As posted: ``{"data_class": …}`` or ``{"resource_type": …, "elements": […], "codes": […]}``.
    period_from: int | None = None  #: Clinical data from this second on; None: as far back as the profile allows.
    period_until: int | None = None
    channel: str = "api"
    urgency: str = "routine"  #: routine, urgent or emergency
    emergency: bool = False  #: Break-glass: judged by its own required set.
    retention_days: int | None = None
    justification: bool = False  #: Whether a justification was given; never its text.


@dataclass(frozen=True)
class GrantFacts:
    """The agreed terms a release stands on. In an assessment ``status`` is ``proposed``."""

    id: str
    application: str
    status: str  #: proposed, active, suspended, revoked, expired, closed
    valid_from: int
    valid_until: int
    releases_used: int = 0
    releases_limit: int | None = None
    approved_by: int = 0  #: How many distinct people decided for it, the applicant never counted.


@dataclass(frozen=True)
class CallerFacts:
    """The client that calls, as its token says and the registry confirms. None in an assessment."""

    client: str
    organization: str
    status: str  #: active, suspended
    token_grant: str
    token_purpose: str
    types: tuple[str, ...]  #: Resource types its scopes allow to read; ``*`` for all.


@dataclass(frozen=True)
class RecipientFacts:
    """Who will hold the data."""

    id: str
    kind: str  #: hospital, department, laboratory, imaging, finance, quality, research, pharmacy, insurer, authority, nursing, infection_control
    relationship: str  #: internal or external
    status: str  #: active, suspended
    jurisdiction: str = "CN"  #: ISO 3166-1 alpha-2
    agreement_until: int | None = None  #: End of the data-sharing agreement; None: there is none.
    key_registered: bool = False


@dataclass(frozen=True)
class RequesterFacts:
    """The person who applied, so far as the registry of accounts knows them. What they are qualified for: :class:`WorkforceFacts`."""

    id: str
    roles: tuple[str, ...] = ()
    active: bool = True


@dataclass(frozen=True)
class WorkforceFacts:
    """What the registers of licences, scopes of practice and training say at this moment of the person who applied and their institution.

    The codes are those of policies/data/workforce.json. A profile names what it requires; whatever the registers themselves demand comes on
    top. What is neither held nor expired is missing. Facts without registers (``Facts.workforce`` None) deny wherever a profile requires any.
    """

    required: tuple[str, ...] = ()  #: What the registers demand of this person, whatever the profile says.
    held: tuple[str, ...] = ()  #: In force now.
    expired: tuple[str, ...] = ()  #: Held once and no longer: run out, suspended or withdrawn.
    valid_until: int | None = None  #: Nearest moment at which one that is held runs out or one that is expired may be renewed.


@dataclass(frozen=True)
class ResidencyFacts:
    """What has been shown for a transfer out of the mainland to this recipient (PIPL 38-41). None for recipients in the country."""

    route: str | None = None  #: A code of policies/data/transfer_routes.json, such as ``standard_contract``; None: none was shown.
    route_from: int | None = None  #: Since when the route is in force.
    route_until: int | None = None  #: Until when the route is in force; None: without end.
    impact_assessed: bool = False  #: A protection impact assessment is on record (PIPL 55-56).
    separate_consent: bool = False  #: The patient agreed to the transfer abroad separately (PIPL 39).
    foreign_authority: bool = False  #: The recipient is a judicial or law-enforcement body of another country (PIPL 41).
    authority_approved: bool = False  #: The competent authority approved giving data to that body.
    purposes: tuple[str, ...] = ()  #: For which the route was entered.
    classes: tuple[str, ...] = ()  #: Data classes for which it was entered, with those below them.
    persons: int = 0  #: Of whom data may leave by it, those of this grant or application with them; counted where there is a limit.
    persons_limit: int | None = None  #: None: without limit.
    #: Of whom data may leave the mainland this calendar year, all recipients together, these with them; None: not counted, which denies
    #: where a route has a yearly figure.
    year_persons: int | None = None

    def agreed(self, consent: ConsentFacts) -> ResidencyFacts:
        """The same with what the patient's consents say of leaving the country."""
        return replace(self, separate_consent="abroad" in consent.separate)


@dataclass(frozen=True)
class PatientFacts:
    """About whom."""

    key: str  #: Blinded key in hex.
    match: str  #: certain, probable, possible, none. Data leave on ``certain`` alone.
    in_grant: bool = False
    age: str = "unknown"  #: under_14, 14_to_17, adult or unknown, at this moment (``fhir.ages``); never the birth date.


@dataclass(frozen=True)
class ConsentFacts:
    """What the patient's consents in force say to this recipient for this purpose at this moment, as consent.rules judged."""

    base: Literal["permit", "deny", "silent"]
    refused: bool = False  #: An explicit refusal covers this use, whatever the lawful basis.
    unenforceable: bool = False  #: A consent that speaks could not be understood; it counts as a refusal.
    epoch: int = 0
    consents: tuple[str, ...] = ()
    valid_until: int | None = None  #: Nearest moment at which this answer may change.
    #: Who gave the consents that permit something here: patient, guardian (of a child), guardian-no-capacity, unknown; sorted.
    givers: tuple[str, ...] = ()
    #: Which separate consents (PIPL 23, 29, 39) each of them says: sensitive, other-processor, abroad; sorted.
    separate: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """Everything policy may know. ``question`` is ``assess`` before approval and ``release`` afterwards."""

    question: Literal["assess", "release"]
    at: int
    request: RequestFacts
    grant: GrantFacts
    recipient: RecipientFacts
    requester: RequesterFacts
    patient: PatientFacts
    consent: ConsentFacts
    caller: CallerFacts | None = None
    wanted_types: tuple[str, ...] = field(default=())  #: Types of this one call; empty: all that the grant allows.
    workforce: WorkforceFacts | None = None  #: None: no register was asked.
    residency: ResidencyFacts | None = None  #: None: nothing was shown for a transfer abroad.

    def to_json(self) -> dict[str, Any]:
        """The Rego input. Tuples become lists."""
        return asdict(self)
