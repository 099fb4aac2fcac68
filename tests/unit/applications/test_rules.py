"""Who may apply for whom, who may decide, what is complete, and what lies within an application."""

from dataclasses import replace
from datetime import date, timedelta
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.applications.errors import FourEyes, NotNarrower, RecipientNotYours
from broker.applications.lifecycle import Part
from broker.applications.rules import (
    Place,
    can_apply_for,
    can_decide,
    check_four_eyes,
    check_narrower,
    check_recipient,
    duplicates,
    form_problems,
    is_narrower,
    parts,
)
from broker.applications.terms import Item, Terms

HOSPITAL = Place("renhe", "internal", ("renhe",))
CARDIOLOGY = Place("renhe-cardiology", "internal", ("renhe-cardiology", "renhe"))
FINANCE = Place("renhe-finance", "internal", ("renhe-finance", "renhe"))
OUTSIDE = Place("shengli", "external", ("shengli",))
OUTSIDE_WARD = Place("shengli-cardiology", "external", ("shengli-cardiology", "shengli"))
OTHER = Place("shili-medicare", "external", ("shili-medicare",))


# --- Who may apply for whom ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("home", "recipient", "applies", "manager", "allowed"),
    [
        (CARDIOLOGY, CARDIOLOGY, True, False, True),  # A department for itself
        (CARDIOLOGY, FINANCE, True, False, False),  # … not for its neighbour
        (CARDIOLOGY, HOSPITAL, True, False, False),  # … not for the whole hospital
        (HOSPITAL, CARDIOLOGY, True, False, False),
        (CARDIOLOGY, OUTSIDE, True, False, False),  # … not for somebody outside
        (OUTSIDE_WARD, OUTSIDE_WARD, True, False, True),  # Outside staff for their department
        (OUTSIDE_WARD, OUTSIDE, True, False, True),  # … or their organisation
        (OUTSIDE, OUTSIDE_WARD, True, False, True),
        (OUTSIDE_WARD, OTHER, True, False, False),  # … not for another organisation
        (OUTSIDE_WARD, CARDIOLOGY, True, False, False),  # … not for us
        (CARDIOLOGY, CARDIOLOGY, False, False, False),  # Nobody who doesn't apply
        (HOSPITAL, OUTSIDE_WARD, False, True, True),  # The manager enters for outside
        (HOSPITAL, HOSPITAL, False, True, False),  # … not for the hospital
        (HOSPITAL, CARDIOLOGY, False, True, False),
    ],
)
def test_recipients(home, recipient, applies, manager, allowed):
    assert can_apply_for(home, recipient, applies=applies, manager=manager) is allowed
    if not allowed:
        with pytest.raises(RecipientNotYours) as caught:
            check_recipient(home, recipient, applies=applies, manager=manager)
        assert [problem.path for problem in caught.value.problems] == ["/recipient"]


# --- In which part somebody acts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head_of", "is_head"),
    [
        ({"shengli-cardiology"}, True),  # of the requester's department
        ({"shengli"}, True),  # of what it belongs to
        ({"renhe-cardiology"}, True),  # of the recipient
        ({"renhe"}, True),
        ({"renhe-finance"}, False),
        (set(), False),
    ],
)
def test_heads_speak_for_requester_and_recipient(head_of, is_head):
    found = parts(is_requester=False, head_of=head_of, manages=False, requester_home=OUTSIDE_WARD, recipient=CARDIOLOGY)
    assert (Part.DEPARTMENT_HEAD in found) is is_head
    assert Part.CLOCK not in found


def test_parts_add_up():
    found = parts(is_requester=True, head_of={"renhe"}, manages=True, requester_home=CARDIOLOGY, recipient=None)
    assert found == {Part.REQUESTER, Part.DEPARTMENT_HEAD, Part.INFORMATION_MANAGER}
    assert parts(is_requester=False, head_of=set(), manages=False, requester_home=None, recipient=None) == frozenset()


# --- Four eyes -------------------------------------------------------------------------------------------------------

people = st.sampled_from(["wang", "li", "zhang", "zhao"])


@given(steps=st.dictionaries(st.sampled_from(["request", "submit", "endorse", "approve"]), people), actor=people)
def test_nobody_takes_two_steps(steps, actor):
    assert can_decide(steps, actor) is (actor not in steps.values())


