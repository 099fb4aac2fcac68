"""How one Bundle is signed and encrypted for its recipient (RS-5.2.2, RS-5.3.3). Pure; ``broker receive`` undoes it.

The signature is a detached JWS over the Bundle's bytes (RFC 7515 appendix F), made with the key of ``/oauth2/jwks``; its type keeps it
apart from tokens. Encryption comes second (RFC 7516, ECDH-ES+A256KW with A256GCM), to the one key that the hospital pinned.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from joserfc import jwe, jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from broker.crypto import Keys
from broker.identity.access import signing_key

SIGNATURE_TYPE = "fhir-release+jws"
STATEMENT_TYPE = "fhir-release-statement+jws"
SIGNATURE_ALGORITHM = "ES256"
ENCRYPTION = ("ECDH-ES+A256KW", "A256GCM")
FHIR_JSON = "application/fhir+json"
JOSE = "application/jose"


#: Largest Bundle that a recipient's command opens. What we send is not limited here.
MAX_BYTES = 1 << 30


class _LargeJwe(jwe.JWERegistry):
    max_ciphertext_length = MAX_BYTES


class _LargeJws(jws.JWSRegistry):
    max_payload_length = MAX_BYTES


_JWE, _JWS = _LargeJwe(algorithms=list(ENCRYPTION)), _LargeJws(algorithms=[SIGNATURE_ALGORITHM])


class PackageInvalid(Exception):
    """A signature or an encrypted body that isn't what it should be. The message repeats nothing of it."""


def signature(keys: Keys, body: bytes) -> str:
    """The detached JWS of a body."""
    key = signing_key(keys)
    header = {"alg": SIGNATURE_ALGORITHM, "kid": key.kid, "typ": SIGNATURE_TYPE, "cty": FHIR_JSON}
    return jws.detach_content(jws.serialize_compact(header, body, key, registry=_JWS))


def check_signature(detached: str, body: bytes, jwks: Mapping[str, Any]) -> str:
    """The kid of the key that signed the body. Raises PackageInvalid unless it is one of these keys and the signature is of this kind."""
    try:
        keys = KeySet.import_key_set(dict(jwks))  # type: ignore[arg-type]
        found = jws.deserialize_compact(detached, keys, registry=_JWS, payload=body)
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise PackageInvalid("The signature is not one of these keys over these bytes.") from error
    header = found.headers()
    if header.get("typ") != SIGNATURE_TYPE or header.get("crit") is not None:
        raise PackageInvalid("The signature is not one of a release.")
    return str(header.get("kid", ""))


def statement(keys: Keys, said: Mapping[str, Any]) -> str:
    """The hospital's signed word about a release: a compact JWS over JSON."""
    key = signing_key(keys)
    header = {"alg": SIGNATURE_ALGORITHM, "kid": key.kid, "typ": STATEMENT_TYPE}
    return jws.serialize_compact(header, json.dumps(said, sort_keys=True).encode(), key, algorithms=[SIGNATURE_ALGORITHM])


def read_statement(token: str, jwks: Mapping[str, Any]) -> dict[str, Any]:
    """What such a statement says. Raises PackageInvalid unless it is signed with one of these keys."""
    try:
        found = jws.deserialize_compact(token, KeySet.import_key_set(dict(jwks)), algorithms=[SIGNATURE_ALGORITHM])  # type: ignore[arg-type]
        said = json.loads(found.payload)
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise PackageInvalid("The statement is not signed with one of these keys.") from error
    if found.headers().get("typ") != STATEMENT_TYPE or not isinstance(said, dict):
        raise PackageInvalid("The statement is not one about a release.")
    return said


def encrypted(jwk: Mapping[str, Any], body: bytes) -> bytes:
    """The body as a compact JWE to a pinned public key."""
    header = {"alg": ENCRYPTION[0], "enc": ENCRYPTION[1], "kid": jwk["kid"], "typ": "JOSE", "cty": FHIR_JSON}
    key = ECKey.import_key({name: jwk[name] for name in ("kty", "crv", "x", "y")})
    return jwe.encrypt_compact(header, body, key, registry=_JWE).encode()


def decrypted(token: bytes, private_jwk: Mapping[str, Any]) -> bytes:
    """The body of a JWE for this private key. Raises PackageInvalid."""
    try:
        key = ECKey.import_key({name: private_jwk[name] for name in ("kty", "crv", "x", "y", "d")})
        found = jwe.decrypt_compact(token.strip(), key, registry=_JWE)
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise PackageInvalid("It was not encrypted to this key, or was changed on the way.") from error
    if found.plaintext is None:
        raise PackageInvalid("There is nothing in it.")
    return bytes(found.plaintext)
