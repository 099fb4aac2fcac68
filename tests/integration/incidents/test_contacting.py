"""The patient's contact is told of a break-glass, by mail or through the message gateway, with nothing clinical (TM-5.5)."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import SecretStr
from sqlmodel import select

from broker.audit.models import AuditEvent
from broker.identity import service as identity
from broker.incidents import contacting, emergencies
from broker.notifications.errors import NotDelivered
from broker.notifications.models import Notification
from broker.records import service as records
from broker.settings import Settings
from tests.factories import applications as make


@dataclass
class Tools:
    settings: Settings
    keys: Any
    database: Any
    engine: Any = None


def related(number: int, **telecom) -> dict:
    return {
        "resourceType": "RelatedPerson", "id": f"r-{number}", "active": True, "patient": {"reference": "Patient/p-1"}, "name": [{"text": "张明月"}],
        "telecom": [telecom],
    }  # fmt: skip


@pytest.fixture
def opened(own):
    """A break-glass of the first patient, whose relatives have these addresses."""

    def open_(*relatives: dict) -> str:
        entries = [{"resource": one, "request": {"method": "PUT", "url": f"RelatedPerson/{one['id']}"}} for one in relatives]
        if entries:
            bundle = json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}).encode()
            assert not records.ingest_bundle(own.database, own.keys, bundle).refused
        with own.database.transaction() as session:
            caller = identity.caller_for(session, own.people.applicant)
            row = emergencies.break_glass(
                session, own.means, caller, recipient=make.RECIPIENT, patient=make.typed(1), reason="昏迷 CANARY 糖尿病", second_factor=None,
                minutes=60, review_hours=72,
            )  # fmt: skip
            return row.application

    return open_


def run(own, number: str, **settings) -> None:
    contacting.job().handler(Tools(Settings(**settings), own.keys, own.database), {"application": number})


def told(own, number: str) -> list[dict]:
    with own.database.transaction() as session:
        rows = session.exec(select(AuditEvent).where(AuditEvent.type == "emergency.contact-told", AuditEvent.application == number)).all()
        return [json.loads(row.leaf)["facts"] for row in rows]


def test_by_mail_once_and_nothing_clinical(own, opened, mail_server):
    number = opened(related(1, system="email", value="mingyue@example.com"))
    for _ in range(2):
        run(own, number, smtp_host="127.0.0.1", smtp_port=mail_server.port, smtp_security="none")
    ((to, content),) = mail_server.heard
    assert "mingyue@example.com" in to[0]
    assert number.encode() in content
    assert b"CANARY" not in content
    assert told(own, number) == [{"way": "email"}]


def test_by_telephone_through_the_gateway_signed(own, opened, web_server):
    number = opened(related(1, system="phone", value="199-0000-9001"))
    gateway = {
        "message_gateway": f"http://127.0.0.1:{web_server.port}/sms", "message_gateway_secret": SecretStr("s" * 32),
        "webhook_networks": "127.0.0.0/8",
    }  # fmt: skip
    web_server.answers.append(500)
    with pytest.raises(NotDelivered):
        run(own, number, **gateway)  # The worker tries again.
    run(own, number, **gateway)
    (_, headers, raw, said) = web_server.heard[-1]
    assert said["data"]["to"] == "199-0000-9001"
    assert number in said["data"]["zh"]
    assert b"CANARY" not in raw
    assert headers["webhook-signature"].startswith("v1,")
    assert told(own, number) == [{"way": "phone"}]


def test_where_nobody_can_be_reached_people_are_told_to_do_it_and_no_address_is_kept(own, opened):
    number = opened(related(1, system="phone", value="199-0000-9001"))
    for _ in range(2):
        run(own, number)
    with own.database.transaction() as session:
        kinds = session.exec(select(Notification).where(Notification.kind == "emergency.contact-by-hand")).all()
        assert {row.facts["application"] for row in kinds} == {number}
        assert len(kinds) == len({row.recipient for row in kinds}) >= 1
        assert told(own, number) == []
        for table in ("notification", "notification_delivery", "notification_channel", "emergency_access", "procrastinate_jobs", "audit_event"):
            text = session.connection().exec_driver_sql(f"SELECT coalesce(string_agg(t::text, ''), '') FROM {table} t").scalar_one()
            assert "199-0000-9001" not in text, table
