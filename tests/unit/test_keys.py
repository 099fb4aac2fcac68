"""Keys that follow one another, and keys that somebody else keeps (QA-5)."""

import stat
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from uuid import UUID

import pytest

from broker.crypto import KeyUnusable, kek_id, load_keys, seal
from broker.key_provider import CommandProvider, HttpProvider, ProviderFailed
from broker.keyring.files import file_of
from broker.records.vault import new_vault, unwrapped
from broker.settings import Settings

PATIENT = UUID(int=5)


def test_what_an_older_key_wrapped_opens_while_both_are_held_and_no_longer(keys):
    _, wrapped, _ = new_vault(keys, PATIENT, "p1")
    new = replace(keys, kek=b"n" * 32, former_keks=(keys.kek,))
    vault, again, _ = new_vault(new, PATIENT, "p1")
    assert unwrapped(new, PATIENT, wrapped)
    assert unwrapped(replace(new, former_keks=()), PATIENT, again) == vault.data_key
    for key, other in ((keys, again), (replace(new, former_keks=()), wrapped)):
        with pytest.raises(KeyUnusable):
            unwrapped(key, PATIENT, other)


def test_a_wrapped_key_names_the_key_that_opens_it_and_one_from_before_names_none(keys):
    _, wrapped, _ = new_vault(keys, PATIENT, "p1")
    assert wrapped[1:9] == kek_id(keys.kek)
    bare = seal(keys.kek, b"d" * 32, b"data-key|" + PATIENT.bytes)
    assert unwrapped(replace(keys, kek=b"n" * 32, former_keks=(keys.kek,)), PATIENT, bare) == b"d" * 32
    with pytest.raises(KeyUnusable):
        unwrapped(replace(keys, kek=b"n" * 32), PATIENT, bare)


def test_names_of_patients_stay_when_the_key_encryption_key_changes(keys):
    new = replace(keys, kek=b"n" * 32)
    assert keys.blinding_secret is not None
    assert keys.blinding_secret != keys.kek
    assert new.patient_key("p1") == keys.patient_key("p1")
    assert new.fingerprint == keys.fingerprint


def test_an_installation_from_before_keeps_its_names(tmp_path):
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "key-encryption.hex").write_text("ab" * 32)
    keys = load_keys(Settings(var=tmp_path))
    assert keys.blinding_secret is None
    assert not (tmp_path / "keys" / "blinding.hex").exists()
    # Given as a key of its own, the same value gives the same names; from then on the other may change.
    apart = load_keys(Settings(var=tmp_path, blinding_key="ab" * 32, key_encryption_key="cd" * 32))
    assert apart.patient_key("p1") == keys.patient_key("p1")


@pytest.mark.parametrize("text", ["", "ab", "zz" * 32, "ab" * 32 + "\n" + "cd" * 31])
def test_what_is_no_key_is_refused(tmp_path, text):
    with pytest.raises(KeyUnusable):
        load_keys(Settings(var=tmp_path, key_encryption_key=text, blinding_key="ab" * 32))


def test_a_key_file_keeps_its_mode_and_order(tmp_path):
    load_keys(Settings(var=tmp_path))
    file = file_of(Settings(var=tmp_path), "token-signing", {})
    (one,) = file.read()
    file.write([one, one])
    assert file.read() == [one, one]
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert file_of(Settings(var=tmp_path), "token-signing", {"BROKER_TOKEN_SIGNING_KEY": "x"}) is None


class TestAProvider:
    def test_that_is_a_program(self, tmp_path):
        program = tmp_path / "kms"
        program.write_text(
            '#!/bin/sh\ncase "$1" in key-encryption) echo ' + "ab" * 32 + ';; blinding) exit 3;; slow) exit 1;; *) cat "$0.$1";; esac\n'
        )
        program.chmod(0o700)
        load_keys(Settings(var=tmp_path / "made"))
        for name in ("token-signing", "log-signing"):
            (tmp_path / f"kms.{name}").write_bytes((tmp_path / "made" / "keys" / f"{name}.pem").read_bytes())
        chosen = Settings(var=tmp_path / "var", key_provider=f"command:{program}")
        keys = load_keys(chosen)
        assert keys.kek == bytes.fromhex("ab" * 32)
        assert keys.blinding_secret is None
        assert not (tmp_path / "var").exists(), "nothing is made beside what a provider keeps"
        with pytest.raises(ProviderFailed, match="slow"):
            CommandProvider(str(program)).secret("slow")
        with pytest.raises(ProviderFailed):
            CommandProvider(str(tmp_path / "none")).secret("blinding")

    def test_that_is_an_address(self):
        class Vault(BaseHTTPRequestHandler):
            def do_GET(self):
                status = {"/keys/blinding": 200, "/keys/log-signing": 403}.get(self.path, 404) if self.headers["Authorization"] == "Bearer t" else 401
                self.send_response(status)
                self.end_headers()
                self.wfile.write(b"ab" * 32)

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Vault)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/keys"
        try:
            provider = HttpProvider(address, "t")
            assert provider.secret("blinding") == b"ab" * 32
            assert provider.secret("token-signing") is None
            with pytest.raises(ProviderFailed, match="403") as refused:
                provider.secret("log-signing")
            assert "abab" not in str(refused.value)
            with pytest.raises(ProviderFailed, match="401"):
                HttpProvider(address, None).secret("blinding")
        finally:
            server.shutdown()
            server.server_close()
        with pytest.raises(ProviderFailed, match="could not be reached"):
            provider.secret("blinding")

    def test_that_would_be_asked_in_clear_over_a_network(self):
        with pytest.raises(ProviderFailed):
            HttpProvider("http://kms.hospital.example/keys", None)