def test_the_step_is_named():
    with pytest.raises(FourEyes, match="endorse"):
        check_four_eyes({"request": "wang", "endorse": "li"}, "li")


# --- Complete --------------------------------------------------------------------------------------------------------

FORM = {
    "purpose": "TREAT",
    "lawful_basis": "consent",
    "recipient": "shengli-cardiology",
    "data": [{"data_class": "clinical.laboratory"}, {"resource_type": "Observation"}],
    "period": {"start": "2026-01-01", "end": "2026-06-30"},
    "valid_until": "2026-12-31",
    "justification": True,
}
CLASSES = {"clinical.laboratory"}
TODAY = date(2026, 11, 23)


def problems(**changes):
    return {(one.path, one.code) for one in form_problems({**FORM, **changes}, patients=1, data_classes=CLASSES, today=TODAY)}


def test_a_complete_form_has_no_problems():
    assert problems() == set()
    assert problems(period=None, valid_until="2026-11-23") == set()


@pytest.mark.parametrize("name", ["purpose", "lawful_basis", "recipient", "data", "valid_until", "justification"])
def test_what_is_missing_is_named(name):
    assert problems(**{name: None}) == {(f"/{name}", "required")}


def test_several_problems_are_all_named():
    found = problems(purpose=None, data=[{"data_class": "gossip"}], valid_until="2026-11-22", period={"start": "2026-02-01", "end": "2026-01-31"})
    assert found == {("/purpose", "required"), ("/data/0/data_class", "unknown"), ("/valid_until", "past"), ("/period", "order")}


def test_a_patient_is_needed():
    assert [one.path for one in form_problems(FORM, patients=0, data_classes=CLASSES, today=TODAY)] == ["/patients"]


def test_a_patient_named_twice_is_named_once():
    assert [(one.path, one.message) for one in duplicates(["a", "b", "a", "a"])] == [
        ("/patients/2", "The same patient as /patients/0."),
        ("/patients/3", "The same patient as /patients/0."),
    ]
    assert duplicates(["a", "b"]) == ()


# --- Narrower --------------------------------------------------------------------------------------------------------

ELEMENTS, CODES = ("code", "value", "status"), ("loinc|1", "loinc|2")
TYPES_OF = {
    "clinical": ("Condition", "ImagingStudy", "Observation"),
    "clinical.laboratory": ("Observation",),
    "clinical.imaging": ("ImagingStudy", "Observation"),
    "clinical.elsewhere": ("Claim",),  # Lies below by its name and reaches further
    "clinicalish": ("Condition",),
    "financial": ("Claim",),
}


def items():
    elements, codes = (st.lists(st.sampled_from(names), unique=True).map(tuple) for names in (ELEMENTS, CODES))
    types = st.builds(Item, data_class=st.none(), resource_type=st.sampled_from(["Observation", "Condition"]), elements=elements, codes=codes)
    return st.builds(Item, data_class=st.sampled_from(sorted(TYPES_OF))) | types


days = st.dates(date(2024, 1, 1), date(2024, 1, 6))
counts = st.none() | st.integers(0, 3)


def terms():
    return st.builds(
        Terms,
        purpose=st.just("TREAT"),
        lawful_basis=st.just("consent"),
        recipient=st.just("renhe"),
        data=st.lists(items(), min_size=1, max_size=3).map(tuple),
        valid_until=days,
        period_start=st.none() | days,
        period_end=st.none() | days,
        retention_days=counts,
        releases_limit=counts,
    )


def reached(given_terms):
    """Everything that terms reach, atom by atom, as policy reads them: an oracle that knows nothing of subsets of lists.

    Lines that name a type say all that is wanted of it; else each class brings its types, a sub-class in a category of its own.
    ``*`` is whatever isn't named.
    """
    atoms = set()
    named = {item.resource_type for item in given_terms.data if item.resource_type}
    categories = [*TYPES_OF, "*"]
    for name in named:
        lines = [item for item in given_terms.data if item.resource_type == name]
        elements = {element for item in lines for element in item.elements or (*ELEMENTS, "*")}
        codes = {code for item in lines for code in item.codes or (*CODES, "*")}
        atoms |= {(name, category, element, code) for category in categories for element in elements for code in codes}
    for item in given_terms.data:
        for name in TYPES_OF.get(item.data_class, ()):
            if name not in named:
                brought = categories if item.data_class in ("clinical", "financial", "clinicalish") else [item.data_class]
                atoms |= {(name, category, element, code) for category in brought for element in (*ELEMENTS, "*") for code in (*CODES, "*")}
    return atoms


