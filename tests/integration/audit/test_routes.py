"""The log over HTTP: what an outsider needs to verify it, and entries for auditors alone. (QA-4.4)"""

import threading
import time
from uuid import uuid4

import pytest
import uvicorn
from fastapi import FastAPI, Header, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient

from broker.audit import receipt, service, store
from broker.audit.routes import build_router
from broker.audit.sources import UrlSource
from broker.audit.tiles import split_bundle
from broker.audit.verify import verify
from broker.errors import BrokerError, Forbidden
from tests.factories.audit import event


def require_auditor(authorization: str = Header("")):
    if authorization != "Basic YXVkaXRvcjpwdw==":  # auditor:pw
        raise Forbidden


AUDITOR = {"Authorization": "Basic YXVkaXRvcjpwdw=="}


@pytest.fixture
def app(database):
    app = FastAPI()
    app.state.database = database
    app.include_router(build_router(require_auditor))

    @app.exception_handler(BrokerError)
    def answer(_: Request, error: BrokerError):
        return JSONResponse({"code": error.code}, error.status, error.headers)

    return app


@pytest.fixture
def client(app):
    with TestClient(app) as client:
        yield client


@pytest.fixture
def log(record_many, sequencer):
    ids = record_many(300)
    sequencer.seal_once()
    return ids


def test_checkpoint(client, log, verifier, sequencer, owner):
    answer = client.get("/log/checkpoint")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.text == owner.execute("SELECT note FROM log_checkpoint ORDER BY size DESC LIMIT 1").fetchone()[0]


def test_before_the_first_checkpoint(client):
    assert client.get("/log/checkpoint").status_code == 404
    assert client.get("/log/tile/0/000").status_code == 404


def test_tiles_full_and_partial(client, log, database):
    for path, length in (("0/000", 256), ("0/001.p/44", 44), ("0/001.p/43", 43), ("0/000.p/3", 3), ("1/000.p/1", 1)):
        answer = client.get(f"/log/tile/{path}")
        assert (answer.status_code, len(answer.content)) == (200, 32 * length), path
        assert answer.headers["content-type"] == "application/octet-stream"
        assert "immutable" in answer.headers["cache-control"]
    assert client.get("/log/tile/0/000.p/3").content == client.get("/log/tile/0/000").content[:96]


@pytest.mark.parametrize(
    "path",
    [
        "0/001",
        "0/001.p/45",
        "0/002.p/1",
        "1/000",
        "1/000.p/2",
        "2/000.p/1",
        "0/x000/000",
        "0/0",
        "00/000",
        "99/000",
        "x/000",
        "0/000.p/256",
        "0/000/",
    ],
)
def test_what_is_not_in_the_published_tree_is_not_there(client, log, path):
    assert client.get(f"/log/tile/{path}").status_code == 404


def test_entries_are_for_auditors(client, log):
    path = "/log/tile/entries/001.p/44"
    for wrong in (path, "/log/tile/entries/000", "/log/tile/entries/999", "/log/tile/entries/x"):
        assert client.get(wrong).status_code == 403
    answer = client.get(path, headers=AUDITOR)
    assert answer.headers["cache-control"] == "no-store"
    assert f'"seq":"{log[256]}"'.encode() in split_bundle(answer.content, 44)[0]
    assert client.get("/log/tile/entries/002.p/1", headers=AUDITOR).status_code == 404


def test_no_entry_can_be_read_through_the_tiles(client, log):
    for path in (
        "/log/tile//entries/000",
        "/log/tile/%65ntries/000",
        "/log/tile/./entries/000",
        "/log/tile/0/../entries/000",
        "/log/tile/entries%2F000",
    ):
        answer = client.get(path)
        assert answer.status_code in {403, 404}, path
        assert str(log[0]) not in answer.text


def test_receipts(client, log, verifier, database, sequencer, record):
    answer = client.get(f"/log/proof/{log[7]}")
    assert answer.status_code == 200
    with database.transaction() as session:
        entry = store.entries(store.raw(session), 0, 256)[7]
    assert receipt.check(answer.text, entry, verifier).size == 300
    (fresh,) = record(event())
    waiting = client.get(f"/log/proof/{fresh}")
    assert (waiting.status_code, waiting.json()["code"], waiting.headers["retry-after"]) == (404, "not-sealed-yet", "1")
    assert client.get(f"/log/proof/{uuid4()}").json()["code"] == "not-found"
    assert client.get("/log/proof/x").status_code == 422
    sequencer.seal_once()
    with database.transaction() as session:
        assert service.proof(session, fresh).startswith("c2sp.org/tlog-proof@v1\nindex 300\n")


@pytest.fixture
def address(app):
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/log"
    server.should_exit = True
    thread.join()


def test_an_auditor_verifies_over_the_network(address, log, verifier, record_many, sequencer, owner):
    early = owner.execute("SELECT note FROM log_checkpoint ORDER BY size DESC LIMIT 1").fetchone()[0]
    record_many(300)
    sequencer.seal_once()
    with UrlSource(address, ("auditor", "pw")) as source:
        report = verify(source, verifier, older=[early])
    assert (report.finding, report.size) == (None, 600)
    with UrlSource(address) as source:
        finding = verify(source, verifier).finding
    assert (finding.code, finding.detail) == ("unreadable", "HTTP 403")
    with UrlSource("http://127.0.0.1:9/log") as source:
        assert verify(source, verifier).finding.code == "unreadable"
