"""Public keys of clients: which key sets we take, and which one key of a set an assertion is checked with.

RFC 7517 (JWK), RFC 7518 (RS384, ES384), SMART App Launch 2.2 "Client Authentication: Asymmetric".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from joserfc.util import base64_to_int

from broker.errors import Problem
from broker.identity.errors import KeysRefused

#: Signature algorithm and the key it takes. SMART clients SHALL support both; we take nothing else.
KEY_OF_ALGORITHM = {"RS384": "RSA", "ES384": "EC"}
ALGORITHM_OF_KEY = {kind: algorithm for algorithm, kind in KEY_OF_ALGORITHM.items()}
#: Members that are kept. ``nbf`` and ``exp`` bound a key's life (OpenID Federation 1.0 registers them for JWKs).
_KEPT = {"RSA": ("kty", "kid", "use", "alg", "nbf", "exp", "n", "e"), "EC": ("kty", "kid", "use", "alg", "nbf", "exp", "crv", "x", "y")}
#: Members that only a private or a shared key has (RFC 7518 6.2.2, 6.3.2, 6.4.1).
_SECRET = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
MAX_KEYS = 10
MAX_KID = 200
RSA_BITS = (2048, 4096)


def checked(jwks: object, path: str = "/jwks") -> dict[str, Any]:
    """The key set with only the members that are kept. Raises KeysRefused, which names each problem and its place.

    A private key is refused, not stripped: whoever sent it must make a new one. ``path`` is where the set stands in the
    request.
    """
    keys = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(keys, list) or not 1 <= len(keys) <= MAX_KEYS:
        raise KeysRefused(problems=(Problem(f"{path}/keys", "keys-missing", f"A key set holds one to {MAX_KEYS} keys under keys."),))
    problems = [problem for position, key in enumerate(keys) for problem in _problems(key, f"{path}/keys/{position}")]
    names = [(key.get("kty"), key.get("kid")) for key in keys if isinstance(key, dict)]
    problems += [
        Problem(f"{path}/keys/{position}/kid", "kid-repeated", "Each key of one kind has a kid of its own.")
        for position, name in enumerate(names)
        if name in names[:position]
    ]
    if problems:
        raise KeysRefused(problems=tuple(problems))
    return {"keys": [{member: key[member] for member in _KEPT[key["kty"]] if member in key} for key in keys]}


#: Keys that releases can be encrypted to (RFC 7518 4.6, ECDH-ES) and the members that are kept.
ENCRYPTION_CURVES = ("P-256", "P-384", "P-521")
_ENCRYPTION_MEMBERS = ("kty", "kid", "use", "alg", "exp", "crv", "x", "y")


def checked_encryption(jwk: object, path: str = "/encryption_jwk") -> dict[str, Any]:
    """A public key to encrypt releases to, with only the members that are kept. Raises KeysRefused.

    Pinned when the client is registered: nothing that a request brings along is ever encrypted to.
    """
    problem = _encryption_problem(jwk, path)
    if problem is not None or not isinstance(jwk, dict):
        raise KeysRefused(problems=() if problem is None else (problem,))
    return {member: jwk[member] for member in _ENCRYPTION_MEMBERS if member in jwk}


def _encryption_problem(jwk: object, path: str) -> Problem | None:
    if not isinstance(jwk, dict):
        return Problem(path, "not-a-key", "A key is a JSON object.")
    if secret := sorted(_SECRET & jwk.keys()):
        return Problem(f"{path}/{secret[0]}", "private-key", "This is a private or shared key. Make a new pair and send the public key alone.")
    kid = jwk.get("kid")
    good = jwk.get("kty") == "EC" and jwk.get("crv") in ENCRYPTION_CURVES and jwk.get("use", "enc") == "enc"
    if not good or jwk.get("alg", "ECDH-ES+A256KW") != "ECDH-ES+A256KW" or type(jwk.get("exp", 0)) is not int:
        return Problem(path, "not-a-key", f"Releases are encrypted to an EC key on {', '.join(ENCRYPTION_CURVES)} with use enc and ECDH-ES+A256KW.")
    if not isinstance(kid, str) or not 1 <= len(kid) <= MAX_KID or not kid.isprintable():
        return Problem(f"{path}/kid", "kid", f"A key has a kid of 1 to {MAX_KID} printable characters.")
    try:
        key = ECKey.import_key({name: jwk[name] for name in ("kty", "crv", "x", "y")})
        key.public_key  # noqa: B018  (A point off its curve raises here.)
    except (JoseError, ValueError, TypeError, KeyError):
        return Problem(path, "not-a-key", "The numbers do not make up a public key.")
    return None


def _problems(key: object, path: str) -> list[Problem]:
    if not isinstance(key, dict):
        return [Problem(path, "not-a-key", "A key is a JSON object.")]
    if secret := sorted(_SECRET & key.keys()):
        return [Problem(f"{path}/{secret[0]}", "private-key", "This is a private or shared key. Make a new pair and send the public key alone.")]
    kind = key.get("kty")
    if not isinstance(kind, str) or kind not in _KEPT:
        return [Problem(f"{path}/kty", "kty", "A key is of kind RSA (for RS384) or EC (for ES384).")]
    problems = []
    kid = key.get("kid")
    if not isinstance(kid, str) or not 1 <= len(kid) <= MAX_KID or not kid.isprintable():
        problems.append(Problem(f"{path}/kid", "kid", f"A key has a kid of 1 to {MAX_KID} printable characters."))
    if key.get("use", "sig") != "sig":
        problems.append(Problem(f"{path}/use", "use", "The key is used for signatures: use is sig, or left out."))
    if key.get("alg", ALGORITHM_OF_KEY[kind]) != ALGORITHM_OF_KEY[kind]:
        problems.append(Problem(f"{path}/alg", "alg", f"The algorithm of this kind of key is {ALGORITHM_OF_KEY[kind]}, or left out."))
    if key.get("key_ops", ["verify"]) != ["verify"]:
        problems.append(Problem(f"{path}/key_ops", "key_ops", 'key_ops is ["verify"], or left out.'))
    problems += [
        Problem(f"{path}/{name}", name, f"{name} is in whole seconds since 1970.")
        for name in ("nbf", "exp")
        if name in key and type(key[name]) is not int
    ]
    return problems or _unusable(key, path)


def _unusable(key: dict[str, Any], path: str) -> list[Problem]:
    if key["kty"] == "EC" and key.get("crv") != "P-384":
        return [Problem(f"{path}/crv", "crv", "ES384 needs a key on P-384.")]
    try:
        # The size is looked at first: joserfc takes a small key with a warning, and a huge one is work for every assertion.
        if key["kty"] == "RSA" and not RSA_BITS[0] <= base64_to_int(key["n"]).bit_length() <= RSA_BITS[1]:
            return [Problem(f"{path}/n", "size", f"An RSA key has {RSA_BITS[0]} to {RSA_BITS[1]} bits.")]
        _imported(_canonical(key))
    except (JoseError, ValueError, TypeError, KeyError):
        return [Problem(path, "not-a-key", "The numbers do not make up a public key.")]
    return []


def _canonical(key: Mapping[str, Any]) -> str:
    return json.dumps({member: key[member] for member in _KEPT[key["kty"]] if member in key}, sort_keys=True)


@lru_cache(maxsize=1024)
def _imported(canonical: str) -> ECKey | RSAKey:
    """The key as joserfc takes it. Public keys alone come here, so that nothing secret stays in the cache."""
    members = json.loads(canonical)
    numbers = {name: members[name] for name in (("kty", "crv", "x", "y") if members["kty"] == "EC" else ("kty", "n", "e"))}
    key = ECKey.import_key(numbers) if members["kty"] == "EC" else RSAKey.import_key(numbers)
    key.public_key  # noqa: B018  (The numbers are looked at here; a point off its curve raises.)
    return key


def the_one(keys: Sequence[Mapping[str, Any]], *, algorithm: str, kid: str, now: datetime) -> ECKey | RSAKey | None:
    """The key that an assertion must be checked with: exactly one by ``kty`` and ``kid``, and valid now. Else None.

    There is no falling back: not to the only key, not to a key the assertion brings along (CVE-2026-27962).
    """
    kind = KEY_OF_ALGORITHM.get(algorithm)
    matching = [key for key in keys if kind is not None and key.get("kty") == kind and key.get("kid") == kid]
    if len(matching) != 1:
        return None
    key, at = matching[0], now.timestamp()
    if key.get("nbf", at) > at or key.get("exp", at + 1) <= at:
        return None
    return _imported(_canonical(key))


def thumbprints(jwks: Mapping[str, Any]) -> list[str]:
    """RFC 7638 SHA-256 thumbprints of a checked key set, for the record."""
    return [_imported(_canonical(key)).thumbprint() for key in jwks["keys"]]
