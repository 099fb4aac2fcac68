"""The demo's hospital: organisations, people, clients and records. Running it again changes nothing but passwords and keys."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from pathlib import Path
from typing import Any

from joserfc.jwk import ECKey, RSAKey
from sqlmodel import Session

from broker import clock, demo_data
from broker.app import Installation
from broker.identity import service as identity
from broker.identity.access import Role
from broker.identity.models import Client, Organization
from broker.records import service as records
from broker.workforce import service as workforce

ACTOR = "system"


@dataclass(frozen=True)
class DemoPatient:
    """A patient of the demo as applicants and clients name them."""

    id: str
    name: str
    birth_date: str
    identifier: dict[str, str]


@dataclass(frozen=True)
class Cast:
    """Who is there, with the secrets of this run."""

    passwords: dict[str, str]  #: by user name
    keys: dict[str, ECKey | RSAKey]  #: private keys by client id
    patients: dict[str, DemoPatient]  #: by the short name of the story, such as p1001
    hospital: dict[str, Any]

    @property
    def story(self) -> dict[str, str]:
        """Which of them play which part."""
        parts: dict[str, str] = self.hospital["story"]
        return parts


def seed(installation: Installation) -> Cast:
    """Make the hospital. Passwords and client keys are new each time."""
    hospital = demo_data.hospital(clock.today())
    passwords = {one["username"]: secrets.token_urlsafe(12) for one in hospital["people"]}
    keys: dict[str, ECKey | RSAKey] = {one["id"]: _key(one["alg"]) for one in hospital["clients"]}
    with installation.database.transaction() as session:
        for one in hospital["organizations"]:
            _organization(session, one)
        for one in hospital["people"]:
            _person(session, one, passwords[one["username"]], installation.settings.zone)
        for one in hospital["clients"]:
            _client(session, one, keys[one["id"]])
    for bundle in demo_data.bundles(clock.today()):
        records.ingest_bundle(installation.database, installation.keys, bundle, source="demo")
    return Cast(passwords, keys, {one.id: one for one in map(_patient, demo_data.patients(clock.today()))}, hospital)


def _key(alg: str) -> ECKey | RSAKey:
    parameters: Any = {"use": "sig", "alg": alg, "kid": secrets.token_hex(8)}
    return RSAKey.generate_key(3072, parameters) if alg == "RS384" else ECKey.generate_key("P-384", parameters)


def _organization(session: Session, one: dict[str, Any]) -> None:
    if session.get(Organization, one["id"]) is None:
        until = datetime.fromisoformat(one["agreement_until"]).replace(tzinfo=UTC) if one["agreement_until"] else None
        identity.add_organization(
            session, ACTOR, id=one["id"], kind=one["kind"], relationship=one["relationship"], name_zh=one["name"]["zh"], name_en=one["name"]["en"],
            parent_id=one["parent"], jurisdiction=one["jurisdiction"], agreement_until=until,
        )  # fmt: skip


def _person(session: Session, one: dict[str, Any], password: str, zone: tzinfo) -> None:
    found = next((row for row in identity.people(session, one["organization"]) if row.username == one["username"]), None)
    if found is not None:
        identity.set_password(session, ACTOR, found.id, password)
        return
    added = identity.add_person(
        session, ACTOR, username=one["username"], name=one["name"]["zh"], organization_id=one["organization"], password=password,
        natural_person=one["natural_person"], language=one["language"], roles=[(Role(held["role"]), held["organization"]) for held in one["roles"]],
    )  # fmt: skip
    for held in one.get("certificates", ()):
        issued, until = (date.fromisoformat(held[name]) for name in ("issued_on", "valid_until"))
        workforce.add(
            session, ACTOR, workforce.Register.QUALIFICATION, person=added.id, code=held["code"], number=held["number"], issued_on=issued, zone=zone,
            valid_until=until,
        )  # fmt: skip


def _client(session: Session, one: dict[str, Any], key: ECKey | RSAKey) -> None:
    jwks = {"keys": [key.as_dict(private=False)]}
    if session.get(Client, one["id"]) is None:
        identity.register_client(session, ACTOR, id=one["id"], organization_id=one["organization"], name=one["name"]["en"], jwks=jwks)
    else:
        identity.set_client_keys(session, ACTOR, one["id"], jwks=jwks)


def _patient(bundle: bytes) -> DemoPatient:
    patient = next(entry["resource"] for entry in json.loads(bundle)["entry"] if entry["resource"]["resourceType"] == "Patient")
    name = patient["name"][0]
    identifier = patient["identifier"][0]
    return DemoPatient(
        patient["id"], name.get("text") or name["family"] + "".join(name["given"]), patient["birthDate"],
        {"system": identifier["system"], "value": identifier["value"]},
    )  # fmt: skip


def _signing(key: ECKey | RSAKey) -> dict[str, Any]:
    """A private key as clients read it: ``key_ops``, which SMART's own examples have and some clients look for, says what ``use`` says."""
    return {**{name: value for name, value in key.as_dict(private=True).items() if name != "use"}, "key_ops": ["sign"]}


def write_credentials(path: Path, base_url: str, cast: Cast, grants: dict[str, list[dict[str, Any]]]) -> None:
    """Write what any client needs to try the demo, readable by its owner alone. ``grants`` by client id."""
    document = {
        "base_url": base_url,
        "fhir_base": f"{base_url}/fhir",
        "token_endpoint": f"{base_url}/oauth2/token",
        "clients": [
            {
                "client_id": one["id"], "organization": one["organization"], "alg": one["alg"],
                "private_jwk": _signing(cast.keys[one["id"]]), "grants": grants.get(one["id"], []),
            }
            for one in cast.hospital["clients"]
        ],
        "people": [
            {
                "username": one["username"], "password": cast.passwords[one["username"]], "totp_secret": None,
                "roles": [held["role"] for held in one["roles"]],
            }
            for one in cast.hospital["people"]
        ],
        "patients": [{"id": one.id, "name": one.name, "identifier": [one.identifier]} for one in cast.patients.values()],
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(document, file, ensure_ascii=False, indent=1)
