"""Key sets of clients: what is taken, and that a key is found exactly or not at all."""

from datetime import UTC, datetime

import pytest

from broker.identity import client_keys
from broker.identity.errors import KeysRefused
from tests.factories.identity import private_key, public

NOW = datetime(2026, 11, 23, tzinfo=UTC)
EC, RSA, P256 = private_key("ES384", "ec-1"), private_key("RS384", "rsa-1"), private_key("ES256", "p256")
# A 1,024-bit modulus from RFC-style test material: its size is refused before anything is done with it.
SMALL_N = "u" + "A" * 169 + "Q"


def test_good_sets_are_kept_with_their_members_and_no_others():
    kept = client_keys.checked({"keys": [{**public(EC), "use": "sig", "key_ops": ["verify"], "note": "x"}, public(RSA)], "more": 1})
    assert [sorted(key) for key in kept["keys"]] == [["alg", "crv", "kid", "kty", "use", "x", "y"], ["alg", "e", "kid", "kty", "n"]]
    assert len(client_keys.thumbprints(kept)) == 2


REFUSED = [
    (None, "keys-missing"),
    ([], "keys-missing"),
    ({}, "keys-missing"),
    ({"keys": []}, "keys-missing"),
    ({"keys": {}}, "keys-missing"),
    ({"keys": [public(EC)] * 11}, "keys-missing"),
    ({"keys": ["key"]}, "not-a-key"),
    ({"keys": [EC]}, "private-key"),
    ({"keys": [RSA]}, "private-key"),
    ({"keys": [{"kty": "oct", "kid": "x", "k": "c2VjcmV0"}]}, "private-key"),
    ({"keys": [{**public(RSA), "qi": "AQ"}]}, "private-key"),
    ({"keys": [{"kty": "OKP", "kid": "x", "crv": "Ed25519", "x": "AA"}]}, "kty"),
    ({"keys": [{"kty": ["EC"], "kid": "x"}]}, "kty"),
    ({"keys": [{"kid": "x"}]}, "kty"),
    ({"keys": [{**public(EC), "kid": ""}]}, "kid"),
    ({"keys": [{**public(EC), "kid": 1}]}, "kid"),
    ({"keys": [{**public(EC), "kid": "a\0"}]}, "kid"),
    ({"keys": [{**public(EC), "kid": "a" * 300}]}, "kid"),
    ({"keys": [{name: value for name, value in public(EC).items() if name != "kid"}]}, "kid"),
    ({"keys": [public(EC), public(EC)]}, "kid-repeated"),
    ({"keys": [{**public(EC), "use": "enc"}]}, "use"),
    ({"keys": [{**public(EC), "alg": "ES256"}]}, "alg"),
    ({"keys": [{**public(RSA), "alg": "RS256"}]}, "alg"),
    ({"keys": [{**public(EC), "key_ops": ["sign"]}]}, "key_ops"),
    ({"keys": [{**public(EC), "exp": "soon"}]}, "exp"),
    ({"keys": [{**public(P256), "alg": "ES384"}]}, "crv"),
    ({"keys": [{**public(EC), "crv": "P-256"}]}, "crv"),
    ({"keys": [{**public(EC), "x": public(EC)["y"]}]}, "not-a-key"),  # Off the curve.
    ({"keys": [{**public(EC), "x": "!"}]}, "not-a-key"),
    ({"keys": [{**public(EC), "x": 5}]}, "not-a-key"),
    ({"keys": [{name: value for name, value in public(EC).items() if name != "y"}]}, "not-a-key"),
    ({"keys": [{**public(RSA), "n": SMALL_N}]}, "size"),
    ({"keys": [{**public(RSA), "n": "v" * 1400}]}, "size"),
    ({"keys": [{**public(RSA), "e": "AQ"}]}, "not-a-key"),  # Exponent 1.
    ({"keys": [{**public(RSA), "n": None}]}, "not-a-key"),
]


@pytest.mark.parametrize(("jwks", "code"), REFUSED)
def test_a_set_that_can_not_be_used_is_refused_with_the_reason_and_the_place(jwks, code):
    with pytest.raises(KeysRefused) as error:
        client_keys.checked(jwks)
    assert code in [problem.code for problem in error.value.problems]
    assert all(problem.path.startswith("/jwks/keys") for problem in error.value.problems)
    assert not [problem for problem in error.value.problems if EC["d"] in problem.message or RSA["d"] in problem.message]


def find(keys, algorithm="ES384", kid="ec-1"):
    return client_keys.the_one(keys, algorithm=algorithm, kid=kid, now=NOW)


def test_a_key_is_found_by_kind_and_kid():
    keys = [public(EC), public(RSA), {**public(RSA), "kid": "ec-1"}]
    assert find(keys).thumbprint() == client_keys.thumbprints({"keys": [public(EC)]})[0]
    assert find(keys, "RS384", "ec-1").key_type == "RSA"


@pytest.mark.parametrize(
    ("keys", "algorithm", "kid"),
    [
        ([], "ES384", "ec-1"),
        ([public(EC)], "ES384", "other"),  # CVE-2026-27962: nothing else is tried.
        ([public(EC)], "ES384", ""),
        ([public(EC)], "RS384", "ec-1"),
        ([public(EC)], "HS384", "ec-1"),
        ([public(EC)], "none", "ec-1"),
        ([public(EC), public(EC)], "ES384", "ec-1"),
        ([{**public(EC), "exp": int(NOW.timestamp())}], "ES384", "ec-1"),
        ([{**public(EC), "nbf": int(NOW.timestamp()) + 1}], "ES384", "ec-1"),
    ],
)
def test_where_it_is_not_exactly_one_there_is_none(keys, algorithm, kid):
    assert find(keys, algorithm, kid) is None


def test_the_life_of_a_key_has_two_ends():
    assert find([{**public(EC), "nbf": int(NOW.timestamp()), "exp": int(NOW.timestamp()) + 1}]) is not None
