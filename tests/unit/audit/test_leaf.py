"""A leaf is canonical JSON, small, and has no room for what would tell who a patient is."""

import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from broker.audit.errors import NotRecordable
from broker.audit.leaf import MAX_LEAF_BYTES, first_id, leaf, read_leaf, timestamp, uuid7
from tests.factories.audit import event, intent

AT = datetime(2026, 11, 23, 6, 44, 50, 123_999, tzinfo=UTC)
EVENT_ID = UUID("01939a4f-7f7b-7b2c-8d3e-1f2a3b4c5d6e")

codes = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40)
names = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,15}", fullmatch=True)
facts = st.dictionaries(names, st.one_of(codes, st.booleans(), st.integers(-(2**53) + 1, 2**53 - 1), st.lists(codes, max_size=3)), max_size=6)


@given(facts, codes, codes)
def test_it_is_what_rfc_8785_says(given_facts, actor, recipient):
    text = leaf(event(actor=actor, recipient=recipient, facts=given_facts), EVENT_ID, AT)
    assert text.encode() == rfc8785.dumps(json.loads(text))


def test_a_whole_leaf():
    release = UUID("b0a1f0b6-1111-4222-8333-444455556666")
    assert leaf(intent(release, facts={"reasons": ["a.b"], "partial": False}), EVENT_ID, AT) == (
        '{"actor":"client:yihe-his","app":"SA-2026-000001","facts":{"items":42,"manifest":"' + "ab" * 32 + '","partial":false,"reasons":["a.b"],'
        '"sender":"renhe"},"grant":"5c7d","outcome":"permit","purpose":"TREAT","recipient":"yihe",'
        '"release":"b0a1f0b6-1111-4222-8333-444455556666","seq":"01939a4f-7f7b-7b2c-8d3e-1f2a3b4c5d6e","subject":"' + "cd" * 32 + '",'
        '"t":"2026-11-23T06:44:50.123Z","type":"release.permitted","v":1}'
    )


def test_the_patient_key_is_not_in_it():
    patient = UUID("deadbeef-dead-4eef-8ead-beefdeadbeef")
    text = leaf(intent(patient=patient), EVENT_ID, AT)
    assert "deadbeef" not in text
    assert set(read_leaf(text)) >= {"v", "seq", "t", "type", "actor", "app", "recipient", "purpose", "subject", "release", "outcome", "facts"}


@pytest.mark.parametrize(
    "changes",
    [
        {"facts": {"name": "张伟"}},
        {"facts": {"note": "two words"}},
        {"facts": {"value": 1.5}},
        {"facts": {"value": None}},
        {"facts": {"value": {"nested": 1}}},
        {"facts": {"value": 2**53}},
        {"facts": {"values": [1]}},
        {"facts": {"values": ["a", "b c"]}},
        {"facts": {"": "x"}},
        {"facts": {"a b": "x"}},
        {"facts": {"empty": ""}},
        {"facts": {"long": "x" * 513}},
        {"facts": {"line": "a\n"}},
        {"facts": {"surrogate": "\ud800"}},
        {"facts": {"bytes": b"x"}},
        {"actor": "person:李 娜"},
        {"recipient": "仁和医院"},
        {"purpose": ""},
        {"type": "submitted"},
        {"type": "Application.Submitted"},
        {"type": "application.submitted\n"},
        {"facts": {f"reason{number}": "x" * 300 for number in range(8)}},
    ],
)
def test_what_may_not_stand_in_it(changes):
    with pytest.raises(NotRecordable) as refused:
        leaf(event(**changes), EVENT_ID, AT)
    for value in ("张伟", "two words", "李 娜", "仁和医院"):
        assert value not in str(refused.value)


def test_it_is_at_most_2_kb():
    filling = {f"f{number}": "x" * 500 for number in range(3)}
    rest = MAX_LEAF_BYTES - len(leaf(event(facts={**filling, "g": "y"}), EVENT_ID, AT)) + 1
    assert len(leaf(event(facts={**filling, "g": "y" * rest}), EVENT_ID, AT)) == MAX_LEAF_BYTES
    with pytest.raises(NotRecordable):
        leaf(event(facts={**filling, "g": "y" * (rest + 1)}), EVENT_ID, AT)


def test_times_are_utc_with_milliseconds():
    assert timestamp(AT) == "2026-11-23T06:44:50.123Z"
    assert timestamp(AT.astimezone(timezone(timedelta(hours=8)))) == "2026-11-23T06:44:50.123Z"
    assert timestamp(AT.replace(microsecond=0)) == "2026-11-23T06:44:50.000Z"


def test_ids_are_uuid_version_7_and_sort_by_time():
    one, other, later = uuid7(AT), uuid7(AT), uuid7(AT + timedelta(milliseconds=1))
    assert one.version == 7
    assert one.variant == "specified in RFC 4122"
    assert one != other
    assert max(one, other) < later
    assert one.int >> 80 == int(AT.timestamp() * 1000)


@given(st.datetimes(datetime(1970, 1, 1), datetime(2900, 1, 1), timezones=st.just(UTC)), st.integers(-3000, 3000))  # noqa: DTZ001
def test_ids_can_be_asked_for_by_time(moment, microseconds):
    # An event's time is kept in whole milliseconds.
    event_time = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    asked = moment + timedelta(microseconds=microseconds) if moment > datetime(1971, 1, 1, tzinfo=UTC) else moment
    assert (uuid7(event_time) >= first_id(asked)) == (event_time >= asked)
