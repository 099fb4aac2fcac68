"""Registers with ten thousand people and organisations: searched and paged by the database; one of many is chosen by a search (RS-3)."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from broker import clock
from broker.identity import service as identity
from broker.identity.models import FailedLogin, Organization, Person
from broker.identity.roles import Role
from broker.paging import Place
from tests.factories import identity as make

MANY = 10_000
_PLACES = """
INSERT INTO organization (id, parent_id, kind, relationship, jurisdiction, status, name_zh, name_en, created_at)
SELECT 'town-' || lpad(g::text, 5, '0'), NULL, 'hospital', 'external', 'CN', 'active', '第' || g || '镇卫生院', 'Town clinic ' || g, now()
FROM generate_series(1, %(many)s) g
"""
_PEOPLE = """
INSERT INTO person (id, username, name, organization_id, natural_person, status, language, created_at, must_change_password)
SELECT gen_random_uuid(), 'clerk' || lpad(g::text, 5, '0'), '文员' || g, 'town-' || lpad(g::text, 5, '0'), 'clerk-' || g, 'active', 'zh', now(), false
FROM generate_series(1, %(many)s) g
"""


_MORE = """
INSERT INTO organization (id, parent_id, kind, relationship, jurisdiction, status, name_zh, name_en, created_at)
SELECT 'ward-' || g, 'renhe', 'department', 'internal', 'CN', 'active', '病区' || g, 'Ward ' || g, now() FROM generate_series(1, 60) g
"""
_STAFF = """
INSERT INTO person (id, username, name, organization_id, natural_person, status, language, created_at, must_change_password)
SELECT gen_random_uuid(), 'nurse' || g, '护士' || g, 'renhe', 'nurse-' || g, 'active', 'zh', now(), false FROM generate_series(1, 60) g
"""


@pytest.fixture(scope="module")
def crowded(story):
    """The demo hospital with ten thousand more of each."""
    with story.installation.database.transaction() as session:
        for statement in (_PLACES, _PEOPLE):
            session.connection().exec_driver_sql(statement, {"many": MANY})
        for statement in (_MORE, _STAFF):
            session.connection().exec_driver_sql(statement)
    return story


def lines(page: str, path: str) -> list[str]:
    """The keys of the lines of a list, in their order."""
    return re.findall(rf'<td data-title="[^"]*"><a href="/console/{path}/([^"]+)"', page)


def link(page: str, rel: str) -> str:
    found = re.search(rf'rel="{rel}" href="([^"]+)"', page)
    return found[1].replace("&amp;", "&") if found else ""


def test_a_list_is_walked_to_its_end_and_back_while_people_are_added(crowded, browser):
    browser.sign_in("peng.bo")
    page = browser.get("/console/people?q=clerk0001").text
    first, seen = lines(page, "people"), []
    assert len(first) == 10
    assert link(page, "next") == ""
    page = browser.get("/console/people?q=clerk001").text
    first = lines(page, "people")
    assert len(first) == 25
    with crowded.installation.database.transaction() as session:
        make.person(session, Role.APPLICANT, username="aaa.clerk001")  # Before everybody: pages that count rows would shift.
    while True:
        seen += lines(page, "people")
        onward = link(page, "next")
        if not onward:
            break
        assert "clerk0" not in onward.replace("q=clerk001", ""), "no name stands in an address"
        page = browser.get(onward).text
    assert len(seen) == len(set(seen)) == 100
    while backward := link(page, "prev"):
        page = browser.get(backward).text
    assert lines(page, "people")[1:] == first[:24], "whoever was added comes first now, and nobody is left out"


def test_ten_thousand_are_found_by_state_role_and_organisation(crowded, browser):
    keys, database = crowded.installation.keys, crowded.installation.database
    with database.transaction() as session:
        session.add(
            FailedLogin(name=keys.blind("login", "clerk00077"), failures=9, last_at=clock.now(), locked_until=clock.now() + timedelta(days=1))
        )
        barred = identity.person_named(session, "clerk00078")
        identity.bar(session, "system", barred.id, barred=True)
        identity.change_person(session, "system", identity.person_named(session, "clerk00079").id, status="suspended")
    browser.sign_in("peng.bo")
    for state, name, words in (("locked", "clerk00077", "已锁定"), ("barred", "clerk00078", "受处理限制"), ("suspended", "clerk00079", "已暂停")):
        page = browser.get(f"/console/people?q=clerk&status={state}").text
        assert len(lines(page, "people")) == 1, state
        assert name in page
        assert words in page, state
    assert "cao.yan" in browser.get("/console/people?role=auditor").text
    assert "clerk00001" not in browser.get("/console/people?role=auditor").text
    assert lines(browser.get("/console/people?q=100%25_").text, "people") == [], "nothing that is typed is a pattern"
    found = browser.get("/console/people?organization=town-00123").text
    assert "clerk00123" in found
    assert len(lines(found, "people")) == 1
    several = browser.get("/console/people?organization=town-0012").text
    assert lines(several, "people") == []
    assert several.count('<option value="town-0012') == 10, "what was typed is several: they are offered"


def test_sorted_both_ways_and_exported_whole(crowded, browser):
    browser.sign_in("peng.bo")
    up = lines(browser.get("/console/organizations?q=Town&sort=name").text, "organizations")
    down = lines(browser.get("/console/organizations?q=Town&sort=-id").text, "organizations")
    assert down[0] == "town-10000"
    assert down == sorted(down, reverse=True)
    assert len(up) == 25
    tree = lines(browser.get("/console/organizations").text, "organizations")
    assert tree.index("renhe") < tree.index("renhe-cardiology") < 10
    file = browser.get("/console/organizations?q=Town&format=csv")
    assert file.text.count("\r\n") == MANY + 1
    assert "第10000镇卫生院" in file.text


@pytest.mark.parametrize("query", ["after=nobody", "before=00000000-0000-4000-8000-000000000000", "after=%27", "after=x%00y"])
@pytest.mark.parametrize("register", ["people", "organizations", "clients"])
def test_a_place_that_is_none_is_said_and_never_guessed(crowded, browser, register, query):
    browser.sign_in("peng.bo")
    page = browser.get(f"/console/{register}?{query}")
    if "%00" in query:  # Nothing with a null byte is taken as said.
        assert page.status_code == 200
        return
    assert page.status_code == 400
    assert "列表中没有这一位置" in page.text or "no such place" in page.text


def test_one_of_many_is_typed_found_and_chosen_and_never_guessed(crowded, browser):
    browser.sign_in("peng.bo")
    page = browser.get("/console/people").text
    assert 'name="organization-words"' in page
    assert "town-00044" not in page, "nobody scrolls through ten thousand"
    given = {"username": "new.nurse", "name": "新护士", "organization-words": "town-0004"}
    found = browser.post("/console/people", {**given, "find": "organization"})
    assert found.status_code == 422
    assert found.text.count('<option value="town-0004') == 10
    assert 'value="new.nurse"' in found.text, "what was filled in stays"
    assert browser.post("/console/people", given).status_code == 422, "part of a name is no choice"
    exact = browser.post("/console/people", {**given, "organization-words": "第44镇卫生院", "find": "organization"})
    assert exact.status_code == 422, "Whoever looks does not yet do."
    assert browser.post("/console/people", {**given, "organization-words": "第44镇卫生院"}).status_code == 303
    with crowded.installation.database.transaction() as session:
        row = identity.person_named(session, "new.nurse")
        assert row.organization_id == "town-00044"
        # Two of the same name are no choice either.
        identity.change_organization(session, "system", "town-00045", name_zh="第44镇卫生院")
    twice = browser.post("/console/people", {**given, "username": "new.two", "organization-words": "第44镇卫生院"})
    assert twice.status_code == 422
    assert 'value="town-00045"' in twice.text
    other = {**given, "username": "new.two", "organization-words": "第46镇卫生院", "organization": "town-00045"}
    assert browser.post("/console/people", other).status_code == 422, "what is chosen and what is typed differ"
    chosen = {**given, "username": "new.two", "organization-words": "第44镇卫生院", "organization": "town-00045"}
    assert browser.post("/console/people", chosen).status_code == 303


def test_what_is_frozen_is_said_with_its_incident(crowded, browser):
    browser.sign_in("deng.li")
    answer = browser.post("/console/incidents", {"step": "contain", "text": "密钥可能外泄", "organization": "town-00500"})
    assert answer.status_code == 303
    number = answer.headers["location"].partition("incidents/")[2].partition("?")[0]
    page = browser.get("/console/organizations?status=suspended").text
    assert "town-00500" in page
    assert f"已冻结：{number}" in page


def test_each_part_is_a_few_rows_of_the_database(crowded):
    """The last part costs what the first does: by the statement's limit, not by rows that are passed over."""
    with crowded.installation.database.transaction() as session:
        part = identity.people_part(session, crowded.installation.keys, identity.Sought(words="clerk", sort="-username"), None, limit=3)
        assert [one.person.username for one in part.items] == ["clerk10000", "clerk09999", "clerk09998"]
        later = identity.people_part(
            session, crowded.installation.keys, identity.Sought(words="clerk", sort="-username"), Place(str(part.items[-1].person.id)), limit=3
        )
        assert [one.person.username for one in later.items] == ["clerk09997", "clerk09996", "clerk09995"]
        assert (later.earlier, later.later) == (True, True)
        assert {type(one) for one in (session.get(Organization, "town-00001"), part.items[0].person)} == {Organization, Person}


