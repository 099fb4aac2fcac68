"""What every set of policies must refuse, whoever wrote it: for each use that a draft opens, a good case with one thing wrong.

These stand in the broker and not in the policies, so that a draft can't take its own tests away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from broker import clock
from broker.policy.decision import Effect
from broker.policy.facts import (
    CallerFacts,
    ConsentFacts,
    Facts,
    GrantFacts,
    PatientFacts,
    RecipientFacts,
    RequesterFacts,
    RequestFacts,
    WorkforceFacts,
)
from broker.policy.service import PolicyEngine, PolicySet

_DAY = 86_400


def uses(policies: PolicySet) -> Iterator[tuple[str, str, str]]:
    """Purpose, kind of recipient and relationship of everything that the policies share for."""
    for purpose, kinds in sorted(policies.data["profile_index"].items()):
        for kind, relationships in sorted(kinds.items()):
            for relationship in sorted(relationships):
                yield purpose, kind, relationship


def good(policies: PolicySet, purpose: str, kind: str, relationship: str) -> Facts:
    """A release for this use with nothing wrong with it."""
    data = policies.data
    at = clock.epoch(clock.now())
    emergency = data["purposes"][purpose]["emergency_seconds"] > 0
    basis = next((code for code, row in sorted(data["lawful_bases"].items()) if purpose in row["purposes"]), "consent")
    profile = data["profiles"][data["profile_index"][purpose][kind][relationship]]
    return Facts(
        question="release",
        at=at,
        request=RequestFacts(
            purpose, basis, ({"data_class": "clinical"}, {"data_class": "financial"}, {"data_class": "management"}),
            channel=profile["channels"][0], urgency="emergency" if emergency else "routine", emergency=emergency, justification=True,
        ),
        grant=GrantFacts("canary", "canary", "active", at - 60, at + 1800, approved_by=2),
        recipient=RecipientFacts("canary", kind, relationship, "active", agreement_until=at + _DAY, key_registered=True),
        requester=RequesterFacts("canary", ("applicant",)),
        patient=PatientFacts("canary", "certain", in_grant=True, age="adult"),
        consent=ConsentFacts("permit", consents=("canary",), givers=("patient",)),
        caller=CallerFacts("canary", "canary", "active", "canary", purpose, ("*",)),
        workforce=WorkforceFacts(held=tuple(sorted(data["workforce"]))),
    )  # fmt: skip


def _caller(facts: Facts, **change: Any) -> Facts:
    assert facts.caller is not None  # noqa: S101  (``good`` gave one.)
    return replace(facts, caller=replace(facts.caller, **change))


#: What is wrong → the good case with that wrong.
WRONG: dict[str, Callable[[Facts], Facts]] = {
    "the grant is revoked": lambda facts: replace(facts, grant=replace(facts.grant, status="revoked")),
    "the grant is suspended": lambda facts: replace(facts, grant=replace(facts.grant, status="suspended")),
    "the grant is only proposed": lambda facts: replace(facts, grant=replace(facts.grant, status="proposed")),
    "the term is over": lambda facts: replace(facts, grant=replace(facts.grant, valid_until=facts.at - 1)),
    "the term has not begun": lambda facts: replace(facts, grant=replace(facts.grant, valid_from=facts.at + 1)),
    "the releases are used up": lambda facts: replace(facts, grant=replace(facts.grant, releases_limit=1, releases_used=1)),
    "the patient is not in the grant": lambda facts: replace(facts, patient=replace(facts.patient, in_grant=False)),
    "it is not certain who the patient is": lambda facts: replace(facts, patient=replace(facts.patient, match="probable")),
    "the caller is suspended": lambda facts: _caller(facts, status="suspended"),
    "the token is for another grant": lambda facts: _caller(facts, token_grant="other"),  # noqa: S106  (the name of a grant)
    "the token is for another purpose": lambda facts: _caller(facts, token_purpose="HMARKT"),  # noqa: S106  (a purpose)
    "the caller is somebody else": lambda facts: _caller(facts, organization="other"),
    "there is no caller": lambda facts: replace(facts, caller=None),
    "the recipient is suspended": lambda facts: replace(facts, recipient=replace(facts.recipient, status="suspended")),
    "the recipient is abroad, with nothing shown": lambda facts: replace(facts, recipient=replace(facts.recipient, jurisdiction="US")),
    "the person who applied has left": lambda facts: replace(facts, requester=replace(facts.requester, active=False)),
    "consent was looked up too long ago": lambda facts: replace(facts, consent=replace(facts.consent, valid_until=facts.at - 1)),
    "the purpose is marketing": lambda facts: replace(facts, request=replace(facts.request, purpose="HMARKT")),
    "there is no such basis": lambda facts: replace(facts, request=replace(facts.request, lawful_basis="habit")),
    "nothing was asked": lambda facts: replace(facts, request=replace(facts.request, data=())),
}

#: The same where the patient says no and no law overrides it.
REFUSED: dict[str, Callable[[Facts], Facts]] = {
    "the patient refused": lambda facts: replace(facts, consent=replace(facts.consent, refused=True)),
    "the consent denies": lambda facts: replace(facts, consent=replace(facts.consent, base="deny")),
    "a consent cannot be enforced": lambda facts: replace(facts, consent=replace(facts.consent, unenforceable=True)),
}

#: The same where the profile requires something of whoever applies.
UNQUALIFIED: dict[str, Callable[[Facts], Facts]] = {
    "no register was asked": lambda facts: replace(facts, workforce=None),
    "whoever applied holds nothing": lambda facts: replace(facts, workforce=WorkforceFacts()),
    "everything that is held has expired": lambda facts: replace(
        facts, workforce=WorkforceFacts(expired=facts.workforce.held if facts.workforce else ())
    ),
}


def tested(policies: PolicySet, engine: PolicyEngine) -> dict[str, Any]:
    """``{"cases", "permitted", "failed"}``: how many cases were asked, in how many uses a good one is permitted, what was not refused."""
    failed: list[str] = []
    cases = permitted = 0
    for purpose, kind, relationship in uses(policies):
        facts = good(policies, purpose, kind, relationship)
        permitted += engine.decide(facts).allow
        overridden = policies.data["lawful_bases"].get(facts.request.lawful_basis, {}).get("overrides_refusal", False)
        required = policies.data["profiles"][policies.data["profile_index"][purpose][kind][relationship]]["workforce"]
        for what, change in {**WRONG, **({} if overridden else REFUSED), **(UNQUALIFIED if required else {})}.items():
            cases += 1
            if engine.decide(change(facts)).effect is not Effect.DENY:
                failed.append(f"{purpose} {kind} {relationship}: {what}")
    return {"cases": cases, "permitted": permitted, "failed": failed}
