"""Signing and encrypting one Bundle: what comes back is what went in, whatever its size, and nothing else is believed."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey

from broker.identity.access import signing_key
from broker.identity.access_token import public_jwks, signed
from broker.release import packaging


@pytest.mark.parametrize("size", [0, 1, 100_000, 5_000_000])
def test_any_size(keys, size):
    body = b"x" * size
    private = ECKey.generate_key("P-384", {"kid": "k"})
    assert packaging.decrypted(packaging.encrypted(private.as_dict(private=False), body), private.as_dict(private=True)) == body
    packaging.check_signature(packaging.signature(keys, body), body, public_jwks(keys))


def test_a_token_or_a_statement_is_no_signature_of_a_release(keys):
    """The same key signs them; their type keeps them apart."""
    jwks = public_jwks(keys)
    token = signed(keys, {"iss": "x"})
    head, body, tail = token.split(".")
    payload = base64.urlsafe_b64decode(body + "==")
    with pytest.raises(packaging.PackageInvalid):
        packaging.check_signature(f"{head}..{tail}", payload, jwks)
    with pytest.raises(packaging.PackageInvalid):
        packaging.read_statement(token, jwks)
    statement = packaging.statement(keys, {"release": "x"})
    assert packaging.read_statement(statement, jwks) == {"release": "x"}
    head, _, tail = statement.split(".")
    with pytest.raises(packaging.PackageInvalid):
        packaging.check_signature(f"{head}..{tail}", json.dumps({"release": "x"}).encode(), jwks)


@settings(max_examples=200)
@given(st.text(max_size=300))
def test_whatever_comes_is_refused_in_one_way(text):
    private = ECKey.import_key(
        {"kty": "EC", "crv": "P-256", "x": "LY4iSgRjUdvkXvLIS3Oq84FhLecbof3RNVShK_wFqx4", "y": "7p-1jg1Kef8rjGKibiwauJraR8fiDy7uqucJrR17EY8"}
    ).as_dict()
    for check in (
        lambda: packaging.check_signature(text, b"{}", {"keys": [private]}),
        lambda: packaging.read_statement(text, {"keys": [private]}),
        lambda: packaging.decrypted(text.encode(), private | {"d": "AA"}),
    ):
        with pytest.raises(packaging.PackageInvalid):
            check()


def test_the_key_is_the_published_one(keys):
    assert public_jwks(keys)["keys"][0]["kid"] == signing_key(keys).kid
