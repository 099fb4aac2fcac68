"""The supervision feed resumes (ID-3.2): each sealed event once and in order, through restarts, changed keys, a narrower scope and losses."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker import clock
from broker.audit import reading, service
from broker.audit.reading import Place
from broker.audit.sequencer import Sequencer
from broker.errors import Invalid
from tests.factories.audit import event


@pytest.fixture
def told(database):
    """Everything from a place on, asked for two at a time, as numbers; and the place then."""

    def read(place=None, types=("%",), limit=2):
        numbers, restarted = [], False
        while True:
            with database.transaction() as session:
                found = service.onwards(session, place and Place.parse(str(place)), types, limit=limit)
            numbers += [one.facts.get("number") for one in found.events]
            place, restarted = found.place, restarted or found.restarted
            if not found.more:
                return numbers, place, restarted

    return read


def test_what_is_not_sealed_is_not_told_yet(record_many, sequencer, told):
    assert told() == ([], None, False)
    sequencer.seal_once()
    record_many(3)
    assert told() == ([], None, False)
    sequencer.seal_once()
    numbers, place, _ = told()
    assert numbers == [0, 1, 2]
    assert told(place) == ([], place, False)


def test_a_scope_that_narrows_passes_by_what_it_no_longer_means(record, sequencer, told):
    record(*(event(type=("workforce.joined", "incident.reported")[number % 2], facts={"number": number}) for number in range(6)))
    sequencer.seal_once()
    numbers, place, _ = told(types=("workforce.%", "incident.%"))
    assert numbers == [0, 1, 2, 3, 4, 5]
    record(*(event(type=("workforce.joined", "incident.reported")[number % 2], facts={"number": number}) for number in range(6, 12)))
    sequencer.seal_once()
    numbers, place, _ = told(place, ("incident.%",))
    assert numbers == [7, 9, 11]
    assert told(place, ("workforce.%", "incident.%"))[0] == [], "what was passed by is not told later under the same place"


def test_one_answer_looks_at_so_much_and_leads_on(record, sequencer, told, database, monkeypatch):
    monkeypatch.setattr(reading, "WINDOW", 4)
    record(*(event(type="workforce.joined" if number == 9 else "application.submitted", facts={"number": number}) for number in range(11)))
    sequencer.seal_once()
    with database.transaction() as session:
        first = service.onwards(session, None, ("workforce.%",))
    assert (first.events, first.place.entries, first.more) == ([], 4, True)
    assert told(types=("workforce.%",))[0] == [9]


def test_a_changed_key_and_another_process_change_nothing(record_many, log_database, test_settings, keys, told, sequencer):
    record_many(3)
    sequencer.seal_once()
    _, place, _ = told()
    later = Sequencer(log_database, test_settings, _with_another_key(keys))
    record_many(2)
    later.seal_once()
    assert told(place)[0::2] == ([0, 1], False)


def _with_another_key(keys):
    pem = Ed25519PrivateKey.from_private_bytes(b"\7" * 32).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return replace(keys, log_signing_pem=keys.log_signing_pem + pem)


def test_after_a_loss_what_came_since_is_told_and_named(
    record_many, sequencer, unguarded, told, verifier, test_settings, keys, log_database, database
):
    """A backup came back that lacks what was told already: nothing is told, then what follows the loss, from the first lost entry on."""
    record_many(5)
    sequencer.seal_once()
    _, early, _ = told()
    record_many(4)
    sequencer.seal_once()
    _, late, _ = told()
    unguarded.execute("DELETE FROM audit_event WHERE id IN (SELECT event_id FROM log_entry WHERE index >= 5)")
    unguarded.execute("DELETE FROM log_entry WHERE index >= 5; DELETE FROM log_checkpoint WHERE size > 5")
    unguarded.execute("UPDATE log_state SET size = 5, root = (SELECT root FROM log_checkpoint WHERE size = 5)")
    with pytest.raises(Invalid, match="shorter"):
        told(late)
    assert told(early) == ([], early, False)

    # The log goes on under a new name (audit.new_origin enters it), and soon is longer than it was.
    renamed = test_settings.model_copy(update={"log_origin": "another.example/log", "var": test_settings.var / "new"})
    unguarded.execute(
        "INSERT INTO log_key (vkey, first_size, first_at) VALUES (%s, 5, now())", (verifier.of(renamed.log_origin, keys.log_signer).vkey,)
    )
    successor = Sequencer(log_database, renamed, keys)
    for count in (2, 4):
        record_many(count)
        successor.seal_once()
        assert told(early)[2] is False
        numbers, place, restarted = told(late)
        assert (numbers[:2], restarted) == ([0, 1], True)
        assert told(place) == ([], place, False)


def test_a_place_of_another_log_is_refused(record_many, sequencer, told, database):
    record_many(3)
    sequencer.seal_once()
    other = Place(2, service.uuid7(clock.now()))
    with database.transaction() as session, pytest.raises(Invalid):
        service.onwards(session, other, ("%",))
    for wrong in ("", "x", "1", "1-", f"0-{'0' * 32}", f"01-{'0' * 32}", f"1-{'0' * 31}", f"1-{'0' * 33}", f"1-{'G' * 32}", f"{'9' * 19}-{'0' * 32}"):
        assert Place.parse(wrong) is None, wrong
