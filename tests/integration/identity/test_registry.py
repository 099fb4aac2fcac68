"""Organisations, people and clients over the API: who may, what is refused, and that each change is on record."""

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, ProgrammingError

from broker.identity import service
from broker.identity.access import Role
from broker.identity.errors import NotYourself, RolesApart
from tests.factories import identity as make


@pytest.fixture(scope="module")
def others(attacked):
    """Staff of the house that a whole table of refusals shares."""
    return _staff(attacked)


@pytest.fixture
def staff(house):
    """Headers of one person for each role, and of somebody without any."""
    return _staff(house)


def _staff(house):
    with house.database.transaction() as session:
        people = {role.value: make.person(session, role, username=role.value) for role in Role}
        people["nobody"] = make.person(session, username="nobody")
        return {name: make.signed_in(session, row) for name, row in people.items()}


def send(house, who, method, path, body=None):
    return house.http.request(method, f"/api/v1{path}", json=body, headers={**(who or {}), "Accept-Language": "en"})


NEW_ORGANIZATION = {"id": "tongji", "kind": "hospital", "relationship": "external", "name_zh": "同济医院", "name_en": "Tongji Hospital"}


def new_client(**changes):
    jwk = make.private_key()
    return {"id": "new-his", "organization": "shengli", "name": "接口", "jwks": {"keys": [make.public(jwk)]}, **changes}


WHO_MAY = [
    ("GET", "/organizations", None, {"applicant", "department_head", "information_manager", "auditor", "administrator", "regulator", "nobody"}),
    ("GET", "/people", None, {"information_manager", "auditor", "administrator"}),
    ("GET", "/clients", None, {"information_manager", "auditor", "administrator"}),
    ("POST", "/organizations", NEW_ORGANIZATION, {"information_manager", "administrator"}),
    ("PATCH", "/organizations/shengli", {"name_en": "New name"}, {"information_manager", "administrator"}),
    ("POST", "/people", {"username": "added.person", "name": "新人", "organization": "renhe"}, {"administrator"}),
    ("POST", "/clients", new_client(), {"information_manager", "administrator"}),
    ("PATCH", "/clients/shengli-his", {"name": "新名"}, {"information_manager", "administrator"}),
    ("PUT", "/clients/shengli-his/keys", {"jwks": new_client()["jwks"]}, {"information_manager", "administrator"}),
]


@pytest.mark.parametrize(("method", "path", "body", "allowed"), WHO_MAY)
def test_who_may(attacked, others, method, path, body, allowed):
    assert send(attacked, None, method, path, body).status_code == 401
    for name, headers in others.items():
        if name not in allowed:
            assert send(attacked, headers, method, path, body).status_code == 403, name
    assert send(attacked, others[min(allowed)], method, path, body).status_code in (200, 201)


def test_an_organisation_is_added_changed_and_recorded(house, staff):
    manager = staff["information_manager"]
    added = send(house, manager, "POST", "/organizations", NEW_ORGANIZATION)
    assert added.status_code == 201
    assert added.json() == {**NEW_ORGANIZATION, "parent_id": None, "jurisdiction": "CN", "status": "active", "agreement_until": None}
    assert send(house, manager, "POST", "/organizations", NEW_ORGANIZATION).status_code == 409
    changed = send(house, manager, "PATCH", "/organizations/tongji", {"agreement_until": "2027-12-31T00:00:00+08:00", "status": "suspended"})
    assert (changed.status_code, changed.json()["status"]) == (200, "suspended")
    assert send(house, manager, "GET", "/organizations/tongji").json()["agreement_until"] == "2027-12-30T16:00:00Z"
    assert [event["type"] for event in house.events() if event["type"].startswith("organization")] == ["organization.added", "organization.changed"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"id": "Upper"}, "/body/id"),
        ({"id": "a\0"}, "/body/id"),
        ({"kind": "school"}, "/body/kind"),
        ({"relationship": "friend"}, "/body/relationship"),
        ({"jurisdiction": "China"}, "/body/jurisdiction"),
        ({"agreement_until": "2027-12-31T00:00:00"}, "/body/agreement_until"),  # No time zone: nobody knows when.
        ({"name_zh": ""}, "/body/name_zh"),
        ({"name_zh": "a\0b"}, "/body/name_zh"),
        ({"unknown": 1}, "/body/unknown"),
        ({"kind": "department"}, "/parent_id"),
        ({"parent_id": "renhe"}, "/relationship"),
    ],
)
def test_an_organisation_that_does_not_fit_is_refused_with_field_and_reason(attacked, others, changes, field):
    answer = send(attacked, others["information_manager"], "POST", "/organizations", {**NEW_ORGANIZATION, **changes})
    assert answer.status_code == 422
    assert field in [problem["path"] for problem in answer.json()["errors"]]


