"""The registers of qualifications and training: entered, read from files, asked, and reminded of (TM-5.1, PI-4)."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from fastapi import FastAPI
from psycopg.rows import dict_row
from sqlmodel import select
from starlette.testclient import TestClient

from broker import clock, edge
from broker.applications import service as applications
from broker.audit.models import AuditEvent
from broker.identity.models import Person
from broker.notifications.models import Notification
from broker.settings import Settings
from broker.workforce import imports, service
from broker.workforce.errors import CredentialInvalid, NotQualified, TableUnreadable
from broker.workforce.models import Credential
from broker.workforce.routes import build_router
from broker.workforce.service import Register, Step
from tests.factories import applications as make
from tests.factories import identity


def entered(session, person=None, code="training.privacy", days=365, **more):
    register = Register.TRAINING if code.startswith("training.") else Register.QUALIFICATION
    until = None if days is None else clock.today() + timedelta(days=days)
    given = {"number": "T-1", "issued_on": clock.today() - timedelta(days=700), "valid_until": until, **more}
    return service.add(session, "system", register, person=person, code=code, **{"zone": UTC, **given})[0]


def lacking(session, person, step):
    try:
        service.check(session, person, step)
    except NotQualified as error:
        return [(problem.path.strip("/"), problem.code) for problem in error.problems]
    return []


def test_nothing_is_demanded_until_somebody_demands_it(database, people):
    with database.transaction() as session:
        assert lacking(session, people.applicant, Step.APPLY) == []
        service.set_demands(session, "system", Step.APPLY, ["training.privacy", "licence.practice"])
        assert lacking(session, people.applicant, Step.APPLY) == [("licence.practice", "missing"), ("training.privacy", "missing")]
        assert lacking(session, people.head, Step.ENDORSE) == []
        entered(session, people.applicant)
        entered(session, people.applicant, code="licence.practice", days=None)
        assert lacking(session, people.applicant, Step.APPLY) == []


def test_a_training_that_ran_out_blocks_at_once_and_until_it_is_renewed(database, people, set_clock):
    set_clock(clock.now())
    with database.transaction() as session:
        entered(session, people.manager, days=10)
        assert lacking(session, people.manager, Step.DECIDE) == []
        end = clock.now().replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=11)
        set_clock(end - timedelta(seconds=1))
        assert lacking(session, people.manager, Step.DECIDE) == []
        set_clock(end)
        assert lacking(session, people.manager, Step.DECIDE) == [("training.privacy", "expired")]
        entered(session, people.manager, days=365, number="T-2", issued_on=clock.today())
        assert lacking(session, people.manager, Step.DECIDE) == []


def test_a_suspended_licence_does_not_count(database, people):
    with database.transaction() as session:
        service.set_demands(session, "system", Step.APPLY, ["licence.practice"])
        row = entered(session, people.applicant, code="licence.practice", days=None)
        service.change(session, "system", Register.QUALIFICATION, row.id, "suspended")
        assert lacking(session, people.applicant, Step.APPLY) == [("licence.practice", "expired")]
        service.change(session, "system", Register.QUALIFICATION, row.id, "active")
        assert lacking(session, people.applicant, Step.APPLY) == []


def test_two_accounts_of_one_human_being_have_one_training(database, people):
    with database.transaction() as session:
        natural = session.get(Person, people.applicant).natural_person
        other = identity.person(session, "applicant", organization_id="qingyuan", natural_person=natural).id
        service.set_demands(session, "system", Step.APPLY, ["training.privacy"])
        entered(session, other)
        assert lacking(session, people.applicant, Step.APPLY) == []
        assert [row.person_id for row in service.of_caller(session, natural)] == [other]


def test_policy_is_told_of_the_person_and_the_institution(database, people):
    with database.transaction() as session:
        service.set_demands(session, "system", Step.RECEIVE, ["licence.institution"])
        entered(session, people.applicant, code="licence.practice", days=30, scope=("心血管内科",))
        before = service.facts(session, people.applicant, ["shengli-cardiology", "shengli"], clock.now())
        assert before.held == ("licence.practice", "scope.practice")
        assert before.required == ("licence.institution",)
        entered(session, None, code="licence.institution", days=10, organization="shengli")
        entered(session, None, code="licence.research-ethics", days=10, organization="qingyuan")
        found = service.facts(session, people.applicant, ["shengli-cardiology", "shengli"], clock.now())
        assert found.held == ("licence.institution", "licence.practice", "scope.practice")
        end = clock.now().replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=11)
        assert found.valid_until == clock.epoch(end)
        later = service.facts(session, people.applicant, ["shengli-cardiology", "shengli"], end)
        assert (later.held, later.expired) == (("licence.practice", "scope.practice"), ("licence.institution",))


@pytest.mark.parametrize(
    "wrong",
    [
        {"code": "licence.unheard-of"},
        {"code": "scope.practice"},
        {"code": "training.privacy", "person": None, "organization": "shengli"},
        {"valid_until": date(2020, 1, 1)},
        {"issued_on": date(2199, 1, 1), "valid_until": None},
        {"person": None},
    ],
)
def test_entries_that_are_none(database, people, wrong):
    given = {"person": people.applicant, "code": "training.privacy", "number": "1", "issued_on": date(2025, 1, 1), "valid_until": None, **wrong}
    register = Register.TRAINING if given["code"].startswith("training.") else Register.QUALIFICATION
    with database.transaction() as session, pytest.raises(CredentialInvalid):
        service.add(session, "system", register, zone=UTC, **given)


# --- Files -----------------------------------------------------------------------------------------------------------

HEADING = "holder,code,number,issued_on,valid_until,scope,issuer\r\n"


def read(session, text, register=Register.QUALIFICATION, **more):
    content = text if isinstance(text, bytes) else text.encode()
    return [
        (line.number, line.outcome, [(one.path, one.code) for one in line.problems])
        for line in imports.read(session, "system", register, content, zone=UTC, **more)
    ]


def names(session, people):
    return {part: session.get(Person, getattr(people, part)).username for part in ("applicant", "head")}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_good_lines_go_in_and_each_bad_one_is_named(database, people, encoding):
    with database.transaction() as session:
        name = names(session, people)
        lines = [
            f"{name['applicant']},licence.practice,110-1,2024-03-01,2029-02-28,心血管内科；内科,卫健委",
            "nobody,licence.practice,110-2,2024-03-01,,,",
            f"{name['head']},licence.unheard-of,110-3,2024-03-01,,,",
            f"{name['head']},licence.practice,,2024-13-01,tomorrow,,",
            "organization:shengli,licence.institution,PDY-1,2020-01-01,2030-12-31,,省卫健委",
            f"{name['head']},licence.practice,110-5,2024-03-01",
        ]
        text = (HEADING + "\r\n".join(lines) + "\r\n").encode(encoding)
        assert read(session, text) == [
            (2, "entered", []),
            (3, "refused", [("/holder", "unknown")]),
            (4, "refused", [("/code", "unknown")]),
            (5, "refused", [("/number", "required"), ("/issued_on", "day"), ("/valid_until", "day")]),
            (6, "entered", []),
            (7, "refused", [("/", "columns")]),
        ]
        rows = {row.number: row for row in session.exec(select(Credential)).all()}
        assert rows.keys() == {"110-1", "PDY-1"}
        assert rows["110-1"].scope == ["内科", "心血管内科"]
        assert rows["PDY-1"].organization_id == "shengli"
        again = read(session, text)
        assert [(number, outcome) for number, outcome, _ in again if outcome != "refused"] == [(2, "unchanged"), (6, "unchanged")]


def test_a_dry_run_keeps_nothing(database, people):
    with database.transaction() as session:
        name = names(session, people)
        text = HEADING + f"{name['applicant']},licence.practice,1,2024-03-01,,,\r\nx,y,z,,,,\r\n"
        assert [outcome for _, outcome, _ in read(session, text, dry_run=True)] == ["entered", "refused"]
        assert session.exec(select(Credential)).all() == []
        assert session.exec(select(AuditEvent)).all() == []


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xff\xff", b"number,code\r\n1,2\r\n", (HEADING.strip() + ",more\r\n").encode(), b'holder,code,number,issued_on\r\n"x', b"\x00" * 50,
     (HEADING + "a,b,c,d,,,\r\n" * 5001).encode()],
)  # fmt: skip
def test_what_is_no_table_is_refused_whole(database, content):
    with database.transaction() as session, pytest.raises(TableUnreadable):
        read(session, content)


# --- Reminders -------------------------------------------------------------------------------------------------------


def test_holders_are_reminded_in_time_and_once_each_time(database, keys, people, set_clock):
    start = clock.now().replace(hour=8)
    set_clock(start)
    with database.transaction() as session:
        entered(session, people.applicant, days=100)
        told = []
        for day in range(103):
            set_clock(start + timedelta(days=day))
            if service.remind(session, keys):
                told.append(100 - day)
            assert service.remind(session, keys) == 0
        assert told == [59, 29, 6, 0]
        to = [row.recipient for row in session.exec(select(Notification).order_by(Notification.at)).all()]
        assert to.count(f"person:{people.applicant}") == 4
        assert to.count(f"person:{people.manager}") == 2


def test_who_has_renewed_is_not_reminded(database, keys, people):
    with database.transaction() as session:
        entered(session, people.applicant, days=20)
        entered(session, people.applicant, days=700, number="T-2")
        entered(session, None, code="licence.institution", days=20, organization="shengli", number="证 1")
        assert service.remind(session, keys) == 1
        (row,) = session.exec(select(Notification)).all()
        assert (row.recipient, row.kind) == ("organization:shengli", "qualification.expiring")


# --- Over HTTP -------------------------------------------------------------------------------------------------------


@pytest.fixture
def web(own, tmp_path):
    app = FastAPI()
    app.state.settings, app.state.keys, app.state.database = Settings(var=tmp_path / "var"), own.keys, own.database
    edge.install(app)
    app.include_router(build_router())
    with own.database.transaction() as session:
        headers = {name: identity.signed_in(session, session.get(Person, getattr(own.people, name))) for name in ("applicant", "manager", "auditor")}
        name = session.get(Person, own.people.applicant).username
    return TestClient(app), headers, name


def test_the_registers_over_http(own, web):
    client, headers, name = web
    body = {"person": str(own.people.applicant), "code": "licence.practice", "number": "110-1", "issued_on": "2024-03-01", "scope": ["内科"]}
    made = client.post("/api/v1/qualifications", json=body, headers=headers["manager"])
    assert made.status_code == 201, made.text
    assert client.post("/api/v1/qualifications", json=body, headers=headers["manager"]).json()["id"] == made.json()["id"]
    assert client.post("/api/v1/qualifications", json=body, headers=headers["auditor"]).status_code == 403
    assert client.get("/api/v1/qualifications", headers=headers["applicant"]).status_code == 403
    listed = client.get("/api/v1/qualifications?organization=shengli-cardiology&limit=1", headers=headers["auditor"]).json()
    assert [one["number"] for one in listed["items"]] == ["110-1"]
    changed = client.patch(f"/api/v1/qualifications/{made.json()['id']}", json={"status": "suspended"}, headers=headers["manager"])
    assert changed.json()["status"] == "suspended"
    assert client.patch(f"/api/v1/training/{made.json()['id']}", json={"status": "active"}, headers=headers["manager"]).status_code == 404
    own_ones = client.get("/api/v1/me/credentials", headers=headers["applicant"]).json()["items"]
    assert [one["status"] for one in own_ones] == ["suspended"]
    table = (HEADING + f"{name},training.privacy,T-1,2026-01-01,2027-01-01,,\r\nCANARY,x,y,2026-01-01,,,\r\n").encode()
    answer = client.post("/api/v1/training/import", content=table, headers={**headers["manager"], "Content-Type": "text/csv"})
    assert answer.status_code == 200, answer.text
    assert {key: answer.json()[key] for key in ("entered", "unchanged", "refused")} == {"entered": 1, "unchanged": 0, "refused": 1}
    assert answer.json()["lines"][0]["line"] == 3
    assert "CANARY" not in answer.text
    bad = client.post("/api/v1/training/import", content=b"\xff\xff", headers={**headers["manager"], "Content-Type": "text/csv"})
    assert (bad.status_code, bad.json()["code"]) == (400, "table-unreadable")
    demands = client.put("/api/v1/workforce/demands/apply", json={"codes": ["training.privacy"]}, headers=headers["manager"]).json()
    assert demands["demands"]["apply"] == ["training.privacy"]
    assert demands["codes"]["training.privacy"]["zh"] == "患者信息保护培训"
    assert client.put("/api/v1/workforce/demands/apply", json={"codes": ["x.y"]}, headers=headers["manager"]).status_code == 422
    with own.database.transaction() as session:
        happened = {event.type for event in session.exec(select(AuditEvent)).all()}
        assert {"workforce.entered", "workforce.changed", "workforce.demands-set"} <= happened


def test_a_licence_withdrawn_after_approval_stops_the_next_release(database, means, people, patients):
    """The same question at every release, in the query that fetches the grant: no answer is older than the release (TM-5.1, ID-2.2)."""
    with database.transaction() as session:
        row = entered(session, people.applicant, code="licence.practice", days=None, scope=("内科",))
        grant = make.approved(session, means, people)

        def asked():
            cursor = session.connection().connection.driver_connection.cursor(row_factory=dict_row)
            session.flush()
            found = cursor.execute(applications.GRANT_FACTS_SQL, {"grant": grant.id, "patients": []}).fetchone()
            return applications.grant_from_row(found).workforce

        assert asked().held == ("licence.practice", "scope.practice")
        service.change(session, "system", Register.QUALIFICATION, row.id, "withdrawn")
        assert (asked().held, asked().expired) == ((), ("licence.practice", "scope.practice"))
        entered(session, people.applicant, days=1)
        entered(session, None, code="licence.institution", days=9, organization="shengli")
        assert asked().held == ("licence.institution", "training.privacy")
        assert asked().required == ("training.privacy",)


def test_a_certificate_ends_with_its_day_where_the_hospital_is(database, set_clock):
    """Until the end of the last day of May in Shanghai, which is eight hours before UTC's (TM-5.1)."""
    last = datetime(2026, 5, 31, 15, 59, 59, tzinfo=UTC)
    set_clock(last - timedelta(days=30))
    with database.transaction() as session:
        person = identity.person(session).id
        row = entered(session, person, "licence.practice", zone=ZoneInfo("Asia/Shanghai"), valid_until=date(2026, 5, 31))
        assert row.valid_until == last + timedelta(seconds=1)
