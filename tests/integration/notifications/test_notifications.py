"""Notifications, as they reach people: the inbox, mail through a real SMTP server, webhooks through a real web server."""

import base64
import email
import email.policy
import threading
from datetime import timedelta

import pytest
from fastapi import FastAPI
from sqlmodel import select
from starlette.testclient import TestClient

from broker import clock, edge
from broker.audit.models import AuditEvent
from broker.identity.access import Role
from broker.identity.models import Person
from broker.identity.service import caller_for
from broker.notifications import service
from broker.notifications.errors import NoSuchNotification, UndeliverableKind
from broker.notifications.models import Channel, Delivery, Notification, Way
from broker.notifications.routes import build_router
from broker.notifications.rules import AGAIN
from broker.notifications.sending import signature
from broker.settings import Settings
from tests.factories import identity

FACTS = {"application": "SA-2026-000001", "due": "2026-12-24"}


@pytest.fixture
def chosen(tmp_path, mail_server):
    return Settings(
        var=tmp_path / "var", smtp_host="127.0.0.1", smtp_port=mail_server.port, smtp_security="none", webhook_networks="127.0.0.0/8",
        base_url="https://broker.hospital.example",
    )  # fmt: skip


def tell(session, keys, to, kind="application.to-endorse", facts=FACTS, **more):
    return service.notify(session, keys, to=to, kind=kind, facts=facts, **more)


def deliveries(database):
    with database.transaction() as session:
        return [(row.status, row.attempts, row.error) for row in session.exec(select(Delivery).order_by(Delivery.id)).all()]


# --- The inbox -------------------------------------------------------------------------------------------------------


def test_one_reads_what_one_was_told_and_no_other(database, keys, people):
    with database.transaction() as session:
        head, stranger = caller_for(session, people.head), caller_for(session, people.stranger)
        mine = tell(session, keys, head.actor)
        ours = tell(session, keys, f"organization:{head.organization_id}")
        assert {row.id for row in service.inbox(session, head)} == {mine, ours}
        assert service.unread(session, head) == 2
        assert service.inbox(session, stranger) == []
        with pytest.raises(NoSuchNotification):
            service.mark_read(session, stranger, mine)
        assert service.mark_read(session, head, mine) == 1
        assert service.mark_read(session, head, mine) == 0
        assert [row.id for row in service.inbox(session, head, unread_only=True)] == [ours]
        assert service.mark_read(session, head) == 1
        assert service.unread(session, head) == 0


def test_pages_follow_each_other_without_gap(database, keys, people):
    with database.transaction() as session:
        head = caller_for(session, people.head)
        told = [tell(session, keys, head.actor) for _ in range(7)]
        seen, after = [], None
        while page := service.inbox(session, head, limit=3, after=after):
            seen += [row.id for row in page]
            after = page[-1].id
        assert sorted(seen) == sorted(told)
        assert len(seen) == 7


def test_a_reminder_is_given_once(database, keys, people):
    with database.transaction() as session:
        assert tell(session, keys, f"person:{people.head}", once="due|SA-2026-000001")
        assert tell(session, keys, f"person:{people.head}", once="due|SA-2026-000001") is None
        assert len(session.exec(select(Notification)).all()) == 1


def test_holders_of_a_role_are_told(database, keys, people):
    with database.transaction() as session:
        assert service.notify_role(session, keys, Role.INFORMATION_MANAGER, kind="application.to-decide", facts=FACTS, once="k") == 2
        assert service.notify_role(session, keys, Role.INFORMATION_MANAGER, kind="application.to-decide", facts=FACTS, once="k") == 0
        assert service.notify_role(session, keys, Role.DEPARTMENT_HEAD, ("shengli-cardiology",), kind="application.to-endorse", facts=FACTS) == 1
        told = {row.recipient for row in session.exec(select(Notification)).all()}
        assert told == {f"person:{one}" for one in (people.manager, people.second_manager, people.head)}


