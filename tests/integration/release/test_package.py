"""One signed Bundle, perhaps encrypted, and what its recipient can prove without us (RS-5.2.2, RS-5.3.3, PI-3.3)."""

from __future__ import annotations

import base64
import json
import time
from hashlib import sha256
from pathlib import Path

import pytest
from fhir.resources.R4B.provenance import Provenance
from joserfc.jwk import ECKey
from typer.testing import CliRunner

from broker.cli import app
from broker.release import packaging
from tests.attacks.asking import JSON
from tests.factories import identity as make
from tests.integration.release.conftest import Agreed, agree

RECIPIENT = ECKey.generate_key("P-256", {"kid": "shengli-2026"})
PINNED = {**RECIPIENT.as_dict(private=False), "kid": "shengli-2026", "use": "enc"}
STRANGER = ECKey.generate_key("P-256").as_dict(private=True)


@pytest.fixture(scope="module")
def agreed(story) -> Agreed:
    return agree(story)


def ask(agreed: Agreed, token: str | None = None):
    headers = {"Authorization": f"Bearer {token or agreed.token}", "Content-Type": JSON}
    return agreed.story.http.post("/releases", json={"application": agreed.number, "patient": agreed.patient}, headers=headers)


def pinned(story, jwk: dict | None, **more) -> dict:
    key = make.private_key("ES384")
    name = f"pinned-{time.monotonic_ns()}"
    body = {"id": name, "organization": "shengli-cardiology", "name": "x", "jwks": {"keys": [make.public(key)]}, "encryption_jwk": jwk, **more}
    answer = story.http.post("/api/v1/clients", json=body, auth=("deng.li", story.cast.passwords["deng.li"]))
    return {"status": answer.status_code, "name": name, "key": key, "answer": answer}


@pytest.fixture(scope="module")
def sealed(agreed) -> tuple:
    """An encrypted release, with the token it was asked with."""
    client = pinned(agreed.story, PINNED)
    assert client["status"] == 201, client["answer"].text
    form = make.form(client["name"], client["key"], f"{agreed.story.base_url}/oauth2/token", f"system/*.rs application:{agreed.number}")
    token = agreed.story.http.post("/oauth2/token", data=form).json()["access_token"]
    return ask(agreed, token), token


def manifest_of(agreed: Agreed, answer, token: str | None = None) -> dict:
    """The manifest once every entry of it is sealed."""
    until = time.monotonic() + 60
    while True:
        found = agreed.story.http.get(f"/releases/{answer.headers['release-id']}", headers={"Authorization": f"Bearer {token or agreed.token}"})
        if found.status_code == 200 and len(found.json()["log"]) == 2 and all(one["receipt"] for one in found.json()["log"]):
            return found.json()
        assert time.monotonic() < until, found.text
        time.sleep(0.1)