def days_of(given_terms):
    """Days of a small calendar that the period holds, with one before and one after it for open ends."""
    calendar = [date(2023, 12, 31) + timedelta(days=number) for number in range(9)]
    start, end = given_terms.period_start or calendar[0], given_terms.period_end or calendar[-1]
    return {day for day in calendar if start <= day <= end}


def at_most(value):
    return 10**9 if value is None else value


def narrower(asked, agreed, asked_patients, given_patients):
    return is_narrower(asked, agreed, asked_patients=asked_patients, given_patients=given_patients, types_of=TYPES_OF)


patients = st.sets(st.integers(1, 4))


@st.composite
def altered(draw):
    """Terms, and the same with one thing drawn anew: most often still comparable, which two independent draws hardly are."""
    asked, other = draw(terms()), draw(terms())
    change = draw(st.sampled_from(["data", "valid_until", "period_start", "period_end", "retention_days", "releases_limit"]))
    return asked, replace(asked, **{change: getattr(other, change)})


@given(pair=altered(), asked_patients=patients, agreed_patients=patients | st.none())
def test_what_counts_as_narrower_is_less_of_everything(pair, asked_patients, agreed_patients):
    asked, agreed = pair
    agreed_patients = asked_patients if agreed_patients is None else agreed_patients
    if narrower(asked, agreed, asked_patients, agreed_patients):
        assert reached(agreed) <= reached(asked)
        assert days_of(agreed) <= days_of(asked)
        assert agreed.valid_until <= asked.valid_until
        assert at_most(agreed.retention_days) <= at_most(asked.retention_days)
        assert at_most(agreed.releases_limit) <= at_most(asked.releases_limit)
        assert agreed_patients
        assert agreed_patients <= asked_patients
        assert (asked, asked_patients) != (agreed, agreed_patients)


DAYS = [None, date(2024, 1, 2), date(2024, 1, 4)]


@pytest.mark.parametrize(("start", "end"), list(product(DAYS, DAYS)))
def test_every_period_within_every_other(start, end):
    asked = replace(ASKED, period_start=start, period_end=end)
    for other_start, other_end in product(DAYS, DAYS):
        agreed = replace(asked, period_start=other_start, period_end=other_end)
        within = days_of(agreed) <= days_of(asked) and bool(days_of(agreed))
        assert narrower(asked, agreed, {1, 2}, {1}) is within, (other_start, other_end)


@st.composite
def lines_made_from(draw, asked):
    """Lines, some of them changed in one way each, some gone."""
    changed = []
    for item in draw(st.lists(st.sampled_from(asked), min_size=1, unique=True)):
        other = draw(items())
        ways = (
            [item, replace(item, data_class=other.data_class or item.data_class)]
            if item.data_class
            else [item, replace(item, elements=other.elements)]
        )
        ways += [] if item.data_class else [replace(item, codes=other.codes)]
        changed.append(draw(st.sampled_from(ways)))
    return tuple(changed)


@settings(max_examples=300)
@given(data=st.data())
def test_lines_that_count_as_narrower_reach_nothing_more(data):
    asked = replace(ASKED, data=tuple(data.draw(st.lists(items(), min_size=1, max_size=3, unique=True))))
    agreed = replace(asked, data=data.draw(lines_made_from(asked.data)))
    if narrower(asked, agreed, {1, 2}, {1}):
        assert reached(agreed) <= reached(asked)


