from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker.crypto import Keys
from broker.records.errors import RecordUnreadable
from broker.records.labelling import IN_TEXT
from broker.records.release_reads import Row, open_row, open_rows
from broker.records.tokens import id_token, identifier_token, label_tokens
from broker.records.vault import Content, StoredLabel, Vault, new_vault, unwrap

CONTENT = Content("o1", (StoredLabel("R", "rule", "2026.11"), StoredLabel("HIV", "规则", "2026.11")), b'{"value": 13.20}')
TOKEN = uuid4()


def _vault(keys: Keys) -> tuple[Vault, bytes, bytes]:
    return new_vault(keys, keys.patient_key("p1"), "p1")


def test_what_is_sealed_opens_at_its_place_and_nowhere_else(keys: Keys):
    vault, _, _ = _vault(keys)
    stored = vault.seal_resource("Observation", TOKEN, 3, CONTENT)
    assert vault.open_resource("Observation", TOKEN, 3, stored) == CONTENT
    other, _, _ = _vault(keys)
    for opener, kind, token, version, data in (
        (vault, "Condition", TOKEN, 3, stored),
        (vault, "Observation", UUID(int=5), 3, stored),
        (vault, "Observation", TOKEN, 2, stored),
        (replace(vault, patient_key=UUID(int=9)), "Observation", TOKEN, 3, stored),
        (other, "Observation", TOKEN, 3, stored),
        (vault, "Observation", TOKEN, 3, stored[:-1]),
        (vault, "Observation", TOKEN, 3, stored[:40] + bytes([stored[40] ^ 1]) + stored[41:]),
        (vault, "Observation", TOKEN, 3, b""),
    ):
        with pytest.raises(RecordUnreadable):
            opener.open_resource(kind, token, version, data)


def test_what_was_stored_before_stays_readable(keys: Keys):
    """The place that is bound to a body is written ``patient|type|blinded id|version``, in hex, for ever."""
    vault, _, _ = _vault(keys)
    token = UUID(int=0xAB)
    stored = vault.seal_resource("Observation", token, 12, CONTENT)
    place = f"{vault.patient_key.hex}|Observation|{token.hex}|12".encode()
    assert len(token.hex) == 32
    plain = AESGCM(vault.data_key).decrypt(stored[:12], stored[12:], place)
    assert plain[0] == 1
    sealed_by_hand = bytes(12) + AESGCM(vault.data_key).encrypt(bytes(12), plain, place)
    assert vault.open_resource("Observation", token, 12, sealed_by_hand) == CONTENT


@pytest.mark.parametrize("resource_id", ["o1", "a.B-9", "x" * 64, "", 'a"b', 'a",[b', "\\", 'a\\",[', "张三", "\n"])
@pytest.mark.parametrize("labels", [(), CONTENT.labels, (StoredLabel('",[', '"]', "\\"),)])
@pytest.mark.parametrize("body", [b"", b'{"value": 13.20}', b'",[[]]'])
def test_whatever_id_and_labels_are(keys: Keys, resource_id, labels, body):
    vault, _, _ = _vault(keys)
    content = Content(resource_id, labels, body)
    assert vault.open_resource("Observation", TOKEN, 1, vault.seal_resource("Observation", TOKEN, 1, content)) == content


def test_rows_open_together_as_they_do_alone_or_not_at_all(keys: Keys):
    vault, _, _ = _vault(keys)
    now = datetime(2026, 11, 23, tzinfo=UTC)
    free_text = StoredLabel(f"{IN_TEXT}HIV", "text", "1")
    rows = []
    for number in range(5):
        token = uuid4()
        labels = (*CONTENT.labels[: number % 3], *([free_text] if number == 4 else []))
        sealed = vault.seal_resource("Observation", token, number, Content(f"o{number}", labels, b"{}" * number))
        rows.append(Row(vault.patient_key, "Observation", token, number, now, sealed))
    opened = open_rows(vault, rows)
    assert opened == [open_row(vault, row) for row in rows]
    assert [(one.id, one.type, one.version, one.last_updated, one.body) for one in opened] == [
        (f"o{number}", "Observation", number, now, b"{}" * number) for number in range(5)
    ]
    assert [one.labels for one in opened] == [(), ("R",), ("R", "HIV"), (), ("R",)]
    assert open_rows(vault, []) == []
    with pytest.raises(RecordUnreadable):
        open_rows(vault, [*rows[:2], rows[2]._replace(version=7), rows[3]])


def test_nothing_of_it_can_be_read_on_disk(keys: Keys):
    vault, wrapped, sealed_id = _vault(keys)
    stored = vault.seal_resource("Observation", TOKEN, 1, CONTENT)
    for secret in (b"13.20", b"HIV", b'o1"', vault.data_key):
        assert secret not in stored + wrapped + sealed_id


def test_two_sealings_of_the_same_differ(keys: Keys):
    vault, _, _ = _vault(keys)
    assert vault.seal_resource("Observation", TOKEN, 1, CONTENT) != vault.seal_resource("Observation", TOKEN, 1, CONTENT)


def test_a_wrapped_key_opens_for_its_patient_and_under_its_key_alone(keys: Keys):
    vault, wrapped, sealed_id = _vault(keys)
    assert unwrap(keys, vault.patient_key, wrapped, sealed_id, 4) == replace(vault, epoch=4)
    with pytest.raises(RecordUnreadable):
        unwrap(keys, UUID(int=7), wrapped, sealed_id, 0)
    with pytest.raises(RecordUnreadable):
        unwrap(replace(keys, kek=bytes(32)), vault.patient_key, wrapped, sealed_id, 0)


def test_the_logs_name_of_a_patient_comes_from_the_data_key(keys: Keys):
    first, _, _ = _vault(keys)
    second, _, _ = _vault(keys)
    assert first.subject == replace(first, fhir_id="other").subject
    assert first.subject != second.subject  # Another data key: the old name means nothing any more.
    assert len(bytes.fromhex(first.subject)) == 32


def test_equal_bodies_of_two_patients_do_not_show(keys: Keys):
    first, _, _ = _vault(keys)
    second, _, _ = new_vault(keys, keys.patient_key("p2"), "p2")
    assert first.content_hash(b"x") == first.content_hash(b"x")
    assert first.content_hash(b"x") != second.content_hash(b"x")
    assert label_tokens(keys, first.patient_key, ["HIV"]) != label_tokens(keys, second.patient_key, ["HIV"])


def test_identifiers_are_blinded_as_people_type_them(keys: Keys):
    token = identifier_token(keys, "Patient", "urn:oid:1.2", "11010119900307001X")
    assert token == identifier_token(keys, "Patient", "urn:oid:1.2", " 11010119900307001x")
    assert token == identifier_token(keys, "Patient", "urn:oid:1.2", "１１０１０１１９９００３０７００１Ｘ")
    assert token != identifier_token(keys, "Patient", "urn:oid:1.3", "11010119900307001X")
    assert token != identifier_token(keys, "Practitioner", "urn:oid:1.2", "11010119900307001X")
    assert id_token(keys, "Observation", "1") != id_token(keys, "Condition", "1")
