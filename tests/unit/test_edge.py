"""What nobody else caught: answered without its message, which may hold data, and never written to the server's log (D20)."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback

import pytest

from broker.edge import BrokenOff, Edge

CANARY = "CANARY-9e20"


def run(app, *, headers=(), body=(b"",), limit=1000, path="/api/v1/x"):
    """Send one request through the edge; what was sent back, or what was raised."""
    sent, parts = [], [{"type": "http.request", "body": part, "more_body": True} for part in body]

    async def receive():
        return parts.pop(0) if parts else {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": list(headers)}
    asyncio.run(Edge(app, limit)(scope, receive, send))
    return sent


async def fails(scope, receive, send):
    raise KeyError(CANARY)


FORMS = [("/api/v1/x", "application/problem+json"), ("/fhir/x", "application/fhir+json"), ("/oauth2/x", "application/json")]


@pytest.mark.parametrize(("path", "kind"), FORMS)
def test_a_mistake_before_the_answer_is_a_500_without_its_message(path, kind, caplog):
    with caplog.at_level(logging.DEBUG):
        start, body = run(fails, path=path)
    headers = dict(start["headers"])
    assert start["status"] == 500
    assert headers[b"content-type"] == kind.encode()
    assert headers[b"cache-control"] == b"no-store"
    assert CANARY not in body["body"].decode() + caplog.text
    assert headers[b"x-request-id"].decode() in caplog.text
    assert json.loads(body["body"])


def test_a_mistake_in_the_middle_breaks_the_answer_off():
    async def half(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise KeyError(CANARY)

    with pytest.raises(BrokenOff) as raised:
        run(half)
    assert CANARY not in "".join(traceback.format_exception(raised.value))


async def reads(scope, receive, send):
    while (await receive())["more_body"]:
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def test_a_body_that_is_announced_too_large_never_reaches_the_app():
    start, _ = run(fails, headers=[(b"content-length", b"1001")])
    assert start["status"] == 413


def test_a_body_of_the_allowed_size_does():
    start, _ = run(reads, headers=[(b"content-length", b"1000")], body=[b"x" * 500, b"x" * 500])
    assert start["status"] == 200


def test_whoever_sends_too_much_while_the_answer_is_under_way_counts_as_gone():
    heard = []

    async def sends(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        heard.extend([(await receive())["type"] for _ in range(3)])

    run(sends, body=[b"x" * 600, b"x" * 600, b"x"])
    assert heard == ["http.request", "http.disconnect", "http.disconnect"]
