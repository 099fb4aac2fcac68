"""Two logs of the same sendings, one on each side: what one of them lacks is found, whatever order and form they are in (RS-6.2.3)."""

import json
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.release.reconciling import LogUnreadable, Sent, compare, imported, objects

AT = datetime(2026, 11, 2, tzinfo=UTC)


def sent(number, **more):
    values = {"release": UUID(int=number), "at": AT, "application": "SA-2026-000001", "outcome": "sent", "digest": f"{number:064x}", "within": True}
    return Sent(**{**values, **more})


def receipt(number, **more):
    return {
        "kind": "broker.release.receipt/1",
        "release": str(UUID(int=number)),
        "digest": f"sha-256={number:064x}",
        "received_at": "2026-11-02",
        **more,
    }


def event(number, code="110107"):
    """IHE BALP PrivacyDisclosure.Recipient, as a recipient's system writes it."""
    return {
        "resourceType": "AuditEvent",
        "type": {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": code},
        "recorded": "2026-11-02T08:00:00Z",
        "entity": [
            {"what": {"reference": "Patient/1"}},
            {
                "what": {"identifier": {"value": f"urn:uuid:{UUID(int=number)}"}},
                "detail": [{"type": "digest", "valueString": f"sha256:{number:064X}"}],
            },
        ],
    }


def counts(ours, entries):
    read, unreadable = imported(entries)
    done = compare(ours, read, unreadable)
    return {name: count for name, count in done.counts.items() if count}


def test_each_kind_of_difference():
    assert counts([sent(1), sent(2)], [receipt(1), event(2)]) == {"matched": 2}
    assert counts([sent(1), sent(2)], [receipt(1)]) == {"matched": 1, "missing_there": 1}
    assert counts([sent(1)], [receipt(1), receipt(3)]) == {"matched": 1, "missing_here": 1}
    assert counts([sent(1)], [receipt(1, digest=f"sha-256={9:064x}")]) == {"changed": 1}
    assert counts([sent(1)], [receipt(1), event(1)]) == {"matched": 1, "repeated": 1}
    assert counts([sent(1)], [receipt(1), {"kind": "other"}, "x", event(1, code="110106"), receipt(1, release=None, digest=None)]) == {
        "matched": 1,
        "unreadable": 4,
    }


def test_a_line_that_kept_no_number_is_known_by_its_bytes():
    assert counts([sent(1), sent(2, digest=f"{1:064x}")], [receipt(1, release=None), receipt(1, release=None)]) == {"matched": 2}
    # It never takes the release of a line that says its number.
    assert counts([sent(1), sent(2, digest=f"{1:064x}")], [receipt(1, release=None), receipt(1)]) == {"matched": 2}
    assert counts([sent(1)], [receipt(1, release=None), receipt(1)]) == {"matched": 1, "repeated": 1}


def test_what_lies_beside_the_period_is_matched_and_never_missed():
    assert counts([sent(1, within=False), sent(2, within=False)], [receipt(1)]) == {"matched": 1}


def test_a_sending_without_known_end_that_did_arrive_is_matched():
    assert counts([sent(1, outcome="unknown", digest=None)], [receipt(1)]) == {"matched": 1}


@given(st.sets(st.integers(0, 30)), st.lists(st.integers(0, 30), max_size=40), st.randoms(use_true_random=False))
def test_nothing_is_lost_between_the_two(ours, theirs, chance):
    entries = [(receipt if chance.random() < 0.5 else event)(number) for number in theirs]
    read, unreadable = imported(entries)
    done = compare([sent(number) for number in sorted(ours)], read, unreadable)
    assert {one.release.int for one in done.matched} == ours & set(theirs)
    assert {one.release.int for one in done.missing_there} == ours - set(theirs)
    assert {one.release.int for one in done.missing_here} == set(theirs) - ours
    assert len(done.matched) + len(done.repeated) + len(done.missing_here) == len(theirs)
    assert done.agrees == (ours == set(theirs))


def test_files_of_every_form():
    one, other = receipt(1), event(2)
    forms = [
        json.dumps([one, other]),
        json.dumps(one) + "\n\n" + json.dumps(other) + "\n",
        json.dumps({"resourceType": "Bundle", "entry": [{"resource": one}, {"resource": other}]}),
        "\ufeff" + json.dumps([one, {"resourceType": "Bundle", "entry": [{"resource": other}]}]),
    ]
    for form in forms:
        assert objects(form.encode()) == [one, other], form
    for wrong in (b"\xff\xfe", b"{", b'{"a":1}\nx', b"[" * 100_000):
        with pytest.raises(LogUnreadable):
            objects(wrong)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["kind", "resourceType", "type", "code", "entity", "what", "identifier", "value", "detail", "valueString", "release", "digest"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_no_entry_does_worse_than_not_be_understood(entry):
    shaped = {"resourceType": "AuditEvent", "type": {"code": "110107"}, "entity": entry} if isinstance(entry, list) else entry
    read, unreadable = imported([shaped, receipt(int(uuid4()) % 2**64)])
    assert len(read) + len(unreadable) == 2
