"""The quarterly review of a real database: what happened in the quarter, and the same bytes whenever it is asked (RS-7.1)."""

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

import pytest
import typer
from sqlmodel import select
from typer.testing import CliRunner

from broker import clock
from broker.applications import service as applications
from broker.applications.models import Grant
from broker.audit import service as audit
from broker.audit.events import Event
from broker.cli import review as command
from broker.feedback import service as feedback
from broker.feedback.rules import Answers
from broker.identity.service import caller_for
from broker.release.models import Release
from broker.review import keeping, service
from broker.settings import Settings
from tests.factories import applications as make

QUARTER = service.Quarter.parse("2026Q4")
BEGIN = datetime(2026, 10, 2, 8, tzinfo=UTC)
DAYS = 30
FILES = ("txt", "xlsx", *(("pdf",) if service.fonts_there() else ()))


def sent(session, grant, patient_key, *, items, held_back, outcome="sent"):
    session.connection().exec_driver_sql(applications.SPEND_SQL, {"grant": grant.id, "at": clock.now()})
    session.add(
        Release(
            patient_key=patient_key,
            id=uuid4(),
            grant_id=grant.id,
            application=grant.number,
            client_id="c",
            intent=uuid4(),
            sent_at=clock.now(),
            outcome=outcome,
            items=items,
            held_back=held_back,
            body_bytes=1,
            digest="d",
            plan="p",
            policy_revision="r",
            manifest=b"",
        )
    )
    session.flush()


def a_quarter(session, its, patients, set_clock):
    """Two applications of the quarter before, five of this one, one of the next."""
    people, means = its.people, its.means
    why = applications.Reason("不必要", applications.ReasonCode.NOT_NECESSARY)
    far = {"valid_until": "2199-12-31"}
    set_clock(BEGIN - timedelta(days=60))
    early = make.approved(session, means, people, **far)
    sent(session, early, patients[1], items=50, held_back=5)
    waiting = make.endorsed(session, means, people, **far)

    set_clock(BEGIN)
    sent(session, early, patients[1], items=11, held_back=1)
    applications.approve(session, means, people.manager, waiting.number, if_match=waiting.version)
    first = make.endorsed(session, means, people, **far)
    set_clock(timedelta(hours=6))
    granted = applications.approve(session, means, people.manager, first.number, if_match=first.version)
    sent(session, granted, patients[1], items=20, held_back=4)
    sent(session, granted, patients[1], items=0, held_back=24, outcome="failed")
    refused = make.endorsed(session, means, people, **far)
    set_clock(timedelta(hours=2))
    applications.refuse(session, its.keys, people.manager, refused.number, if_match=refused.version, reason=why)
    returned = make.submitted(session, means, people, **far)
    applications.return_(session, its.keys, people.head, returned.number, if_match=returned.version, reason=why)
    make.submitted(session, means, people, urgency="emergency", **far)
    make.drafted(session, means, people)  # Drafts are nobody's business.
    report = Answers(
        used=True,
        purpose_met="yes",
        elements_used=(),
        examinations_avoided=2,
        data_problems=(),
        onward_disclosure=False,
        deletion_done=True,
        comment=None,
    )
    feedback.give(session, its.keys, caller_for(session, people.applicant), granted.number, report)
    for reasons in (["consent.refused"], ["consent.refused", "grant.expired"]):
        audit.record(session, Event(type="release.refused", actor="client:c", outcome="deny", facts={"reasons": reasons, "kind": "refused"}))
    audit.record(session, Event(type="release.permitted", actor="client:c", release=uuid4(), outcome="permit"))

    set_clock(QUARTER.until + timedelta(days=1))
    sent(session, granted, patients[1], items=999, held_back=999)
    make.approved(session, means, people, **far)
    # What happens to this quarter's applications afterwards is the next quarter's.
    applications.withdraw(session, its.keys, people.applicant, returned.number)
    session.expire_all()


def test_a_quarter(database, shared, patients, set_clock):
    with database.transaction() as session:
        a_quarter(session, shared, patients, set_clock)
        review = service.compiled(session, QUARTER, feedback_days=DAYS)
    figures = review["applications"]
    assert (figures["submitted"], figures["decided"], figures["approved"], figures["refused"]) == (4, 3, 2, 1)
    assert figures["by_state"] == {"approved": 1, "refused": 1, "returned": 1, "submitted": 1}
    assert figures["median_hours_to_decision"] == 6.0  # 2 hours, 6 hours, 60 days
    assert figures["refused_by_reason"] == figures["returned_by_reason"] == {"not-necessary": 1}
    assert (review["assessment"]["compared"], review["assessment"]["agreed"]) == (4, 2)
    assert review["releases"] == {
        "by_outcome": {"failed": 1, "sent": 2},
        "unexplained": 1,
        "resources_sent": 31,
        "resources_held_back": 5,
        "minimisation": 0.8611,
        "refused": 3,
        "refused_by_reason": {"consent.refused": 2, "grant.expired": 1},
    }
    assert review["emergency"] == {"applications": 1, "releases": 0}
    assert (review["feedback"]["reports"], review["feedback"]["examinations_avoided"], review["feedback"]["overdue"]) == (1, 2, 1)
    (row,) = review["breakdowns"]["recipient"]
    assert row == {
        "key": make.RECIPIENT,
        "name": {"zh": "仁和医院", "en": "Renhe Hospital"},
        "applications": None,
        "approved": None,
        "refused": None,
        "releases": None,
        "resources": 31,
    }
    assert [row["key"] for row in review["breakdowns"]["data"]] == ["clinical.laboratory", "type:Observation"]


