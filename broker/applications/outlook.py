"""What policy would make of a draft, before anybody hands it in: so that people ask for what they can get (RS-5.2.3)."""

from __future__ import annotations

from uuid import UUID

from sqlmodel import Session

from broker import clock
from broker.applications import assessing, steps
from broker.applications.lifecycle import Action
from broker.applications.means import Means
from broker.applications.submission import terms_of
from broker.policy.decision import Decision
from broker.policy.facts import ConsentFacts, Facts, GrantFacts, PatientFacts

#: A patient who doesn't exist, and who agrees to everything: what is cut then is cut for everybody.
NOBODY = UUID(int=0)


def outlook(session: Session, means: Means, person: UUID, ref: str) -> Decision | None:
    """Policy's opinion of a draft for a patient who consents; None while the form isn't complete enough to ask.

    It says nothing of a real patient, so that nobody can learn by drafts who is a patient here or what they agreed to. Raises what
    :func:`steps.begin` raises.
    """
    application = steps.begin(session, person, ref, Action.EDIT, if_match=steps.find(session, ref).version).application
    form = application.form
    if not all(form.get(name) for name in ("purpose", "lawful_basis", "recipient", "data", "valid_until")):
        return None
    terms, at = terms_of(application), clock.now()
    if means.end_of(terms.valid_until) <= at:
        return None
    return means.engine.decide(
        Facts(
            question="assess",
            at=clock.epoch(at),
            request=terms.request_facts(),
            grant=GrantFacts(
                id=str(application.id),
                application=application.number or str(application.id),
                status="proposed",
                valid_from=clock.epoch(at),
                valid_until=clock.epoch(means.end_of(terms.valid_until)),
                releases_limit=terms.releases_limit,
                approved_by=0,
            ),
            recipient=assessing.recipient_facts(session, terms.recipient),
            requester=assessing.requester_facts(session, application.requester_id),
            patient=PatientFacts(key=NOBODY.hex, match="certain", age="adult"),
            consent=ConsentFacts(base="permit"),
        )
    )
