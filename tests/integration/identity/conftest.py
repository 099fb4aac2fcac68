"""An app of identity alone, with the edge of the whole, on the test's own database."""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import psycopg
import pytest
import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI
from psycopg import sql
from psycopg.conninfo import make_conninfo
from starlette.testclient import TestClient

from broker import edge
from broker.crypto import Keys, load_keys
from broker.database import Database
from broker.identity.callers import GrantView
from broker.identity.routes import build_router
from broker.settings import Settings
from tests.factories import identity as make

_numbers = itertools.count()
SCOPE = "system/Observation.rs system/Patient.rs application:SA-2026-000001"


@dataclass
class House:
    """The app, what it holds, and a client of its own with a grant."""

    app: FastAPI
    http: TestClient | httpx2.Client
    database: Database
    settings: Settings
    keys: Keys
    grants: make.Grants
    grant: GrantView
    client_id: str
    jwk: dict[str, Any]
    base: str = "http://127.0.0.1:8000"

    @property
    def token_endpoint(self) -> str:
        return f"{self.base}/oauth2/token"

    def form(self, scope: str = SCOPE, **parameters: str) -> dict[str, str]:
        return make.form(self.client_id, self.jwk, self.token_endpoint, scope, **parameters)

    def ask(self, assertion: str, scope: str = SCOPE, path: str = "/oauth2/token", **parameters: str):
        """Send an assertion with a token request."""
        data = {
            "grant_type": "client_credentials",
            "scope": scope,
            "client_assertion_type": make.ASSERTION_TYPE,
            "client_assertion": assertion,
            **parameters,
        }
        return self.http.post(path, data={name: value for name, value in data.items() if value is not None})

    def assertion(self, **overrides: Any) -> str:
        return make.assertion(self.client_id, self.jwk, overrides.pop("aud", self.token_endpoint), **overrides)

    def token(self, scope: str = SCOPE) -> str:
        answer = self.ask(self.assertion(), scope)
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"]

    def events(self, type_: str | None = None) -> list[dict[str, Any]]:
        """Leaves of what was recorded, in order."""
        with self.database.transaction() as session:
            leaves = session.execute(sa.text("SELECT type, leaf FROM audit_event ORDER BY seq")).all()
        return [json.loads(leaf) for name, leaf in leaves if type_ in (None, name)]


@contextmanager
def _over_a_socket(app: FastAPI) -> Iterator[httpx2.Client]:
    """The app served by uvicorn on a free port, and a client of it; its public address stays the one in the settings."""
    listener = uvicorn.Config("unused", host="127.0.0.1", port=0).bind_socket()
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", server_header=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    until = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < until, "the app did not start"
        time.sleep(0.02)
    with httpx2.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=60) as http:
        yield http
    server.should_exit = True
    thread.join(20)


def build(database: Database, keys: Keys, settings: Settings, *, socket: bool = False) -> Iterator[House]:
    app, grants = FastAPI(), make.Grants()
    app.state.database, app.state.settings, app.state.keys = database, settings, keys
    app.include_router(
        build_router(settings=settings, keys=keys, grants=grants, residual=lambda _, *asked: [{"type": "forbid", "asked": list(map(str, asked))}])
    )
    edge.install(app)
    with database.transaction() as session:
        make.organization(session, "shengli", relationship="external", name_zh="示例省立医院")
        client, jwk = make.client_with_key(session, organization_id="shengli", id="shengli-his")
        client_id = client.id
    grant = grants.add(make.grant("shengli"))
    # A lost exception must fail a test as a 500 would, not end it in the client.
    asgi = TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False)
    with _over_a_socket(app) if socket else asgi as http:
        yield House(app, http, database, settings, keys, grants, grant, client_id, jwk)


@pytest.fixture
def house(database: Database, keys: Keys, test_settings: Settings) -> Iterator[House]:
    """A house of this test's own."""
    yield from build(database, keys, test_settings)


@pytest.fixture(scope="module")
def attacked(server: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One house, on a socket, for a whole table of attacks, none of which may leave a trace that helps the next."""
    name = f"broker_attacked_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
    database, settings = Database(make_conninfo(server, dbname=name), pool=2), Settings(var=tmp_path_factory.mktemp("var"))
    yield from build(database, load_keys(settings), settings, socket=True)
    database.dispose()
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