@pytest.fixture
def case(agreed, sealed, tmp_path) -> dict[str, Path]:
    """Files as a recipient keeps them: the encrypted answer, headers, manifest, keys."""
    answer, token = sealed
    files = {
        "answer": answer.content,
        "headers": "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items()).encode(),
        "manifest": json.dumps(manifest_of(agreed, answer, token)).encode(),
        "keys": agreed.story.http.get("/oauth2/jwks").content,
        "private": json.dumps(RECIPIENT.as_dict(private=True)).encode(),
        "log": _log_key(agreed).encode(),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    return {name: tmp_path / name for name in [*files, "out", "receipt"]}


def _log_key(agreed: Agreed) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    from broker.audit.note import Verifier

    installation = agreed.story.installation
    public = load_pem_private_key(installation.keys.log_signing_pem, None).public_key()
    return Verifier(installation.settings.log_origin, public.public_bytes(Encoding.Raw, PublicFormat.Raw)).vkey


def receive(case: dict[str, Path], *without: str):
    options = {"--keys": "keys", "--signature": "headers", "--manifest": "manifest", "--decrypt-with": "private", "--log-key": "log", "--out": "out",
               "--receipt": "receipt"}  # fmt: skip
    arguments = [part for option, name in options.items() if option not in without for part in (option, str(case[name]))]
    return CliRunner().invoke(app, ["receive", str(case["answer"]), *arguments, "--json"])


def test_the_bundle_is_signed_over_its_bytes(agreed):
    answer = ask(agreed)
    jwks = agreed.story.http.get("/oauth2/jwks").json()
    assert answer.headers["content-type"].startswith("application/fhir+json")
    assert packaging.check_signature(answer.headers["release-signature"], answer.content, jwks) == jwks["keys"][0]["kid"]
    with pytest.raises(packaging.PackageInvalid):
        packaging.check_signature(answer.headers["release-signature"], answer.content + b" ", jwks)


def test_ds4p_the_bundle_carries_the_high_water_mark_and_the_obligations(agreed):
    bundle = ask(agreed).json()
    marks = {one["code"] for one in bundle["meta"]["security"]}
    order = ("U", "L", "M", "N", "R", "V")
    levels = [one["code"] for entry in bundle["entry"] for one in entry["resource"]["meta"]["security"] if one["code"] in order]
    assert max(levels, key=order.index) in marks
    assert {"NORDSCLCD", "DELAU", "PERSISTLABEL"} <= marks


def test_provenance_carries_the_signature(agreed):
    answer = ask(agreed)
    manifest_of(agreed, answer)  # The outcome is on record a moment after the last byte.
    path = f"/releases/{answer.headers['release-id']}/provenance"
    found = agreed.get(path)
    Provenance.model_validate_json(found.content)
    signature = found.json()["signature"][0]
    assert (signature["sigFormat"], signature["targetFormat"]) == ("application/jose", "application/fhir+json")
    jwks = agreed.story.http.get("/oauth2/jwks").json()
    packaging.check_signature(base64.b64decode(signature["data"]).decode(), answer.content, jwks)
    assert found.json()["target"] == [{"reference": f"Bundle/{answer.json()['id']}"}]
    assert agreed.story.http.get(path).status_code == 401
    assert agreed.get("/releases/00000000-0000-4000-8000-000000000000/provenance").status_code == 404


def test_to_a_pinned_key_nothing_of_the_record_is_in_the_bytes(agreed, sealed):
    answer, _ = sealed
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/jose"
    header = json.loads(base64.urlsafe_b64decode(answer.content.split(b".")[0] + b"=="))
    assert (header["alg"], header["enc"], header["kid"]) == ("ECDH-ES+A256KW", "A256GCM", "shengli-2026")
    bundle = packaging.decrypted(answer.content, RECIPIENT.as_dict(private=True))
    assert json.loads(bundle)["resourceType"] == "Bundle"
    assert answer.headers["release-digest"] == f"sha-256={sha256(bundle).hexdigest()}"
    assert b"Bundle" not in answer.content
    with pytest.raises(packaging.PackageInvalid):
        packaging.decrypted(answer.content, STRANGER)


def test_e14_a_pinned_key_that_ran_out_is_no_key(agreed):
    client = pinned(agreed.story, {**PINNED, "exp": int(time.time()) - 1})
    form = make.form(client["name"], client["key"], f"{agreed.story.base_url}/oauth2/token", f"system/*.rs application:{agreed.number}")
    token = agreed.story.http.post("/oauth2/token", data=form).json()["access_token"]
    assert ask(agreed, token).status_code == 403


@pytest.mark.parametrize(
    "jwk",
    [STRANGER | {"kid": "x"}, {"kty": "oct", "k": "AA", "kid": "x"}, {**PINNED, "use": "sig"}, {**PINNED, "alg": "dir"}, {**PINNED, "x": "AA"},
     {**PINNED, "kid": ""}, {**PINNED, "crv": "secp256k1"}, {}],
)  # fmt: skip
def test_a_key_that_is_none_is_not_pinned(agreed, jwk):
    assert pinned(agreed.story, jwk)["status"] == 422


# -- broker receive --


def test_receive_opens_and_proves_it_all_without_a_server(case):
    done = receive(case)
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert told["checks"] == {"decryption": "good", "signature": "good", "digest": "good", "resources": "good", "log": "good"}
    assert json.loads(case["out"].read_bytes())["resourceType"] == "Bundle"
    assert case["out"].stat().st_mode & 0o777 == 0o600
    kept = json.loads(case["receipt"].read_bytes())
    assert kept == told
    assert kept["release"] == json.loads(case["manifest"].read_bytes())["id"]
    assert len(kept["entries"]) == 2


def _changed(case: dict[str, Path], name: str, change) -> None:
    content = json.loads(case[name].read_bytes())
    change(content)
    case[name].write_bytes(json.dumps(content).encode())


def _flip(case: dict[str, Path]) -> None:
    raw = bytearray(case["answer"].read_bytes())
    raw[len(raw) // 2] = raw[len(raw) // 2] ^ 1
    case["answer"].write_bytes(bytes(raw))


TRICKS = {
    "a byte of the answer": _flip,
    "another's private key": lambda case: case["private"].write_bytes(json.dumps(STRANGER).encode()),
    "another hospital's key": lambda case: case["keys"].write_bytes(json.dumps({"keys": [make.public(make.private_key("ES256"))]}).encode()),
    "another signature": lambda case: case["headers"].write_bytes(b"Release-Signature: eyJhbGciOiJFUzI1NiJ9..AAAA"),
    "another digest": lambda case: _changed(case, "manifest", lambda one: one.update(digest="sha-256=" + "0" * 64)),
    "a resource more": lambda case: _changed(case, "manifest", lambda one: one["resources"].append({"sha256": "0" * 64})),
    "another resource": lambda case: _changed(case, "manifest", lambda one: one["resources"][0].update(sha256="0" * 64)),
    "another release": lambda case: _changed(case, "manifest", lambda one: one.update(id="00000000-0000-4000-8000-000000000000")),
    "an entry of somebody else": lambda case: _changed(case, "manifest", lambda one: one["log"][0].update(leaf_hash="0" * 64)),
    "an entry left out": lambda case: _changed(case, "manifest", lambda one: one["log"].pop()),
    "receipts swapped": lambda case: _changed(case, "manifest", lambda one: one["log"][0].update(receipt=one["log"][1]["receipt"])),
    "a receipt of another log": lambda case: case["log"].write_text(_other_log()),
    "garbage for a receipt": lambda case: _changed(case, "manifest", lambda one: one["log"][0].update(receipt="x")),
    "a statement changed": lambda case: _changed(case, "manifest", lambda one: one.update(statement=one["statement"][:-6] + "AAAAAA")),
    "the signature as statement": lambda case: _changed(case, "manifest", lambda one: one.update(statement=one["signature"])),
}


def _other_log() -> str:
    from broker.audit.note import Verifier

    return Verifier("elsewhere.example/log", b"\x01" * 32).vkey


@pytest.mark.parametrize("trick", TRICKS)
def test_receive_finds_each_trick_and_writes_nothing(case, trick):
    TRICKS[trick](case)
    done = receive(case)
    assert done.exit_code == 1, done.output
    assert not case["out"].exists()
    assert "bad" in json.loads(done.output)["checks"].values()


def test_receive_says_what_it_could_not_check(case):
    done = receive(case, "--manifest", "--log-key")
    assert done.exit_code == 0
    assert json.loads(done.output)["checks"] == {
        "decryption": "good", "signature": "good", "digest": "unchecked", "resources": "unchecked", "log": "unchecked"
    }  # fmt: skip
    assert receive(case, "--decrypt-with").exit_code == 1
    unsigned = receive(case, "--signature", "--manifest")
    assert unsigned.exit_code == 1  # Without a signature nothing is proven.


def test_receive_wrong_use(case):
    case["keys"].write_text("[]")
    assert receive(case).exit_code == 2
    case["keys"].unlink()
    assert receive(case).exit_code == 2
