"""Consents in the manner of IHE PCF's three levels, written from its text: what each lets through, and what it doesn't.

The expectations are ours, with the sentence of PCF (volume 1, appendix P) or of the rules that each rests on.
"""

from __future__ import annotations

import pytest

from tests.factories.consent import actors, concept, consent, data, labels, observation, provision, purposes
from tests.unit.consent.asking import effect

PERMIT, DENY, SILENT = "permit", "deny", "silent"
SNOMED = "http://snomed.info/sct"

GLUCOSE = observation("glucose")
ALCOHOL = observation("alcohol", label=("ETHUD",))  # PCF's own sample carries the topic and no level.
RESTRICTED = observation("restricted", label=("R",))
PSYCHIATRIC = observation("psychiatric", label=("R", "PSY"))
VIOLENCE = observation("violence", label=("V", "SDV"))
ALL = (GLUCOSE, ALCOHOL, RESTRICTED, PSYCHIATRIC, VIOLENCE)
BETTY, HOSPITAL = "Practitioner/betty", "Organization/hospital"


def pcf(root):
    return consent(root, meta={"profile": ["https://profiles.ihe.net/ITI/PCF/StructureDefinition/IHE.PCF.consentAdvanced"]})


def answers(given, resources=ALL, **more):
    return [effect(given, one, **{"actor": HOSPITAL, **more}) for one in resources]


# -- basic: a policy agreed to or rejected --


def test_basic_treatment():
    given = pcf(provision("permit", purposes("TREAT")))
    assert answers(given) == [PERMIT] * 5
    assert answers(given, purpose="HRESCH") == [SILENT] * 5


def test_basic_rejection():
    assert answers(pcf(provision("deny"))) == [DENY] * 5
    assert answers(pcf(provision("deny", purposes("TREAT"))), purpose="HPAYMT") == [SILENT] * 5


def test_basic_expired():
    assert answers(pcf(provision("permit", purposes("TREAT"), period={"start": "2020", "end": "2021"}))) == [SILENT] * 5


def test_basic_for_one_organisation():
    given = pcf(provision("permit", actors(HOSPITAL), purposes("TREAT", "HPAYMT")))
    assert answers(given) == [PERMIT] * 5
    assert answers(given, actor="Organization/clinic") == [SILENT] * 5


# -- intermediate: times, data, authors, encounters, purposes --

EARLY, LATE = observation("early", effectiveDateTime="2004-05-06"), observation("late", effectiveDateTime="2021-01-01T08:00:00+08:00")
IN_ENCOUNTER = observation("in", encounter={"reference": "Encounter/e1"})
OUTSIDE = observation("out", encounter={"reference": "Encounter/e2"})
BY_BETTY = observation("betty", performer=[{"reference": BETTY}])
BY_OTHER = observation("other", performer=[{"reference": "Practitioner/other"}])


def test_intermediate_timeframe():
    given = pcf(provision("permit", purposes("TREAT"), dataPeriod={"start": "2004", "end": "2004"}))
    assert answers(given, [EARLY, LATE, observation("undated")]) == [PERMIT, SILENT, SILENT]


def test_intermediate_all_except_a_timeframe():
    """I allow all my data to be shared …, except for the data recorded in 2004."""
    given = pcf(provision("permit", purposes("TREAT"), nested=[provision("deny", dataPeriod={"start": "2004-01-01", "end": "2004-12-31"})]))
    assert answers(given, [EARLY, LATE, observation("undated")]) == [DENY, PERMIT, DENY]


def test_intermediate_named_data():
    given = pcf(provision("permit", data("instance", "Observation/early", "Observation/in")))
    assert answers(given, [EARLY, LATE, IN_ENCOUNTER]) == [PERMIT, SILENT, PERMIT]
    given = pcf(provision("permit", nested=[provision("deny", data("instance", "Observation/early"))]))
    assert answers(given, [EARLY, LATE]) == [DENY, PERMIT]


def test_intermediate_authored_by():
    given = pcf(provision("permit", data("authoredby", BETTY)))
    assert answers(given, [BY_BETTY, BY_OTHER, GLUCOSE]) == [PERMIT, SILENT, SILENT]
    given = pcf(provision("permit", nested=[provision("deny", data("authoredby", BETTY))]))
    assert answers(given, [BY_BETTY, BY_OTHER, GLUCOSE]) == [DENY, PERMIT, PERMIT]


