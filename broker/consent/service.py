"""The front door of the consent registry: file and revoke, read and search, and what is in force for a release."""

from __future__ import annotations

from broker.consent.asking_rules import Answerer, Scope
from broker.consent.background import background
from broker.consent.capability import capability
from broker.consent.capture import Answer, Proof, askings, evidence, known_notices, notice, shown, take
from broker.consent.disclosures import Recorded, disclosure, disclosures, record_disclosure
from broker.consent.enforceability import Report, examine
from broker.consent.explaining import counts, explain, foresee, who_could_see
from broker.consent.filing import Filed, Revoked, file, revoke
from broker.consent.in_force import (
    RESIDUALS_SQL,
    asker_of,
    consent_facts,
    in_force,
    known_of,
    residual_for,
    residuals,
    residuals_from_rows,
    settle,
    use_of,
)
from broker.consent.parties import Asker, Known, everybody, looked_up, named, places_denied, settled
from broker.consent.register import Found, Shown, history, id_of, read, search
from broker.consent.residual import Residual, ResourceFacts, ResourceGate, Use, evaluate_base, facts_for, gate_for
from broker.consent.resources import facts_of
from broker.consent.subscriptions import Held, status_of, subscribe, subscription, tell_due, unsubscribe
from broker.consent.withdrawals import acknowledge, settle_told, withdrawals
from broker.consent.wording import Wording

__all__ = [
    "RESIDUALS_SQL",
    "Answer",
    "Answerer",
    "Asker",
    "Filed",
    "Found",
    "Held",
    "Known",
    "Proof",
    "Recorded",
    "Report",
    "Residual",
    "ResourceFacts",
    "ResourceGate",
    "Revoked",
    "Scope",
    "Shown",
    "Use",
    "Wording",
    "acknowledge",
    "asker_of",
    "askings",
    "background",
    "capability",
    "consent_facts",
    "counts",
    "disclosure",
    "disclosures",
    "evaluate_base",
    "everybody",
    "evidence",
    "examine",
    "explain",
    "facts_for",
    "facts_of",
    "file",
    "foresee",
    "gate_for",
    "history",
    "id_of",
    "in_force",
    "known_notices",
    "known_of",
    "looked_up",
    "named",
    "notice",
    "places_denied",
    "read",
    "record_disclosure",
    "residual_for",
    "residuals",
    "residuals_from_rows",
    "revoke",
    "search",
    "settle",
    "settle_told",
    "settled",
    "shown",
    "status_of",
    "subscribe",
    "subscription",
    "take",
    "tell_due",
    "unsubscribe",
    "use_of",
    "who_could_see",
    "withdrawals",
]
