"""A token is read strictly before it is believed."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.identity import jose
from tests.factories.identity import b64


def token(header="{}", claims="{}", signature="AAAA"):
    return f"{b64(header.encode())}.{b64(claims.encode())}.{signature}"


def test_header_and_claims_are_read():
    assert jose.read(token('{"alg":"ES384"}', '{"a":{"b":1}}')) == jose.Unverified({"alg": "ES384"}, {"a": {"b": 1}})


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c.d",
        token(signature=""),
        token(signature="AAAA="),
        token(signature="AA AA"),
        token(signature="AA\nAA"),
        token("[]"),
        token("null"),
        token(claims='"text"'),
        token(claims='{"a":1,"a":2}'),
        token(claims='{"a":{"b":1,"b":2}}'),
        token(claims='{"a":NaN}'),
        token(claims='{"a":-Infinity}'),
        token(claims='{"a":1} x'),
        token(claims="{'a':1}"),
        token(claims="[" * 3000),
        token(claims='{"a":' + "9" * 5000 + "}"),
        f"{b64(bytes([0xFF]))}.{b64(b'{}')}.AAAA",
        token(header='{"a":"' + "b" * 400 + '"}'),
        token(claims='{"a":"' + "b" * 9000 + '"}'),
        token(signature="A" * 1025),
        "A" * 10_000_000,
        "ａ.ｂ.ｃ",
        "eyJ9.eyJ9.AAAB",
    ],
)
def test_what_can_not_be_read(text):
    with pytest.raises(jose.TokenUnreadable) as error:
        jose.read(text)
    assert str(error.value).isascii()


def test_non_canonical_base64_is_refused():
    """The last character has unused bits; two spellings of one token would be two entries in a replay table."""
    with pytest.raises(jose.TokenUnreadable):
        jose.read("e31.e30.AAAA")


@given(st.text())
def test_any_text_is_read_or_refused(text):
    with suppress(jose.TokenUnreadable):
        assert jose.read(text).header is not None


@given(st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=8), max_size=5))
def test_what_is_written_is_read(claims):
    assert jose.read(token(claims=json.dumps(claims))).claims == claims
