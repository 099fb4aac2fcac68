"""A recipient's system is registered by keys or by the address of its keys, and what is wrong stands beside its field (ID-3, RS-4.2)."""

from __future__ import annotations

from broker.identity import service as identity


def test_by_address_and_bound_to_a_key(story, browser):
    browser.sign_in("peng.bo")
    given = {
        "id": "his-by-address",
        "name": "互联平台",
        "organization": "shengli-cardiology",
        "jwks_uri": "https://his.example/jwks",
        "dpop": "1",
        "jwks": "",
    }
    assert browser.post("/console/clients", given).status_code == 303
    with story.installation.database.transaction() as session:
        row = identity.client(session, "his-by-address")
        assert (row.jwks_uri, row.dpop, row.jwks) == ("https://his.example/jwks", True, {"keys": []})


def test_neither_keys_nor_address_and_a_wrong_one_are_said_beside_the_field_and_nothing_typed_is_lost(browser):
    browser.sign_in("peng.bo")
    given = {"id": "his-two", "name": "互联平台二", "organization": "shengli-cardiology", "jwks_uri": "", "jwks": ""}
    page = browser.post("/console/clients", given)
    assert page.status_code == 422
    assert 'id="e-f-jwks"' in page.text
    assert "请粘贴公钥，或填写公钥的发布地址。" in page.text
    assert 'value="his-two"' in page.text
    page = browser.post("/console/clients", {**given, "jwks_uri": "http://his.example/jwks"})
    assert page.status_code == 422
    assert 'id="e-f-jwks_uri"' in page.text
    assert 'value="http://his.example/jwks"' in page.text


def test_a_common_password_is_refused_in_words_and_never_repeated(story, browser):
    with story.installation.database.transaction() as session:
        nurse = next(one.id for one in identity.people(session) if one.username == "gao.min")
    browser.sign_in("peng.bo")
    page = browser.post(f"/console/people/{nurse}", {"password": "woaini1314520", "set_password": "1"})
    assert page.status_code == 422
    assert "过于常见或容易被猜到" in page.text
    assert "woaini1314520" not in page.text