def test_what_could_hold_a_patients_name_is_not_told(database, keys, people):
    with database.transaction() as session:
        for facts in ({**FACTS, "application": "张秀英"}, {**FACTS, "name": "x"}, {**FACTS, "due": "a sentence"}, {"application": "SA-1"}):
            with pytest.raises(UndeliverableKind):
                tell(session, keys, f"person:{people.head}", facts=facts)
        with pytest.raises(UndeliverableKind):
            tell(session, keys, f"person:{people.head}", kind="unheard-of")


# --- Mail ------------------------------------------------------------------------------------------------------------


def test_mail_arrives_in_the_persons_language(own, chosen, mail_server):
    with own.database.transaction() as session:
        session.get(Person, own.people.applicant).language = "en"
        for who in (own.people.head, own.people.applicant):
            service.add_channel(session, own.keys, chosen, "system", recipient=f"person:{who}", way=Way.MAIL, address=f"{who}@hospital.example")
            tell(session, own.keys, f"person:{who}")
    assert service.deliver_due(own.database, own.keys, chosen) == 2
    assert service.deliver_due(own.database, own.keys, chosen) == 0
    sent = {to[0]: email.message_from_bytes(content, policy=email.policy.default) for to, content in mail_server.heard}
    zh = sent[f"rcpt TO:<{own.people.head}@hospital.example>"]
    en = sent[f"rcpt TO:<{own.people.applicant}@hospital.example>"]
    assert zh["Subject"] == "SA-2026-000001 待您审签"
    assert "https://broker.hospital.example/console/applications/SA-2026-000001" in zh.get_content()
    assert en["Subject"] == "SA-2026-000001 waits for your endorsement"
    assert en["Auto-Submitted"] == "auto-generated"
    assert deliveries(own.database) == [("sent", 1, None)] * 2


def test_an_organisation_is_told_in_both_languages(own, chosen, mail_server):
    with own.database.transaction() as session:
        service.add_channel(session, own.keys, chosen, "system", recipient="organization:shengli", way=Way.MAIL, address="office@shengli.example")
        tell(session, own.keys, "organization:shengli")
    assert service.deliver_due(own.database, own.keys, chosen) == 1
    text = email.message_from_bytes(mail_server.heard[0][1], policy=email.policy.default).get_content()
    assert "待您审签" not in text  # That is the subject; the text says what to do.
    assert "请于 2026-12-24 前审签" in text
    assert "Please endorse" in text


def test_a_mail_server_that_is_away_is_tried_again_and_then_given_up(own, chosen, mail_server, set_clock):
    set_clock(clock.now())
    with own.database.transaction() as session:
        service.add_channel(session, own.keys, chosen, "system", recipient="organization:shengli", way=Way.MAIL, address="office@shengli.example")
        tell(session, own.keys, "organization:shengli")
    away = chosen.model_copy(update={"smtp_port": 1})
    for attempt, wait in enumerate(AGAIN, start=1):
        assert service.deliver_due(own.database, own.keys, away) == 0
        assert deliveries(own.database) == [("waiting", attempt, "smtp-ConnectionRefusedError")]
        assert service.deliver_due(own.database, own.keys, away) == 0  # Not before its time.
        assert deliveries(own.database)[0][1] == attempt
        set_clock(wait)
    assert service.deliver_due(own.database, own.keys, away) == 0
    assert deliveries(own.database) == [("failed", len(AGAIN) + 1, "smtp-ConnectionRefusedError")]
    assert service.deliver_due(own.database, own.keys, chosen) == 0
    assert mail_server.heard == []


def test_a_mailbox_that_does_not_exist_is_given_up_and_a_full_one_tried_again(own, chosen, mail_server):
    with own.database.transaction() as session:
        service.add_channel(session, own.keys, chosen, "system", recipient="organization:shengli", way=Way.MAIL, address="office@shengli.example")
        tell(session, own.keys, "organization:shengli")
        tell(session, own.keys, "organization:shengli")
    mail_server.answers += ["550 no such mailbox", "452 full"]
    assert service.deliver_due(own.database, own.keys, chosen) == 0
    assert sorted(deliveries(own.database)) == [("failed", 1, "smtp-550"), ("waiting", 1, "smtp-452")]


