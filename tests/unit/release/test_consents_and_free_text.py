"""What only a note says counts for conditional denials too, wherever notes leave (TM-5.2, attack E05)."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import uuid4

import pytest

from broker.consent.compiled import compile_statement
from broker.consent.reading import read
from broker.consent.residual import Use, gate_for
from broker.fhir.plan import ReleasePlan, TypePlan
from broker.records.service import Opened
from broker.release.query import Wanted
from broker.release.reducing import Order, Reducer
from tests.factories.consent import classes, consent, labels, provision

SHENGLI = Use(frozenset({"Organization/shengli"}), "TREAT", 1_793_534_400)

DENIALS = {
    "of one type": provision("deny", labels("PSY"), classes("Observation")),
    "of a time": provision("deny", labels("PSY"), dataPeriod={"start": "2020", "end": "2030"}),
    "with an exception": provision("deny", labels("PSY"), nested=[provision("permit", labels("PSY"), classes("Condition"))]),
    "without conditions": provision("deny", labels("PSY")),
}


def lets(keys, denial, elements, in_text):
    given = consent(provision("permit", nested=[denial]))
    gate = gate_for([compile_statement(read(given).statement, "c", 1)], SHENGLI)
    plan = ReleasePlan({"Observation": TypePlan(elements)}, frozenset(), "V")
    order = Order(plan, SimpleNamespace(patient_key=uuid4()), gate, consent_required=True, recipient="shengli", wanted=Wanted(), after=None)
    body = b'{"resourceType":"Observation","id":"o1","effectiveDateTime":"2026-01-01","note":[{"text":"schizophrenia"}]}'
    opened = Opened("o1", "Observation", 1, datetime(2026, 1, 1, tzinfo=UTC), ("N",), body, in_text)
    return Reducer(keys, order).lets(opened)


@pytest.mark.parametrize("denial", DENIALS.values(), ids=DENIALS.keys())
def test_a_note_about_a_denied_topic_keeps_the_resource_in_where_notes_leave(keys, denial):
    assert not lets(keys, denial, ("id", "code", "note"), ("text:PSY",))
    assert lets(keys, denial, ("id", "code"), ("text:PSY",))  # The note stays behind, and the rest is no psychiatry.
    assert lets(keys, denial, ("id", "code", "note"), ("text:HIV",))
    assert lets(keys, denial, ("id", "code", "note"), ())
