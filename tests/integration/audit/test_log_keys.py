"""The log's key is changed (e10, F-23, QA-5): both sign for a while, and nothing that was ever signed or proven stops being verifiable."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from fastapi.testclient import TestClient

from broker.app import create_app, open_installation
from broker.audit import receipt, service, store
from broker.audit.database_source import open_source
from broker.audit.errors import LogDamaged
from broker.audit.export import export
from broker.audit.note import Checkpoint, SignatureInvalid, Verifier
from broker.audit.sequencer import Sequencer
from broker.audit.sources import FolderSource
from broker.audit.verify import verify
from broker.crypto import private_pem


@pytest.fixture
def ages(keys):
    """The keys before, during and after the change."""
    new = private_pem(ed25519.Ed25519PrivateKey.generate())
    return keys, replace(keys, log_signing_pem=keys.log_signing_pem + new), replace(keys, log_signing_pem=new)


def test_every_checkpoint_and_receipt_stays_verifiable_through_the_change(ages, log_database, database, test_settings, record_many, tmp_path, owner):
    before, during, after = ages
    old, new = (Verifier.of(test_settings.log_origin, one.log_signer) for one in (before, after))
    notes, receipts = [], []
    for keys in (before, during, after):
        events = record_many(300)
        assert Sequencer(log_database, test_settings, keys).seal_once() == 300
        with database.transaction() as session:
            notes.append(service.published_checkpoint(session))
            receipts.append((service.proof(session, events[0]), store.raw(session), events[0]))
            leaves = {event: store.raw(session).execute("SELECT leaf FROM audit_event WHERE id = %s", (event,)).fetchone()[0] for event in events[:1]}
            receipts[-1] = (receipts[-1][0], leaves[events[0]].encode())
    # The old key opens what it signed, the new one what it signed, and the change itself carries both.
    opened = [[_opens(note, key) for key in (old, new)] for note in notes]
    assert opened == [[True, False], [True, True], [False, True]]
    for (text, leaf), keys in zip(receipts, ([old], [old, new], [new]), strict=True):
        for one in keys:
            receipt.check(text, leaf, one)

    with open_source(database) as source:
        assert verify(source, new, former=source.former(), older=notes).ok
        # Who holds the new key alone can't read what the old one signed: they are told, not misled.
        assert verify(source, new).finding.code == "checkpoint-signature"
        # And who holds the old one is not shown a tree that it did not sign.
        assert verify(source, old).finding.code == "checkpoint-signature"
    with database.transaction() as session:
        export(store.raw(session), tmp_path / "export")
    assert verify(FolderSource(tmp_path / "export"), new, older=notes, former=[old]).ok

    rows = owner.execute("SELECT vkey, first_size, last_size FROM log_key ORDER BY first_at").fetchall()
    assert rows == [(old.vkey, 0, 600), (new.vkey, 300, None)]


def _opens(note, key):
    try:
        Checkpoint.opened(note, key)
    except SignatureInvalid:
        return False
    return True


def test_a_key_that_never_signed_beside_the_old_one_continues_nothing(ages, log_database, test_settings, record_many):
    before, _, after = ages
    record_many(3)
    Sequencer(log_database, test_settings, before).seal_once()
    with pytest.raises(LogDamaged, match="not of this log and key"):
        Sequencer(log_database, test_settings, after).seal_once()


def test_when_a_key_signed_is_never_rewritten(ages, log_database, test_settings, record_many, owner):
    for keys in ages:
        record_many(1)
        Sequencer(log_database, test_settings, keys).seal_once()
    for statement in (
        "UPDATE log_key SET first_size = 7",
        "UPDATE log_key SET last_size = 1 WHERE last_at IS NOT NULL",
        "DELETE FROM log_key",
        "TRUNCATE log_key",
    ):
        with pytest.raises(Exception, match=r"log is append-only|a key of the log ends once"):
            owner.execute(statement)


def test_the_keys_are_published_with_their_validity(ages, log_database, test_settings, record_many, database_url):
    before, during, _ = ages
    for keys in (before, during):
        record_many(2)
        Sequencer(log_database, test_settings, keys).seal_once()
    chosen = test_settings.model_copy(update={"database_url": type(test_settings).model_validate({"database_url": database_url}).database_url})
    installation = open_installation(chosen)
    with TestClient(create_app(installation, sequencer=False, work=False)) as client:
        told = client.get("/log/keys").json()
    assert [(one["first_size"], one["last_size"]) for one in told] == [(0, None), (2, None)]
    assert told[0]["vkey"] == Verifier.of(test_settings.log_origin, before.log_signer).vkey