# --- Webhooks --------------------------------------------------------------------------------------------------------


def hooked(own, chosen, web_server, path="/hook?x=1", times=1):
    with own.database.transaction() as session:
        made = service.add_channel(
            session, own.keys, chosen, "system", recipient="client:his", way=Way.WEBHOOK, address=f"http://127.0.0.1:{web_server.port}{path}"
        )
        for _ in range(times):
            tell(session, own.keys, "client:his")
    return base64.b64decode(made.secret.removeprefix("whsec_"))


def test_a_webhook_arrives_signed(own, chosen, web_server):
    secret = hooked(own, chosen, web_server)
    assert service.deliver_due(own.database, own.keys, chosen) == 1
    ((path, headers, body, said),) = web_server.heard
    given = {name.lower(): value for name, value in headers.items()}
    assert path == "/hook?x=1"
    assert given["webhook-signature"] == signature(secret, given["webhook-id"], int(given["webhook-timestamp"]), body)
    assert given["webhook-signature"] != signature(b"another", given["webhook-id"], int(given["webhook-timestamp"]), body)
    assert said["type"] == "application.to-endorse"
    assert said["data"] == {
        **FACTS,
        "recipient": "client:his",
        "link": "https://broker.hospital.example/console/applications/SA-2026-000001",
    }


def test_a_webhook_that_fails_is_sent_again_under_the_same_number(own, chosen, web_server, set_clock):
    set_clock(clock.now())
    hooked(own, chosen, web_server)
    web_server.answers.append(500)
    assert service.deliver_due(own.database, own.keys, chosen) == 0
    assert deliveries(own.database) == [("waiting", 1, "http-500")]
    set_clock(AGAIN[0])
    assert service.deliver_due(own.database, own.keys, chosen) == 1
    first, second = ({name.lower(): value for name, value in headers.items()}["webhook-id"] for _, headers, _, _ in web_server.heard)
    assert first == second


def test_redirects_are_not_followed_and_gone_is_gone(own, chosen, web_server):
    hooked(own, chosen, web_server, times=2)
    web_server.answers += [302, 410]
    assert service.deliver_due(own.database, own.keys, chosen) == 0
    assert sorted(deliveries(own.database)) == [("failed", 1, "http-410"), ("waiting", 1, "http-302")]
    assert {path for path, *_ in web_server.heard} == {"/hook?x=1"}


def test_without_the_setting_nothing_inside_is_reached(own, chosen, web_server):
    """The channel was entered while it was allowed; what counts is what is allowed when it is sent."""
    hooked(own, chosen, web_server)
    strict = chosen.model_copy(update={"webhook_networks": ""})
    assert service.deliver_due(own.database, own.keys, strict) == 0
    assert web_server.heard == []
    assert deliveries(own.database) == [("failed", 1, "url")]


