from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from broker.records.rewriting import Condition, conditional, identifier_query, rewritten, targets, with_id

URN = "urn:uuid:0fc60a5a-6a3e-4dd1-a92e-4ed5e1e0a7c5"


def test_only_references_and_urls_change_and_every_other_byte_stays():
    body = f'{{ "value" : 13.20,"a":{{"reference" :\t"{URN}","display":"{URN}"}}, '
    body += f'"identifier":{{"value":"{URN}"}},"note":"\\"reference\\":\\"{URN}\\""}}'
    changed, count = rewritten(body.encode(), {URN: "Patient/1"})
    assert count == 1
    assert changed.decode() == body.replace(f'"reference" :\t"{URN}"', '"reference" :\t"Patient/1"')


def test_a_reference_written_with_escapes_is_understood():
    changed, count = rewritten(rb'{"reference":"urn:uuid:\u0041"}', {"urn:uuid:A": "Patient/1"})
    assert (changed, count) == (b'{"reference":"Patient/1"}', 1)


@given(
    st.recursive(
        st.text(max_size=6) | st.sampled_from([URN, "Patient/9"]),
        lambda inner: st.dictionaries(st.sampled_from(["reference", "url", "x"]), inner, max_size=3) | st.lists(inner, max_size=3),
        max_leaves=12,
    )
)
def test_the_bytes_change_exactly_where_the_parsed_resource_does(node: object):
    body = json.dumps({"root": node}).encode()
    expected = json.loads(body)
    places = [(holder, name) for holder, name in targets(expected) if holder[name] == URN]
    for holder, name in places:
        holder[name] = "Patient/1"
    changed, count = rewritten(body, {URN: "Patient/1"})
    assert count == len(places)
    assert json.loads(changed) == expected


def test_conditions_are_by_identifier_alone():
    assert conditional("Practitioner?identifier=http://npi|99") == Condition("Practitioner", "http://npi", "99")
    assert conditional("Practitioner?identifier=http%3A%2F%2Fnpi%7C9%209") == Condition("Practitioner", "http://npi", "9 9")
    assert conditional("Practitioner/99") is None
    for query in ("name=x", "identifier=99", "identifier=|99", "identifier=s|", "identifier=s|9&active=true", ""):
        assert identifier_query("Practitioner", query) is None


def test_an_id_is_put_first():
    assert with_id(b' { "resourceType":"Basic"}', "x") == b' { "id":"x","resourceType":"Basic"}'
