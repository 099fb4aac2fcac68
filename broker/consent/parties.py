"""Whom a consent means by a person, a role, a Group or a CareTeam, at the time of use. Pure.

A residual keeps the reference of such an actor. Before it is asked, each is answered for with what the records and the registry say now:
the stored resource, where people with an account work, who applied. Data are released to an organisation, to whose people it is then
open, at the request of one of its people. So a permit of a person speaks where that person applied, for an organisation in which they
work; a denial of a person speaks wherever they could come to see the data: they applied, or they work in the recipient, in a part of it, or
in what it is part of. What can't be told denies (rule 8; docs/decisions/0023).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from broker.consent import times
from broker.consent.codes import ROLES
from broker.consent.compiled import Residual
from broker.consent.provisions import codings
from broker.consent.references import canonical, canonical_uuid, token, tokens, type_of
from broker.consent.related import Related
from broker.consent.values import Effect, Use

TEAMS = frozenset({"Group", "CareTeam"})
#: Actors who are asked about at each use.
ASKED = TEAMS | {"Practitioner", "PractitionerRole"}
#: Teams that are looked up for one use, those within teams included, and people and roles; what a consent names beyond can't be told.
MAX_TEAMS = 20
MAX_PEOPLE = 100
#: Elements that narrow a role further than is understood here.
_NARROWER = frozenset({"specialty", "location", "healthcareService", "availableTime", "notAvailable", "modifierExtension"})

Resource = Mapping[str, Any]


@dataclass(frozen=True)
class Asker:
    """For whom a use is, and who asked for it."""

    recipient: str  #: organisation id
    requester: UUID | None = None  #: account of the person who applied; None: not known
    held: frozenset[str] = frozenset()  #: licences of that person that are in force (workforce.codes)


@dataclass(frozen=True)
class Known:
    """What is known at the moment of use of those whom consents name."""

    at: int
    resources: Mapping[str, Resource] = field(default_factory=dict)  #: stored resources by ``Type/id``
    accounts: Mapping[str, tuple[str, frozenset[str]]] = field(default_factory=dict)  #: account → natural person, where they work
    names: Mapping[str, tuple[str, frozenset[str]]] = field(default_factory=dict)  #: natural person → the same
    requester: tuple[str, frozenset[str]] | None = None
    roles: frozenset[str] = frozenset()  #: of the requester, as ``system|code``
    lineage: frozenset[str] = frozenset()  #: organisation ids: the recipient and what it is part of
    around: frozenset[str] = frozenset()  #: the lineage, and everything that is part of the recipient


@dataclass(frozen=True)
class Meant:
    """What an actor means for one use. ``whole``: everybody it names is known; else a denial of it could miss somebody."""

    permits: bool  #: a permit of this actor speaks of the use
    denies: bool  #: a denial of this actor speaks of the use
    whole: bool = True


NOBODY = Meant(permits=False, denies=False)
_SOMEBODY = Meant(permits=False, denies=False, whole=False)


def named(residuals: Iterable[Residual]) -> frozenset[str]:
    """The actors of any provision who are asked about."""
    actors = (actor for residual in residuals for one in residual.provisions for actor in one.when.actors or ())
    return frozenset(actor for actor in actors if type_of(actor) in ASKED)


def places_denied(residuals: Iterable[Residual]) -> frozenset[str]:
    """Organisations that a denial names."""
    denials = (one for residual in residuals for one in residual.provisions if one.effect is Effect.DENY)
    return frozenset(actor for one in denials for actor in one.when.actors or () if type_of(actor) == "Organization")


def within(resource: Resource) -> frozenset[str]:
    """Whom a stored resource names that is asked about in turn: the members of a team, who has a role."""
    entries = [one for element in ("participant", "member") for one in _objects(resource.get(element))]
    people = [one.get(member) for one in entries for member in ("member", "entity")] + [resource.get("practitioner")]
    found = {canonical(one.get("reference")) for one in people if isinstance(one, dict)}
    return frozenset(one for one in found if one is not None and type_of(one) in ASKED)


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def looked_up(wanted: Iterable[str]) -> Generator[str, Resource | None, dict[str, Resource]]:
    """Which resources to read, one at a time, each sent back as it is stored or as None; gives those that are there."""
    found: dict[str, Resource] = {}
    left = {True: MAX_TEAMS, False: MAX_PEOPLE}
    waiting, seen = sorted(wanted, key=lambda one: (type_of(one) not in TEAMS, one)), set[str]()
    while waiting:
        reference = waiting.pop(0)
        team = type_of(reference) in TEAMS
        if reference in seen or left[team] == 0:
            continue
        seen.add(reference)
        body = yield reference
        if body is not None:
            left[team] -= 1
            found[reference] = body
            waiting += sorted(within(body) - seen)
    return found


def accounts_of(wanted: Iterable[str]) -> frozenset[UUID]:
    """The accounts that references to Practitioners may name."""
    ids = (canonical_uuid(one.partition("/")[2]) for one in wanted if one.startswith("Practitioner/"))
    return frozenset(one for one in ids if one is not None)


def everybody(wanted: Iterable[str], resources: Mapping[str, Resource]) -> tuple[frozenset[UUID], frozenset[str]]:
    """The accounts and the natural persons that references and stored resources may name, to be looked for."""
    references = {*wanted, *(one for resource in resources.values() for one in within(resource))}
    names = {one for resource in resources.values() for one in _identified(resource)}
    return accounts_of(references), frozenset(names)


def _identified(resource: Resource) -> frozenset[str]:
    """The identifiers by which a stored resource tells who a person is."""
    practitioner = resource.get("practitioner")
    inner = token(practitioner.get("identifier")) if isinstance(practitioner, dict) else None
    own = tokens(resource.get("identifier")) if resource.get("resourceType") == "Practitioner" else frozenset[str]()
    return own | ({inner} if inner else frozenset())


def roles_of(held: Iterable[str]) -> frozenset[str]:
    """The roles, as ``system|code``, of somebody who holds these licences."""
    return frozenset(role for licence in held for role in ROLES.get(licence, ()))


def meant(reference: str, known: Known) -> Meant | None:
    """Whom an actor means, for the use of which this is known; None where that can't be told."""
    kind = type_of(reference)
    if kind == "Organization":
        return _organization(reference.partition("/")[2], known)
    if kind == "Practitioner":
        person = _person(reference, known)
        return None if person is None else _somebody(person, known)
    if kind == "PractitionerRole":
        role = known.resources.get(reference)
        return None if role is None else _role(role, known)
    return _team(reference, known) if kind in TEAMS else None