def test_several_workers_share_the_work(own, chosen, web_server):
    hooked(own, chosen, web_server, times=12)
    arrived = []
    workers = [threading.Thread(target=lambda: arrived.append(service.deliver_due(own.database, own.keys, chosen))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert sum(arrived) == 12
    ids = [{name.lower(): value for name, value in headers.items()}["webhook-id"] for _, headers, _, _ in web_server.heard]
    assert len(ids) == len(set(ids)) == 12


def test_a_try_that_nobody_finished_is_taken_up_again(own, chosen, web_server, set_clock, monkeypatch):
    set_clock(clock.now())
    hooked(own, chosen, web_server)

    def dies(*_):
        raise KeyboardInterrupt

    right = service.sending.webhook
    monkeypatch.setattr("broker.notifications.sending.webhook", dies)
    with pytest.raises(KeyboardInterrupt):
        service.deliver_due(own.database, own.keys, chosen)
    monkeypatch.setattr("broker.notifications.sending.webhook", right)
    assert service.deliver_due(own.database, own.keys, chosen) == 0
    set_clock(timedelta(minutes=6))
    assert service.deliver_due(own.database, own.keys, chosen) == 1
    assert deliveries(own.database) == [("sent", 2, None)]


def test_addresses_and_secrets_are_sealed(own, chosen, web_server):
    hooked(own, chosen, web_server, path="/CANARY-path")
    with own.database.transaction() as session:
        row = session.exec(select(Channel)).one()
        assert b"CANARY" not in row.address_sealed + (row.secret_sealed or b"")
        assert "CANARY" not in "".join(session.exec(select(AuditEvent.leaf)).all())


# --- Over HTTP -------------------------------------------------------------------------------------------------------


@pytest.fixture
def web(own, chosen):
    app = FastAPI()
    app.state.settings, app.state.keys, app.state.database = chosen, own.keys, own.database
    edge.install(app)
    app.include_router(build_router(keys=own.keys, settings=chosen))
    with own.database.transaction() as session:
        headers = {name: identity.signed_in(session, session.get(Person, getattr(own.people, name))) for name in ("head", "manager", "applicant")}
    return TestClient(app), headers


def test_the_inbox_over_http(own, web):
    client, headers = web
    with own.database.transaction() as session:
        for _ in range(3):
            tell(session, own.keys, f"person:{own.people.head}")
    page = client.get("/api/v1/notifications?limit=2", headers={**headers["head"], "Accept-Language": "en"}).json()
    assert page["unread"] == 3
    assert [one["subject"] for one in page["items"]] == ["SA-2026-000001 waits for your endorsement"] * 2
    rest = client.get(f"/api/v1/notifications?limit=2&after={page['next']}", headers={**headers["head"], "Accept-Language": "zh"}).json()
    assert [one["subject"] for one in rest["items"]] == ["SA-2026-000001 待您审签"]
    assert rest["next"] is None
    first = page["items"][0]["id"]
    assert client.post(f"/api/v1/notifications/{first}/read", headers=headers["head"]).json() == {"read": 1}
    assert client.post(f"/api/v1/notifications/{first}/read", headers=headers["applicant"]).status_code == 404
    assert client.post("/api/v1/notifications/read", headers=headers["head"]).json() == {"read": 2}
    assert client.get("/api/v1/notifications").status_code == 401


def test_channels_over_http(own, web):
    client, headers = web
    made = client.post("/api/v1/me/channels", json={"way": "mail", "address": "head@hospital.example"}, headers=headers["head"])
    assert (made.status_code, made.json()["secret"]) == (201, None)
    hook = client.post(
        "/api/v1/organizations/shengli/channels", json={"way": "webhook", "address": "https://shengli.example/h"}, headers=headers["manager"]
    )
    assert hook.json()["secret"].startswith("whsec_")
    listed = client.get("/api/v1/organizations/shengli/channels", headers=headers["manager"]).json()["items"]
    assert [(one["address"], one["secret"]) for one in listed] == [("https://shengli.example/h", None)]
    assert client.post("/api/v1/organizations/shengli/channels", json={"way": "mail", "address": "a@b"}, headers=headers["head"]).status_code == 403
    assert client.delete(f"/api/v1/me/channels/{made.json()['id']}", headers=headers["applicant"]).status_code == 404
    assert client.delete(f"/api/v1/me/channels/{made.json()['id']}", headers=headers["head"]).status_code == 204
    assert client.get("/api/v1/me/channels", headers=headers["head"]).json() == {"items": []}
    with own.database.transaction() as session:
        happened = [event.type for event in session.exec(select(AuditEvent).order_by(AuditEvent.seq)).all()]
        assert [one for one in happened if one.startswith("notification.")] == [
            "notification.channel-added",
            "notification.channel-added",
            "notification.channel-removed",
        ]


@pytest.mark.parametrize(
    ("way", "address"),
    [
        ("mail", "nobody"),
        ("mail", "a@b\r\nBcc: c@d"),
        ("mail", "x <a@b>"),
        ("webhook", "ftp://x.example/"),
        ("webhook", "https://u:p@x.example/"),
        ("fax", "number-none"),
    ],
)
def test_addresses_that_are_none_are_refused(web, way, address):
    client, headers = web
    refused = client.post("/api/v1/me/channels", json={"way": way, "address": address}, headers=headers["head"])
    assert refused.status_code == 422
    assert address not in refused.text