PAGES = (
    ("peng.bo", "/console/organizations", "parent_id", "ward-5"), ("peng.bo", "/console/people", "organization", "ward-5"),
    ("peng.bo", "/console/clients", "organization", "ward-5"), ("deng.li", "/console/qualifications", "institution", "ward-5"),
    ("deng.li", "/console/qualifications", "person", "nurse5"), ("deng.li", "/console/consent", "recipient", "ward-5"),
    ("deng.li", "/console/explain", "recipient", "ward-5"), ("deng.li", "/console/agreements", "organization", "ward-5"),
    ("deng.li", "/console/applications/new", "recipient", "town-0012"),
    ("song.yi", "/console/standing-in", "to", "nurse5"),
)  # fmt: skip


@pytest.mark.parametrize(("who", "path", "field", "typed"), PAGES, ids=[f"{path}#{field}" for _, path, field, _ in PAGES])
def test_nobody_scrolls_and_whoever_looks_does_nothing_yet(crowded, browser, who, path, field, typed):
    browser.sign_in(who)
    page = browser.get(path)
    if page.status_code == 403:
        pytest.fail(f"{who} may not open {path}")
    assert f'name="{field}-words"' in page.text
    assert page.text.count("<option") < 250
    found = browser.post(path, {f"{field}-words": typed, "find": field})
    assert found.status_code == 422
    choices = re.search(rf'<select id="f-{field}"[^>]*>(.*?)</select>', found.text, re.DOTALL)[1]
    assert 11 <= choices.count("<option") <= 12, "those that were found, and none of them yet"
    assert "selected" not in choices


def test_an_owner_is_found_beside_the_form_that_asks(crowded, browser):
    browser.sign_in("deng.li")
    form = {"step": "action", "title": "改进交接", "find": "owner", "owner-words": "护士5"}
    found = browser.post("/console/improvement", form)
    assert found.status_code == 422
    assert re.search(r'<select id="action-owner"[^>]*>.*?护士5 \(nurse5\)', found.text, re.DOTALL)
    assert 'value="改进交接"' in found.text