@pytest.mark.parametrize("kind", [PERMIT, DENY])
def test_intermediate_related_to_an_encounter_means_what_belongs_to_it(kind):
    encounter = {
        "resourceType": "Encounter",
        "id": "e1",
        "subject": {"reference": "Patient/p1"},
        "meta": GLUCOSE["meta"],
        "diagnosis": [{"condition": {"reference": "Condition/c"}}],
    }
    diagnosis = {
        "resourceType": "Condition",
        "id": "c",
        "subject": {"reference": "Patient/p1"},
        "meta": GLUCOSE["meta"],
        "code": concept(SNOMED, "x"),
    }
    given = pcf(provision(kind, data("related", "Encounter/e1")))
    assert answers(given, [IN_ENCOUNTER, OUTSIDE, encounter, diagnosis], related=[encounter]) == [kind, SILENT, kind, SILENT]


def test_intermediate_a_care_plan_for_a_research_project():
    """I authorize clinical research project betty to access the data associated with my care-plan identified as 1234."""
    given = pcf(provision("permit", actors(BETTY), purposes("CLINTRCH"), data("related", "CarePlan/1234")))
    in_plan = observation("planned", basedOn=[{"reference": "CarePlan/1234"}])
    assert answers(given, [in_plan, GLUCOSE], actor=BETTY, purpose="CLINTRCH") == [PERMIT, SILENT]
    assert answers(given, [in_plan], actor=BETTY, purpose="TREAT") == [SILENT]
    assert answers(given, [in_plan], purpose="CLINTRCH") == [SILENT]


def test_intermediate_refusal_except_break_glass():
    given = pcf(provision("deny", nested=[provision("permit", purposes("BTG"))]))
    assert answers(given) == [DENY] * 5
    assert answers(given, purpose="BTG") == [PERMIT] * 5
    assert answers(given, purpose="ETREAT") == [DENY] * 5


# -- advanced: confidentiality and sensitive topics --


def test_advanced_normal():
    given = pcf(provision("permit", purposes("TREAT"), labels("N")))
    assert answers(given) == [PERMIT, SILENT, SILENT, SILENT, SILENT]


def test_advanced_normal_and_restricted():
    given = pcf(provision("permit", purposes("TREAT"), labels("N", "R")))
    assert answers(given) == [PERMIT, SILENT, PERMIT, PERMIT, SILENT]


def test_advanced_normal_but_not_restricted():
    given = pcf(provision("permit", labels("N"), nested=[provision("deny", labels("R"))]))
    assert answers(given) == [PERMIT, DENY, DENY, DENY, DENY]


def test_advanced_some_access_to_restricted():
    given = pcf(provision("permit", purposes("TREAT"), labels("N"), nested=[provision("permit", actors(BETTY), labels("R"))]))
    assert answers(given) == [PERMIT, SILENT, SILENT, SILENT, SILENT]
    assert answers(given, actor=BETTY) == [PERMIT, SILENT, PERMIT, PERMIT, SILENT]


def test_advanced_some_access_to_mental_health():
    given = pcf(provision("permit", purposes("TREAT"), labels("N"), nested=[provision("permit", actors(BETTY), labels("PSY"))]))
    assert answers(given, actor=BETTY) == [PERMIT, SILENT, SILENT, PERMIT, SILENT]
    assert answers(given) == [PERMIT, SILENT, SILENT, SILENT, SILENT]


def test_advanced_two_topics_are_alternatives():
    given = pcf(provision("permit", labels("N"), nested=[provision("permit", actors(BETTY), labels("PSY", "SDV"))]))
    assert answers(given, actor=BETTY) == [PERMIT, SILENT, SILENT, PERMIT, PERMIT]


def test_advanced_break_glass_to_restricted():
    given = pcf(provision("permit", purposes("TREAT"), labels("N"), nested=[provision("permit", purposes("BTG"), labels("R"))]))
    assert answers(given) == [PERMIT, SILENT, SILENT, SILENT, SILENT]
    assert answers(given, purpose="BTG") == [PERMIT, SILENT, PERMIT, PERMIT, SILENT]


def test_advanced_everything_for_treatment_and_the_normal_for_anything_else():
    """I allow all my data to be used by any treatment purpose, but any other purpose can only get normal data."""
    given = pcf(provision("permit", purposes("TREAT"), nested=[provision("permit", labels("N"))]))
    assert answers(given) == [PERMIT] * 5
    assert answers(given, purpose="HOPERAT") == [PERMIT, SILENT, SILENT, SILENT, SILENT]


def test_advanced_refusal_of_one_topic():
    given = pcf(provision("permit", nested=[provision("deny", labels("SUD"))]))
    assert answers(given) == [PERMIT, DENY, PERMIT, PERMIT, PERMIT]
