"""Feedback into policy: what left under a profile and nobody says was used, and what is asked for and always cut.

From the decisions kept, the feedback reported and the assessments made. A proposal is a draft's file: a person looks at it, replays it and
has a colleague approve it. What R4 makes mandatory, and whom a resource is about, is never proposed away.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime

from sqlmodel import Session, col, select

from broker.applications.models import Assessment, PatientAssessment
from broker.crypto import Keys
from broker.feedback.models import Feedback
from broker.governance.narrowing import Kept, narrowed
from broker.governance.replay import questions
from broker.policy.service import PolicySet

#: Reports below which nothing is concluded from an element that nobody named.
ENOUGH = 3


@dataclass
class _Seen:
    grants: set[str] = field(default_factory=set)
    released: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    reports: int = 0
    cut: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Proposal:
    """What one profile could do without. ``changes``: the file of a draft, empty where there is nothing to take away."""

    profile: str
    grants: int
    reports: int
    unused: tuple[str, ...]
    always_cut: dict[str, int]
    changes: dict[str, str]


def proposals(session: Session, keys: Keys, policies: PolicySet, *, since: datetime | None = None) -> list[Proposal]:
    """A proposal for each profile under which something left or was asked since a moment."""
    seen: dict[str, _Seen] = defaultdict(_Seen)
    profile_of: dict[str, str] = {}
    for row, facts, plan in questions(session, keys, since, None):
        if facts is not None and plan is not None and row.question == "release" and row.profile in policies.data["profiles"]:
            grant = facts["grant"]["id"]
            profile_of[grant] = row.profile
            seen[row.profile].grants.add(grant)
            seen[row.profile].released |= {f"{name}.{element}" for name, kept in plan["types"].items() for element in kept["elements"]}
    for report in session.exec(select(Feedback).where(col(Feedback.used).is_(True))).all():
        profile = profile_of.get(str(report.grant_id))
        if profile is not None:
            seen[profile].reports += 1
            seen[profile].used |= set(report.elements_used)
    for profile, cuts in _cuts(session, since):
        if profile in policies.data["profiles"]:
            seen[profile].cut.update(cuts)
    return [_proposal(policies, name, seen[name]) for name in sorted(seen)]


def _cuts(session: Session, since: datetime | None) -> list[tuple[str, list[str]]]:
    """Of each assessment the profile, and the elements that were asked for and cut."""
    query = select(PatientAssessment.necessity).join(Assessment, col(Assessment.id) == col(PatientAssessment.assessment_id))
    if since is not None:
        query = query.where(col(Assessment.at) >= since)
    found = []
    for necessity in session.exec(query).all():
        if necessity and "profile" in necessity:
            cuts = [f"{each['type']}.{each['item']}" for each in necessity["cut"] if each["reason"] == "cut.element"]
            found.append((necessity["profile"], cuts))
    return found


def _proposal(policies: PolicySet, name: str, seen: _Seen) -> Proposal:
    unused = tuple(sorted(_unused(policies, seen))) if seen.reports >= ENOUGH else ()
    return Proposal(
        profile=name,
        grants=len(seen.grants),
        reports=seen.reports,
        unused=unused,
        always_cut=dict(sorted(seen.cut.items(), key=lambda each: (-each[1], each[0]))),
        changes=_narrower(policies, name, unused),
    )


def _unused(policies: PolicySet, seen: _Seen) -> set[str]:
    """Elements that left and that no report names, by themselves, by what is above them or by a part of them."""
    needed = {f"{name}.{element}" for name, row in policies.data["types"].items() for element in row["always"].split(" ")}
    return {
        element
        for element in seen.released - needed
        if not any(element == used or element.startswith(f"{used}.") or used.startswith(f"{element}.") for used in seen.used)
        and not any(each.startswith(f"{element}.") or element.startswith(f"{each}.") for each in needed)
    }


def _narrower(policies: PolicySet, name: str, unused: tuple[str, ...]) -> dict[str, str]:
    profile = policies.data["profiles"][name]
    has = {f"{kind}.{element}" for kind, row in profile["types"].items() for element in row["elements"].split(" ")}
    return narrowed(policies.data, name, Kept(has - {*unused}, profile["channels"], {}))
