"""Step 1: the facts of one release, brought together from what each slice knows. Pure; the schema is policies/input.schema.json."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from broker.applications.service import GrantRow
from broker.identity.access import ReleaseCaller
from broker.policy.facts import CallerFacts, ConsentFacts, Facts, PatientFacts


def facts_of(
    *, at: int, caller: ReleaseCaller, grant: GrantRow, patient_key: UUID, member: bool, age: str, consent: ConsentFacts, types: Sequence[str]
) -> Facts:
    """The document that policy judges. What is asked comes from the grant's approved terms, never from the client.

    ``member``: whether there is such a patient, and in the grant; ``age``: of a patient of the grant, else unknown.
    """
    return Facts(
        question="release",
        at=at,
        request=grant.request,
        grant=grant.grant,
        recipient=grant.recipient,
        requester=grant.requester,
        patient=PatientFacts(key=patient_key.hex, match="certain" if member else "none", in_grant=member, age=age),
        consent=consent,
        caller=CallerFacts(
            client=caller.client_id,
            # The system of an institution calls for its departments (identity has looked at whose token this is).
            organization=grant.recipient.id if caller.organization_id in grant.recipient_lineage else caller.organization_id,
            status="active",  # identity.access.caller_for has refused any other.
            token_grant=str(caller.grant_id),
            token_purpose=caller.purpose,
            types=tuple(sorted(caller.types("r") | caller.types("s") | {*caller.narrowed("r"), *caller.narrowed("s")})),
        ),
        wanted_types=tuple(types),
        workforce=grant.workforce,
        residency=grant.residency and grant.residency.agreed(consent),
    )