def test_the_same_bytes_whenever_it_is_asked(database, shared, patients, set_clock):
    with database.transaction() as session:
        a_quarter(session, shared, patients, set_clock)
        first = service.compiled(session, QUARTER, feedback_days=DAYS)
        set_clock(timedelta(days=700))
        again = service.compiled(session, QUARTER, feedback_days=DAYS)
    assert service.as_json(first) == service.as_json(again)
    assert service.as_text(first, "zh") == service.as_text(again, "zh")
    assert "2028" not in service.as_json(again)


def test_another_quarter_is_empty(database, shared, patients, set_clock):
    with database.transaction() as session:
        a_quarter(session, shared, patients, set_clock)
        review = service.compiled(session, service.Quarter.parse("2020Q1"), feedback_days=DAYS)
    assert review["applications"]["submitted"] == 0
    assert review["releases"]["resources_sent"] == 0
    assert all(rows == [] for rows in review["breakdowns"].values())


# --- The command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def run(own, monkeypatch, tmp_path):
    monkeypatch.setattr(command, "settings", lambda: Settings(var=tmp_path, database_url=own.url))
    app = typer.Typer()
    app.callback()(lambda: None)
    command.register(app)
    return lambda *arguments: CliRunner().invoke(app, ["review", *arguments])


def test_the_command_prints_and_writes(run, own, set_clock, tmp_path):
    with own.database.transaction() as session:
        a_quarter(session, own, own.patients, set_clock)
    out = tmp_path / "reviews"
    printed = run("2026Q4", "--out", str(out), "--lang", "zh,en")
    assert printed.exit_code == 0, printed.output
    assert "数据共享季度审计 2026Q4" in printed.stdout
    assert "Quarterly review of data sharing 2026Q4" in printed.stdout
    assert sorted(path.name for path in out.iterdir()) == sorted(
        ["review-2026Q4.json", *(f"review-2026Q4.{name}.{kind}" for name in ("zh", "en") for kind in FILES)]
    )
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    set_clock(timedelta(days=100))
    assert run("2026Q4", "--out", str(out), "--lang", "zh,en").stdout == printed.stdout
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    as_json = run("2026Q4", "--json")
    assert as_json.stdout.encode() == before["review-2026Q4.json"]
    assert json.loads(as_json.stdout)["quarter"] == "2026Q4"


@pytest.mark.parametrize("arguments", [("2026",), ("2026Q4", "--lang", "fr")])
def test_wrong_use_is_told(run, arguments):
    ended = run(*arguments)
    assert ended.exit_code == 2
    assert ended.stdout == ""
    assert ended.stderr.strip()


def test_pages_show_the_figures_of_one_moment_until_they_are_reckoned_anew(database, shared, set_clock):
    """RS-7.1: what is kept is exact for its moment, says so, and is brought up to date by the worker, on demand, and when the quarter ends."""
    with database.transaction() as session:
        set_clock(QUARTER.until - timedelta(days=2))
        make.submitted(session, shared.means, shared.people)
        first = service.shown(session, QUARTER, feedback_days=DAYS)
        assert service.as_json(first.document) == service.as_json(service.compiled(session, QUARTER, feedback_days=DAYS))
        assert (first.at, first.since) == (clock.now(), False)

        set_clock(timedelta(minutes=20))
        make.submitted(session, shared.means, shared.people)
        again = service.shown(session, QUARTER, feedback_days=DAYS)
        assert (again.at, again.since) == (first.at, True)
        assert service.as_json(again.document) == service.as_json(first.document)
        reckon = partial(service.compiled, feedback_days=DAYS)
        assert keeping.refresh(session, reckon) == 1
        fresh = service.shown(session, QUARTER, feedback_days=DAYS)
        assert (fresh.at, fresh.since) == (clock.now(), False)
        assert fresh.document["applications"]["submitted"] == first.document["applications"]["submitted"] + 1

        set_clock(timedelta(minutes=20))
        assert keeping.refresh(session, reckon) == 1, "what was under way at that moment may be visible by now"
        set_clock(timedelta(minutes=20))
        assert keeping.refresh(session, reckon) == 0, "nothing happened since"
        assert service.shown(session, QUARTER, feedback_days=DAYS, anew=True).at == clock.now()
        set_clock(timedelta(days=3))
        assert service.shown(session, QUARTER, feedback_days=DAYS).at == clock.now(), "the quarter ended meanwhile"


@pytest.mark.parametrize("days", [0, 1, 29, 30, 31, 400])
def test_the_database_counts_as_overdue_what_the_rule_does(database, shared, patients, set_clock, days):
    with database.transaction() as session:
        a_quarter(session, shared, patients, set_clock)
        every = list(session.exec(select(Grant)).all())
        for at in (BEGIN, QUARTER.until, QUARTER.until + timedelta(days=200)):
            before = [grant for grant in every if grant.first_released_at is not None and grant.first_released_at < at]
            assert feedback.overdue_count(session, days, at) == len(feedback.overdue_at(session, before, days, at))
