"""Teams that consents name: Groups and CareTeams of the records, with whoever is a member at the time of use. Pure.

A residual keeps the team's own reference. Before it is asked, the team is looked up and answered for: whoever is a member now is also
called by the team's name. A team that can't be told makes the consents that name it ones that deny (rule 8).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from broker.consent.compiled import Residual
from broker.consent.references import canonical, type_of
from broker.consent.related import Related
from broker.consent.values import Effect, Use

TEAMS = frozenset({"Group", "CareTeam"})
#: Teams looked up for one use, those within teams included; a consent that names more can't be told.
MAX_TEAMS = 20

Team = Mapping[str, Any]


def teams_named(residuals: Iterable[Residual]) -> frozenset[str]:
    """The teams that any provision names."""
    actors = (actor for residual in residuals for one in residual.provisions for actor in one.when.actors or ())
    return frozenset(actor for actor in actors if type_of(actor) in TEAMS)


def teams_within(team: Team) -> frozenset[str]:
    """The teams that are members of a team."""
    found: set[str] = set()
    for element, member in (("participant", "member"), ("member", "entity")):
        listed = team.get(element)
        for one in listed if isinstance(listed, list) else ():
            named = one.get(member) if isinstance(one, dict) else None
            reference = canonical(named.get("reference")) if isinstance(named, dict) else None
            if reference is not None and type_of(reference) in TEAMS:
                found.add(reference)
    return frozenset(found)


def members(reference: str, teams: Mapping[str, Team], at: int) -> frozenset[str] | None:
    """Everyone whom a team names at a second, itself and teams within it included; None where that can't be told."""
    return Related(teams.values(), at=at).actor({"reference": reference})


def only_organizations(named: Iterable[str]) -> bool:
    """Whether a team names nobody but organisations, to whom alone releases go."""
    return all(type_of(one) in TEAMS or type_of(one) == "Organization" for one in named)


def settled(residuals: Sequence[Residual], use: Use, teams: Mapping[str, Team]) -> tuple[tuple[Residual, ...], Use]:
    """The residuals and the use once teams are answered for.

    A denial of a team that has people among its members can't be enforced, since a release goes to an organisation; it denies all.
    """
    known = {reference: members(reference, teams, use.at) for reference in teams_named(residuals)}
    mine = {reference for reference, named in known.items() if named is not None and named & use.actors}
    return tuple(_settled(one, known) for one in residuals), replace(use, actors=use.actors | mine)


def _settled(residual: Residual, known: Mapping[str, frozenset[str] | None]) -> Residual:
    for provision in residual.provisions:
        for actor in (provision.when.actors or frozenset()) & known.keys():
            named = known[actor]
            if named is None or (provision.effect is Effect.DENY and not only_organizations(named)):
                return replace(residual, readable=False)
    return residual
