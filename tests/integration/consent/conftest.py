import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from broker import edge
from broker.consent.routes import build_router
from broker.consent.wording import Wording
from broker.identity.access import Action, require
from broker.identity.roles import Role
from tests.factories import consent as factory
from tests.factories import identity

FHIR = "application/fhir+json"


@pytest.fixture
def house(database, keys):
    """Organisations, and the patients p1 and p2; their blinded keys."""
    with database.transaction() as session:
        factory.house(session)
        return {name: factory.patient(session, keys, name) for name in ("p1", "p2")}


@pytest.fixture
def settings(test_settings):
    """What a file of tests may change of the settings."""
    return test_settings


@pytest.fixture
def client(database, keys, settings, house):
    app = FastAPI()
    app.state.settings, app.state.keys, app.state.database = settings, keys, database
    edge.install(app)
    app.include_router(build_router(may_file=require(Action.CONSENT_WRITE), may_read=require(Action.CONSENT_READ), wording=Wording({}, {}, {})))
    with database.transaction() as session:
        manager = identity.signed_in(session, identity.person(session, Role.INFORMATION_MANAGER))
        auditor = identity.signed_in(session, identity.person(session, Role.AUDITOR))
    with TestClient(app, headers={"Content-Type": FHIR, "Accept-Language": "en", **manager}, raise_server_exceptions=False) as client:
        client.auditor = auditor
        yield client
