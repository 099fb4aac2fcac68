"""The page of the house's keys: names, states and the next step, for administrator and auditor, and no key on it (QA-5, ID-2.3)."""

from __future__ import annotations

import re

import pytest

from broker.identity import service as identity
from broker.keyring import service as keyring


@pytest.mark.parametrize("name", ["peng.bo", "cao.yan"])
def test_administrator_and_auditor_see_every_key_by_name_and_what_is_next(story, browser, name):
    keys = story.installation.keys
    page = browser.sign_in(name).get("/console/keys").text
    for kid in (*(one.hex() for one in keys.keks), *(one["kid"] for one in identity.public_jwks(keys)["keys"]), keys.fingerprint):
        assert kid in page
    assert "broker keys rotate token-signing" in page
    assert "broker keys rotate key-encryption" in page
    for secret in (keys.kek.hex(), *(pem.decode() for pem in keys.token_signing_pems), keys.blinding_secret.hex()):
        assert secret not in page
    assert "PRIVATE" not in page
    assert not re.search("[0-9a-f]{64}", re.sub(r'name="csrf" value="[^"]+"', "", page))


@pytest.mark.parametrize("name", ["gao.min", "song.yi", "deng.li"])
def test_nobody_else_sees_them(browser, name):
    assert browser.sign_in(name).get("/console/keys").status_code == 403


def test_a_key_that_this_process_lacks_is_said_aloud(story, browser):
    assert "缺少一把在用的密钥" not in browser.sign_in("peng.bo").get("/console/keys").text
    with story.installation.database.transaction() as session:
        keyring.tell_signing_keys(session, [("of-another-process", {"kty": "EC"})])
    page = browser.get("/console/keys").text
    assert "of-another-process" in page
    assert "缺少一把在用的密钥" in page
