"""The judgements about applications, as pure functions: ``check_x`` raises with the reason, ``can_x`` asks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from broker.applications.errors import FourEyes, NotNarrower, RecipientNotYours
from broker.applications.lifecycle import Part
from broker.applications.terms import Item, Terms
from broker.errors import BrokerError, Problem

#: Data class → the resource types that it reaches (``policy.service.Catalogue.types_of``).
TypesOf = Mapping[str, Collection[str]]

#: What must be filled in before an application can be submitted (``patients`` apart, which are not in the form).
REQUIRED = ("purpose", "lawful_basis", "recipient", "data", "valid_until", "justification")


@dataclass(frozen=True)
class Place:
    """An organisation or department as these rules need it."""

    id: str
    relationship: str  #: internal or external
    lineage: tuple[str, ...]  #: itself, what it belongs to, what that belongs to, … up to the root of its tree

    @property
    def root(self) -> str:
        """The organisation at the top of its tree."""
        return self.lineage[-1]


def check_recipient(home: Place, recipient: Place, *, applies: bool, manager: bool) -> None:
    """Who may apply for whom. Raises RecipientNotYours.

    Applicants of an outside organisation apply for it and its departments, the hospital's for their own department. The
    information manager may enter an application for an outside organisation, and then can't decide on it, being its
    requester (:func:`check_four_eyes`).
    """
    if applies and (recipient.id == home.id or (home.relationship == "external" and recipient.root == home.root)):
        return
    if manager and recipient.relationship == "external":
        return
    raise RecipientNotYours(problems=(Problem("/recipient", "recipient-not-yours", "The recipient is not one that you may apply for."),))


def can_apply_for(home: Place, recipient: Place, *, applies: bool, manager: bool) -> bool:
    """As :func:`check_recipient`."""
    return _holds(check_recipient, home, recipient, applies=applies, manager=manager)


def parts(
    *,
    is_requester: bool,
    head_of: Collection[str],
    manages: bool,
    requester_home: Place | None,
    recipient: Place | None,
    owners: Collection[Place] = (),
) -> frozenset[Part]:
    """In which parts somebody may act on an application.

    ``head_of``: the departments that they are head of. A head speaks for the requester's and the recipient's department and
    for what belongs to their own. ``manages``: whether they are information manager of the hospital itself; an outside
    organisation's information manager has no say here. ``owners``: the departments to which data that are asked for belong.
    """
    answerable = {one for place in (requester_home, recipient) if place for one in place.lineage}
    found = set()
    if is_requester:
        found.add(Part.REQUESTER)
    if not answerable.isdisjoint(head_of):
        found.add(Part.DEPARTMENT_HEAD)
    if any(not set(place.lineage).isdisjoint(head_of) for place in owners):
        found.add(Part.OWNING_HEAD)
    if recipient is not None and not set(recipient.lineage).isdisjoint(head_of):
        found.add(Part.RECIPIENT)
    if manages:
        found.add(Part.INFORMATION_MANAGER)
    return frozenset(found)


def check_four_eyes(steps: Mapping[str, str], actor: str) -> None:
    """``steps`` maps each step taken so far to the natural person behind it; ``actor`` must be none of them. Raises FourEyes.

    Accounts don't count: one person with two accounts is one person.
    """
    for step, person in steps.items():
        if person == actor:
            raise FourEyes(f"You already took this step: {step}.")


def owners_of(data: Collection[Mapping[str, Any]], owned: Mapping[str, str], types_of: TypesOf) -> dict[str, str]:
    """The departments to which these lines of data belong: owning organisation by the class that it owns.

    ``owned``: organisation by data class. A line touches an owned class where one contains the other, or where it names a resource
    type that the class reaches: in doubt a department is asked once too often.
    """
    found = {}
    for line in data:
        for code, organization in owned.items():
            asked = line.get("data_class")
            if asked is not None:
                touched = f"{asked}.".startswith(f"{code}.") or f"{code}.".startswith(f"{asked}.")
            else:
                touched = line.get("resource_type") in types_of.get(code, ())
            if touched:
                found[code] = organization
    return found


def steps_needed(*, owners: Collection[str], reviews: bool) -> tuple[str, ...]:
    """What an application needs besides endorsement before it can be approved, sorted: ``agree:<department>``, ``legality``, ``necessity``."""
    return tuple(sorted({f"agree:{owner}" for owner in owners} | ({"legality", "necessity"} if reviews else set())))


def deadline(submitted: datetime, hours: int, *, endorsed: bool) -> datetime:
    """By when the next step is to be taken (RS-5.2.4): the head has half of the time, the decision all of it."""
    return submitted + timedelta(hours=hours if endorsed else hours / 2)


def can_decide(steps: Mapping[str, str], actor: str) -> bool:
    """As :func:`check_four_eyes`."""
    return _holds(check_four_eyes, steps, actor)


def form_problems(
    form: Mapping[str, Any],
    *,
    patients: int,
    data_classes: Collection[str],
    purposes: Collection[str] | None = None,
    lawful_bases: Collection[str] | None = None,
    today: date,
) -> tuple[Problem, ...]:
    """Everything that keeps a form from being submitted, each with its place; empty if nothing does.

    ``purposes`` and ``lawful_bases`` are the known codes; where they are None, policy alone judges the codes.
    """
    found = [Problem(f"/{name}", "required", "This field must be filled in.") for name in REQUIRED if not form.get(name)]
    if not patients:
        found.append(Problem("/patients", "required", "At least one patient must be named."))
    for position, item in enumerate(form.get("data") or ()):
        code = item.get("data_class")
        if code is not None and code not in data_classes:
            found.append(Problem(f"/data/{position}/data_class", "unknown", "There is no such data class."))
    for name, known in (("purpose", purposes), ("lawful_basis", lawful_bases)):
        if form.get(name) and known is not None and form[name] not in known:
            found.append(Problem(f"/{name}", "unknown", "There is no such code."))
    period = form.get("period") or {}
    if period.get("start") and period.get("end") and period["start"] > period["end"]:
        found.append(Problem("/period", "order", "The period ends before it begins."))
    valid_until = form.get("valid_until")
    if valid_until and date.fromisoformat(valid_until) < today:
        found.append(Problem("/valid_until", "past", "The last day of validity has passed."))
    return tuple(found)


def duplicates(tokens: Sequence[object]) -> tuple[Problem, ...]:
    """Patients who are named twice; ``tokens`` are their blinded keys in the order of the form."""
    first: dict[object, int] = {}
    found = []
    for position, token in enumerate(tokens):
        if first.setdefault(token, position) != position:
            found.append(Problem(f"/patients/{position}", "duplicate", f"The same patient as /patients/{first[token]}."))
    return tuple(found)


def _within(asked: Item, given: Item, types_of: TypesOf) -> bool:
    """Whether one given line asks for nothing that one asked line doesn't.

    A data class covers its sub-classes (``clinical`` covers ``clinical.laboratory``) as far as they reach the same types. A
    resource type never stands for a data class nor the other way round: a class also filters by category, so that the bare
    type would be more.
    """
    if asked.resource_type is not None or given.resource_type is not None:
        same = asked.resource_type == given.resource_type
    elif asked.data_class == given.data_class:
        same = True
    else:
        below = str(given.data_class).startswith(f"{asked.data_class}.")
        same = below and set(types_of.get(str(given.data_class), ())) <= set(types_of.get(str(asked.data_class), ()))
    return same and _fewer(asked.elements, given.elements) and _fewer(asked.codes, given.codes)


def _let_loose(asked: Terms, given: Terms, types_of: TypesOf) -> list[str]:
    """Types of which the application named a part, that no line names any more though a data class still brings them.

    A line that names a type says all that is wanted of it, and data classes then bring that type no more (policy's
    ``lib.asked``). To drop the line and keep the class would therefore give more, not less.
    """
    named = {item.resource_type for item in asked.data if item.resource_type} - {item.resource_type for item in given.data}
    brought = {name for item in given.data if item.data_class for name in types_of.get(item.data_class, ())}
    return sorted(named & brought)


def _fewer(asked: tuple[str, ...], given: tuple[str, ...]) -> bool:
    """Subset, where an empty list means all."""
    return not asked or (bool(given) and set(given) <= set(asked))


def _not_later(asked: Any, given: Any) -> bool:
    """``given <= asked`` where None means without end."""
    return asked is None or (given is not None and given <= asked)


def _not_earlier(asked: date | None, given: date | None) -> bool:
    return asked is None or (given is not None and given >= asked)


def check_narrower(asked: Terms, given: Terms, *, asked_patients: Collection[Any], given_patients: Collection[Any], types_of: TypesOf) -> None:
    """What is approved must be part of what was asked, and less. Raises NotNarrower naming every field that is wider.

    ``types_of``: the resource types that each data class of the catalogue reaches. Purpose, basis, recipient, channel and
    urgency are what the application *is*; to change them it must be returned.
    """
    found = [
        Problem(f"/{name}", "changed", "This can't be changed in a decision; return the application instead.")
        for name in ("purpose", "lawful_basis", "recipient", "channel", "urgency", "justified")
        if getattr(asked, name) != getattr(given, name)
    ]
    if not given.data:
        found.append(Problem("/data", "required", "Nothing would be left to share; refuse the application instead."))
    found += [
        Problem(f"/data/{position}", "wider", "This was not applied for.")
        for position, item in enumerate(given.data)
        if not any(_within(one, item, types_of) for one in asked.data)
    ]
    found += [
        Problem("/data", "wider", f"Of {name} a part was applied for; keep the line that names it, or leave out what else brings it.")
        for name in _let_loose(asked, given, types_of)
    ]
    if not _not_earlier(asked.period_start, given.period_start):
        found.append(Problem("/period/start", "wider", "The period begins before the one applied for."))
    if not _not_later(asked.period_end, given.period_end):
        found.append(Problem("/period/end", "wider", "The period ends after the one applied for."))
    if given.period_start and given.period_end and given.period_start > given.period_end:
        found.append(Problem("/period", "order", "The period ends before it begins."))
    if given.valid_until > asked.valid_until:
        found.append(Problem("/valid_until", "wider", "It would be valid longer than applied for."))
    if not _not_later(asked.retention_days, given.retention_days):
        found.append(Problem("/retention_days", "wider", "It would be kept longer than applied for."))
    if not _not_later(asked.releases_limit, given.releases_limit):
        found.append(Problem("/releases_limit", "wider", "More releases than applied for."))
    if asked.frequency and (given.frequency is None or given.frequency[0] * asked.frequency[1] > asked.frequency[0] * given.frequency[1]):
        found.append(Problem("/frequency", "wider", "More often than applied for."))
    if not given_patients:
        found.append(Problem("/patients", "required", "No patient would be left; refuse the application instead."))
    if not set(given_patients) <= set(asked_patients):
        found.append(Problem("/patients", "wider", "A patient is named who was not applied for."))
    if found:
        raise NotNarrower(problems=tuple(found))
    if asked == given and set(asked_patients) == set(given_patients):
        raise NotNarrower("Nothing was narrowed; approve it as it is.")


def is_narrower(asked: Terms, given: Terms, *, asked_patients: Collection[Any], given_patients: Collection[Any], types_of: TypesOf) -> bool:
    """As :func:`check_narrower`."""
    return _holds(check_narrower, asked, given, asked_patients=asked_patients, given_patients=given_patients, types_of=types_of)


def _holds(check: Any, *arguments: Any, **named: Any) -> bool:
    try:
        check(*arguments, **named)
    except BrokerError:
        return False
    return True