def _organization(name: str, known: Known) -> Meant:
    return Meant(permits=name in known.lineage, denies=name in known.around)


def _person(reference: str, known: Known) -> tuple[str, frozenset[str]] | None:
    """Who a reference to a Practitioner is: an account by its id, or somebody by an identifier of the stored resource."""
    account = known.accounts.get(reference.partition("/")[2])
    if account is not None:
        return account
    stored = known.resources.get(reference)
    found = {one for name in _identified(stored or {}) if (one := known.names.get(name)) is not None}
    return found.pop() if len(found) == 1 else None


def _somebody(person: tuple[str, frozenset[str]], known: Known) -> Meant:
    name, places = person
    asked = known.requester is not None and known.requester[0] == name
    return Meant(permits=asked and bool(places & known.lineage), denies=asked or bool(places & known.around))


def _role(role: Resource, known: Known) -> Meant | None:
    place, person = role.get("organization"), role.get("practitioner")
    where = canonical(place.get("reference")) if isinstance(place, dict) else None
    if "modifierExtension" in role or (place is not None and (where is None or not where.startswith("Organization/"))):
        return None
    here = None if where is None else _organization(where.partition("/")[2], known)
    span = times.read_period(role["period"]) if "period" in role else times.Span()
    current = role.get("active", True) is True and span is not None and span.holds(known.at)
    if person is None:
        return _anybody(role, here, known, current=current)
    found = _holder(person, known)
    if found is None:
        # Somebody without an account here never applies; where they work is what the role says.
        return None if here is None else Meant(permits=False, denies=here.denies)
    permits = found.permits and current and (here is None or here.permits)
    return Meant(permits=permits, denies=found.denies or (here is not None and here.denies))


def _holder(person: Any, known: Known) -> Meant | None:
    """Who has a role."""
    reference = canonical(person.get("reference")) if isinstance(person, dict) else None
    if reference is not None:
        return meant(reference, known) if type_of(reference) == "Practitioner" else None
    name = token(person.get("identifier")) if isinstance(person, dict) else None
    found = None if name is None else known.names.get(name)
    return None if found is None else _somebody(found, known)


def _anybody(role: Resource, here: Meant | None, known: Known, *, current: bool) -> Meant | None:
    """A role without a person: whoever has it. Whom it withholds data from can be told only where it names an organisation."""
    given = [codings(one) for one in _objects(role.get("code"))]
    codes = {f"{system}|{code}" for one in given for system, code in one or ()}
    understood = {code for codes_of in ROLES.values() for code in codes_of}
    if not given or any(one is None for one in given) or _NARROWER & role.keys() or not codes <= understood:
        return None
    works = known.requester is not None and bool(known.requester[1] & known.lineage)
    permits = current and works and bool(codes & known.roles) and (here is None or here.permits)
    return Meant(permits=permits, denies=here is None or here.denies, whole=here is not None)


def _team(reference: str, known: Known) -> Meant | None:
    """A Group or CareTeam by its members now. A patient among them receives nothing that they don't have."""
    listed = Related(known.resources.values(), at=known.at).actor({"reference": reference})
    if listed is None:
        return None
    members = [one for one in listed if type_of(one) not in TEAMS and type_of(one) != "Patient"]
    each = [meant(one, known) or _SOMEBODY for one in members]
    return Meant(any(one.permits for one in each), any(one.denies for one in each), all(one.whole for one in each))


def settled(residuals: Sequence[Residual], use: Use, known: Known) -> tuple[tuple[Residual, ...], Use]:
    """The residuals and the use once those whom they name are answered for.

    A consent that names somebody who can't be told denies, and so does one that denies somebody of whom not all is known.
    """
    told = {reference: meant(reference, known) for reference in named(residuals)}
    permits = {reference for reference, one in told.items() if one is not None and one.permits}
    denies = {reference for reference, one in told.items() if one is not None and one.denies}
    denies |= {f"Organization/{one}" for one in known.around}
    return tuple(_settled(one, told) for one in residuals), replace(use, actors=use.actors | permits, near=use.near | denies)


def _settled(residual: Residual, told: Mapping[str, Meant | None]) -> Residual:
    for provision in residual.provisions:
        for actor in (provision.when.actors or frozenset()) & told.keys():
            one = told[actor]
            if one is None or (provision.effect is Effect.DENY and not one.whole):
                return replace(residual, readable=False)
    return residual
