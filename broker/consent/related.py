"""Resources that consents point to: whom a group means, who belongs to whom, what a resource refers to. Pure.

Fed with FHIR resources as dicts (``broker consent evaluate --related``); what isn't among them can't be resolved, and then denies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from broker.consent import times
from broker.consent.references import canonical, tokens, type_of, unversioned

_GROUPS = frozenset({"Group", "CareTeam"})


class Related:
    """An index over resources. ``aliases`` gives other names of a resource (a Bundle's ``fullUrl``) as name → ``Type/id``.

    ``at`` is the second at which groups are asked for their members; None: a group whose membership changes with time can't be told.
    """

    def __init__(self, resources: Iterable[Mapping[str, Any]] = (), aliases: Mapping[str, str] | None = None, *, at: int | None = None) -> None:
        self._aliases = dict(aliases or {})
        self._at = at
        self._found: dict[str, Mapping[str, Any]] = {}
        self._identified: dict[str, set[str]] = {}
        for resource in resources:
            # Without an id it has no name; one made up would count as told, and a denial that names it would apply to nobody.
            name = resource.get("id")
            reference = canonical(f"{resource.get('resourceType')}/{name}") if isinstance(name, str) else None
            if reference is not None:
                self._found[reference] = resource
                for one in tokens(resource.get("identifier")):
                    self._identified.setdefault(one, set()).add(reference)

    def name(self, reference: object) -> str | None:
        """The one name that a resource's reference stands for, whatever version it names."""
        return self._aliases.get(reference) or unversioned(reference) if isinstance(reference, str) else None

    def one(self, reference: Mapping[str, Any]) -> str | None:
        """The resource that a Reference names: by its reference, else by an identifier that exactly one resource has."""
        literal = reference.get("reference")
        if literal is not None:
            return self._aliases.get(literal) or canonical(literal) if isinstance(literal, str) else None
        named = [self._identified.get(one, set()) for one in tokens([reference.get("identifier")])]
        return min(named[0]) if named and len(named[0]) == 1 else None

    def data(self, reference: Mapping[str, Any]) -> frozenset[str] | None:
        """What ``provision.data.reference`` names."""
        found = self.one(reference)
        return None if found is None else frozenset({found})

    def actor(self, reference: Mapping[str, Any], contained: object = None) -> frozenset[str] | None:
        """Whom ``provision.actor.reference`` names: itself, and for a Group or CareTeam its members now; None if that can't be told."""
        fragment = reference.get("reference")
        if isinstance(fragment, str) and fragment.startswith("#"):
            listed = contained if isinstance(contained, list) else []
            inner = [one for one in listed if isinstance(one, dict) and f"#{one.get('id')}" == fragment and one.get("resourceType") in _GROUPS]
            return self._members(inner[0], frozenset({fragment})) if len(inner) == 1 else None
        found = self.one(reference)
        return None if found is None else self._named(found, frozenset())

    def _named(self, reference: str, seen: frozenset[str]) -> frozenset[str] | None:
        if type_of(reference) not in _GROUPS:
            return frozenset({reference})
        group = self._found.get(reference)
        if group is None or reference in seen:
            return None
        members = self._members(group, seen | {reference})
        return None if members is None else members | {reference}

    def _members(self, group: Mapping[str, Any], seen: frozenset[str]) -> frozenset[str] | None:
        """Members now. None where membership is not simply listed: a description, a modifier, a member that can't be told."""
        care_team = group.get("resourceType") == "CareTeam"
        listed = group.get("participant" if care_team else "member")
        if not isinstance(listed, list) or not listed or "modifierExtension" in group or "characteristic" in group:
            return None
        if care_team and group.get("status", "active") != "active":
            return None
        if not care_team and group.get("actual") is False:
            return None
        found: frozenset[str] = frozenset()
        for one in listed:
            who = one.get("member" if care_team else "entity") if isinstance(one, dict) else None
            if not isinstance(who, dict) or "modifierExtension" in one:
                return None
            span = times.read_period(one["period"]) if "period" in one else times.Span()
            reference = self.one(who)
            named = None if reference is None else self._named(reference, seen)
            if span is None or named is None or (self._at is None and "period" in one):
                return None
            if (self._at is None or span.holds(self._at)) and one.get("inactive") is not True:
                found |= named
        return found

    def presented(self, actors: Iterable[str]) -> frozenset[str]:
        """Every reference that callers may be named by: themselves, the organisations they are part of, person and organisation of a role."""
        found: set[str] = set()
        waiting = [self.name(one) or one for one in actors]
        while waiting:
            actor = waiting.pop()
            if actor in found:
                continue
            found.add(actor)
            resource = self._found.get(actor, {})
            for element in {"Organization": ("partOf",), "PractitionerRole": ("practitioner", "organization")}.get(
                str(resource.get("resourceType")), ()
            ):
                wider = self.one(resource[element]) if isinstance(resource.get(element), dict) else None
                if wider is not None:
                    waiting.append(wider)
        return frozenset(found)

    def referred(self, reference: str) -> frozenset[str] | None:
        """What a resource refers to; None if the resource isn't here."""
        resource = self._found.get(reference)
        return None if resource is None else references_of(resource, self)

    def authors_of(self, reference: str) -> frozenset[str]:
        """Who wrote a resource, as Provenance resources say."""
        found: set[str] = set()
        for resource in self._found.values():
            if resource.get("resourceType") != "Provenance":
                continue
            targets = {self.one(one) for one in _objects(resource.get("target"))}
            if reference in targets:
                found |= {who for agent in _objects(resource.get("agent")) if _wrote(agent) for who in [self.one(agent.get("who") or {})] if who}
        return frozenset(found)


def _wrote(agent: Mapping[str, Any]) -> bool:
    kind = agent.get("type")
    named = {one.get("code") for one in _objects(kind.get("coding"))} if isinstance(kind, dict) else set()
    return bool(named & {"author", "AUT"}) and isinstance(agent.get("who", {}), dict)


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def references_of(resource: Mapping[str, Any], related: Related) -> frozenset[str]:
    """Every reference that stands anywhere in a resource, under the names that ``related`` gives."""
    found: set[str] = set()
    waiting: list[Any] = [resource]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            name = related.name(value.get("reference"))
            if name is not None:
                found.add(name)
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return frozenset(found)