def test_an_unknown_parent_is_not_found(attacked, others):
    assert send(attacked, others["information_manager"], "POST", "/organizations", {**NEW_ORGANIZATION, "parent_id": "nowhere"}).status_code == 404
    assert send(attacked, others["information_manager"], "GET", "/organizations/%00").status_code == 404


def test_nobody_shuts_themselves_out(attacked, others):
    answer = send(attacked, others["administrator"], "PATCH", "/organizations/renhe", {"status": "suspended"})
    assert (answer.status_code, answer.json()["code"]) == (403, "not-yourself")


def test_a_person_is_added_given_roles_and_signs_in(house, staff):
    admin = staff["administrator"]
    body = {
        "username": "Gao.Min",
        "name": "高敏",
        "organization": "shengli",
        "password": make.PASSWORD,
        "roles": [{"role": "applicant", "organization": "shengli"}],
    }
    added = send(house, admin, "POST", "/people", body)
    assert added.status_code == 201, added.text
    assert "password" not in added.text
    assert (added.json()["username"], added.json()["roles"]) == ("gao.min", body["roles"])
    # The administrator knows the password, so that it is changed before anything else.
    assert house.http.get("/api/v1/me", auth=("gao.min", make.PASSWORD)).json()["code"] == "password-change-required"
    assert send(house, admin, "POST", "/people", body).status_code == 409
    person_id = added.json()["id"]
    roles = {"roles": [{"role": "department_head", "organization": "shengli"}]}
    assert send(house, admin, "PUT", f"/people/{person_id}/roles", roles).json()["roles"] == roles["roles"]
    assert send(house, admin, "PATCH", f"/people/{person_id}", {"status": "suspended"}).json()["status"] == "suspended"
    assert house.http.get("/api/v1/me", auth=("gao.min", make.PASSWORD)).status_code == 401
    events = [event for event in house.events() if event["type"].startswith("person")]
    assert [event["type"] for event in events] == ["person.added", "person.roles-set", "person.roles-set", "person.changed"]
    assert "高敏" not in str(events)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"password": "short"}, "password-refused"),
        ({"password": "aaaaaaaaaaaaaaaa"}, "password-refused"),
        ({"password": "new.person-2026"}, "password-refused"),
        ({"username": "x y"}, "invalid"),
        ({"username": "高敏"}, "invalid"),
        ({"roles": [{"role": "auditor", "organization": "shengli"}], "organization": "shengli"}, "role-internal-only"),
        ({"roles": [{"role": "applicant", "organization": "shengli"}]}, "invalid"),
        ({"roles": [{"role": "administrator", "organization": "renhe"}, {"role": "auditor", "organization": "renhe"}]}, "roles-apart"),
        ({"roles": [{"role": "king", "organization": "renhe"}]}, "invalid"),
    ],
)
def test_a_person_who_can_not_be_so_is_refused(attacked, others, changes, code):
    body = {"username": "new.person", "name": "新人", "organization": "renhe", "password": make.PASSWORD, **changes}
    answer = send(attacked, others["administrator"], "POST", "/people", body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    with attacked.database.transaction() as session:
        assert session.execute(sa.text("SELECT count(*) FROM person WHERE username = 'new.person'")).scalar_one() == 0


def test_two_accounts_of_one_human_being_count_together(database):
    with database.transaction() as session:
        make.person(session, Role.AUDITOR, natural_person="zhao")
        second = make.person(session, natural_person="zhao")
        with pytest.raises(RolesApart):
            service.set_roles(session, "system", second.id, [(Role.ADMINISTRATOR, "renhe")])
        service.set_roles(session, "system", second.id, [])


def test_nobody_changes_their_own_rights_not_even_through_another_account(database):
    with database.transaction() as session:
        admin = make.person(session, Role.ADMINISTRATOR, natural_person="qian")
        second = make.person(session, natural_person="qian")
        for person_id in (admin.id, second.id):
            with pytest.raises(NotYourself):
                service.set_roles(session, f"person:{admin.id}", person_id, [(Role.APPLICANT, "renhe")])
        with pytest.raises(NotYourself):
            service.change_person(session, f"person:{admin.id}", admin.id, status="active")


def test_a_password_is_changed_by_its_owner_who_proves_the_old_one_or_by_an_administrator(house, staff):
    with house.database.transaction() as session:
        alice = make.person(session, Role.APPLICANT, username="alice")
        headers = make.signed_in(session, alice)
    path, new = f"/people/{alice.id}/password", "seven wet herons walk"
    assert send(house, headers, "PUT", path, {"password": new}).status_code == 403
    assert send(house, headers, "PUT", path, {"password": new, "present": "wrong"}).status_code == 403
    assert send(house, staff["information_manager"], "PUT", path, {"password": new}).status_code == 403
    assert send(house, headers, "PUT", path, {"password": new, "present": make.PASSWORD}).status_code == 204
    assert house.http.get("/api/v1/me", headers=headers).status_code == 401  # Every session ends.
    assert house.http.get("/api/v1/me", auth=("alice", new)).status_code == 200
    assert send(house, staff["administrator"], "PUT", path, {"password": make.PASSWORD}).status_code == 204
    assert house.http.get("/api/v1/me", auth=("alice", make.PASSWORD)).json()["code"] == "password-change-required"


def test_a_client_is_registered_with_public_keys_and_gets_tokens(house, staff):
    jwk = make.private_key("RS384")
    body = new_client(jwks={"keys": [{**make.public(jwk), "x5t": "dropped", "comment": "dropped"}]})
    answer = send(house, staff["information_manager"], "POST", "/clients", body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["jwks"]["keys"][0].keys() == {"kty", "kid", "alg", "n", "e"}
    assert house.ask(make.assertion("new-his", jwk, house.token_endpoint)).status_code == 200
    (event,) = house.events("client.registered")
    assert (event["recipient"], event["facts"]["client"], len(event["facts"]["keys"])) == ("shengli", "new-his", 1)
    assert send(house, staff["information_manager"], "POST", "/clients", body).status_code == 409


def test_a_private_key_is_refused_and_not_repeated(house, staff):
    for alg in ("ES384", "RS384"):
        jwk = make.private_key(alg)
        answer = send(house, staff["information_manager"], "POST", "/clients", new_client(jwks={"keys": [jwk]}))
        assert (answer.status_code, answer.json()["code"]) == (422, "keys-refused")
        assert answer.json()["errors"][0]["code"] == "private-key"
        assert jwk["d"] not in answer.text
        with house.database.transaction() as session:
            assert jwk["d"] not in str(session.execute(sa.text("SELECT client::text FROM client")).all())


def test_only_a_client_of_the_hospital_may_look_into_tokens_of_others(house, staff):
    answer = send(house, staff["information_manager"], "POST", "/clients", new_client(resource_server=True))
    assert (answer.status_code, answer.json()["code"]) == (422, "resource-server-external")
    answer = send(house, staff["information_manager"], "POST", "/clients", new_client(resource_server=True, organization="renhe"))
    assert answer.status_code == 201


@pytest.mark.parametrize(
    "uri",
    [
        "http://client.example/jwks",
        "https://u@client.example/jwks",
        "https:///jwks",
        "https://client.example/a#b",
        "x",
        "https://[",
        "https://例.example/",
    ],
)
def test_an_address_of_keys_is_https_and_plain(attacked, others, uri):
    answer = send(attacked, others["information_manager"], "POST", "/clients", new_client(jwks_uri=uri))
    assert answer.status_code == 422
    assert uri not in answer.text or len(uri) < 3


def test_unknown_things_are_not_found(attacked, others):
    manager = others["information_manager"]
    for path in ("/clients/none", "/clients/%00", "/organizations/none", "/people/00000000-0000-0000-0000-000000000000"):
        assert send(attacked, manager, "GET", path).status_code == 404, path
    assert send(attacked, manager, "GET", "/people/no-uuid").status_code == 422
    assert send(attacked, manager, "GET", "/people?organization=%00").status_code == 400
    assert send(attacked, manager, "PATCH", "/clients/none", {"status": "suspended"}).status_code == 404


def test_the_web_process_can_not_rewrite_a_token_nor_delete_who_is_known(house):
    """It may mark a token revoked; whose it is and under which grant stays as it was issued."""
    house.token()
    for statement in (
        "UPDATE token SET client_id = client_id",
        "UPDATE token SET grant_id = gen_random_uuid()",
        "UPDATE token SET expires_at = now()",
        "DELETE FROM client",
        "DELETE FROM person",
        "DELETE FROM organization",
        "UPDATE role_held SET role = 'administrator'",
    ):
        with pytest.raises(ProgrammingError, match="permission denied"), house.database.transaction() as session:
            session.execute(sa.text(statement))


def test_the_database_refuses_what_the_code_should_not_write(database):
    with pytest.raises(IntegrityError), database.transaction() as session:
        make.organization(session, "x", status="closed")