@st.composite
def narrowed(draw):
    """Terms, and terms made from them by taking away."""
    asked = draw(terms().filter(lambda one: not (one.period_start and one.period_end) or one.period_start <= one.period_end))
    some = st.lists(st.sampled_from(asked.data), min_size=1, unique=True)
    kept = draw(some.filter(lambda lines: {item.resource_type for item in asked.data} <= {item.resource_type for item in lines} | {None}))

    def fewer(values, everything):
        return tuple(draw(st.lists(st.sampled_from(values or everything), min_size=1, unique=True)))

    data = tuple(
        replace(item, elements=fewer(item.elements, ELEMENTS), codes=fewer(item.codes, CODES)) if item.resource_type and draw(st.booleans()) else item
        for item in kept
    )
    return asked, replace(
        asked,
        data=data,
        valid_until=asked.valid_until - timedelta(days=draw(st.integers(0, 2))),
        retention_days=draw(st.integers(0, at_most(asked.retention_days))),
        releases_limit=draw(st.integers(0, at_most(asked.releases_limit))),
    )


@given(pair=narrowed())
def test_taking_away_is_narrower(pair):
    asked, agreed = pair
    assert narrower(asked, agreed, {1, 2}, {1})
    if asked != agreed:
        check_narrower(asked, agreed, asked_patients={1, 2}, given_patients={1, 2}, types_of=TYPES_OF)


ASKED = Terms(
    purpose="TREAT",
    lawful_basis="consent",
    recipient="renhe",
    data=(Item(data_class="clinical"), Item(resource_type="Observation", elements=("code", "value"))),
    valid_until=date(2026, 12, 31),
)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"purpose": "HRESCH"}, "/purpose"),
        ({"lawful_basis": "statutory"}, "/lawful_basis"),
        ({"recipient": "shengli"}, "/recipient"),
        ({"channel": "bulk"}, "/channel"),
        ({"urgency": "emergency"}, "/urgency"),
        ({"justified": True}, "/justified"),
        ({"data": ()}, "/data"),
        ({"data": (Item(data_class="financial"),)}, "/data/0"),
        ({"data": (Item(data_class="clinical.laboratory"), Item(resource_type="Observation"))}, "/data/1"),
        ({"data": (Item(resource_type="Condition"),)}, "/data/0"),  # A class does not stand for bare types
        ({"data": (Item(data_class="clinicalish"),)}, "/data/0"),  # … nor for what only begins like it
        ({"data": (Item(data_class="clinical.elsewhere"),)}, "/data/0"),  # … nor for what lies below and reaches further
        ({"data": (Item(data_class="clinical"),)}, "/data"),  # Without its line, Observation would be whole again
        ({"data": (Item(data_class="clinical.laboratory"),)}, "/data"),
        ({"valid_until": date(2027, 1, 1)}, "/valid_until"),
    ],
)
def test_what_is_wider_is_named(changes, path):
    with pytest.raises(NotNarrower) as caught:
        check_narrower(ASKED, replace(ASKED, **changes), asked_patients={1}, given_patients={1}, types_of=TYPES_OF)
    assert path in {problem.path for problem in caught.value.problems}


def test_a_line_may_go_with_what_else_brings_its_type():
    check_narrower(ASKED, replace(ASKED, data=ASKED.data[1:]), asked_patients={1}, given_patients={1}, types_of=TYPES_OF)
    alone = replace(ASKED, data=(Item(data_class="financial"), *ASKED.data[1:]))
    check_narrower(alone, replace(alone, data=alone.data[:1]), asked_patients={1}, given_patients={1}, types_of=TYPES_OF)


def test_codes_are_known_where_policy_names_them():
    known = {"patients": 1, "data_classes": CLASSES, "today": TODAY}
    assert form_problems(FORM, purposes={"TREAT"}, lawful_bases={"consent"}, **known) == ()
    found = form_problems(FORM, purposes={"HRESCH"}, lawful_bases=set(), **known)
    assert [(one.path, one.code) for one in found] == [("/purpose", "unknown"), ("/lawful_basis", "unknown")]


def test_nothing_narrowed_is_no_narrowing():
    with pytest.raises(NotNarrower, match="approve it as it is"):
        check_narrower(ASKED, ASKED, asked_patients={1}, given_patients={1}, types_of=TYPES_OF)


@pytest.mark.parametrize(("agreed", "code"), [(set(), "required"), ({1, 3}, "wider")])
def test_patients_can_only_go(agreed, code):
    with pytest.raises(NotNarrower) as caught:
        check_narrower(ASKED, ASKED, asked_patients={1, 2}, given_patients=agreed, types_of=TYPES_OF)
    assert ("/patients", code) in {(problem.path, problem.code) for problem in caught.value.problems}
