"""The gate, seen from sockets: a recipient who stalls is cut off, and after a withdrawal is acknowledged not a byte leaves (E01, E02)."""

from __future__ import annotations

import json
import secrets
import select
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from joserfc import jwt

from broker.demo.client import expect
from broker.demo.consents import revocation
from tests.integration.release.conftest import GATE_TIMEOUT, agree
from tests.wire import answer_on, dial, length_of, wire

PATH = "/fhir/Patient/p1001/$everything"
#: What the two ends' buffers can hold together; the answer to PATH is several times as long.
BUFFERED = 48_000


@pytest.fixture(scope="module")
def earlier() -> list[str]:
    """Consents that tests before this one have filed."""
    return []


@pytest.fixture
def its(story, earlier):
    """An exchange whose consent is the only one in force."""
    agreed = agree(story)
    while earlier:
        story.person("deng.li").call("POST", "/fhir/Consent/$revokeConsent", body=revocation(earlier.pop(), agreed.patient))
    earlier.append(agreed.consent)
    return agreed


def started(its):
    """A recipient with a small window who asks, reads the head of the answer, and then nothing."""
    line = dial(its.story, receive_buffer=2048)
    line.sendall(wire("GET", PATH, ("Authorization", f"Bearer {its.token}")))
    head = b""
    while b"\r\n\r\n" not in head:
        head += line.recv(256)
    head, _, body = head.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    return line, length_of(head), body


def rest(line: socket.socket) -> bytes:
    """Everything that still comes, until the connection ends."""
    found = b""
    with suppress(ConnectionError):
        while data := line.recv(65_536):
            found += data
    return found


def outcomes(its) -> list[str]:
    return [entry["type"] for entry in its.events()]


def test_a_recipient_who_stalls_is_cut_off_and_gets_no_more(its):
    line, length, body = started(its)
    assert length > 2 * BUFFERED
    begun = time.monotonic()
    assert outcomes(its) == ["release.permitted", "release.partial"]
    assert GATE_TIMEOUT / 2 < time.monotonic() - begun < GATE_TIMEOUT + 3
    its.decide("revoke")
    # What the operating system had taken may still arrive; what the broker had not handed over is gone.
    assert len(body) + len(rest(line)) < BUFFERED
    line.close()
    assert its.everything().status_code in (401, 403)


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_recipient_who_hangs_up_has_not_got_it_all(its, how):
    line, _, _ = started(its)
    if how == "reset":
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line.close()
    assert outcomes(its) == ["release.permitted", "release.partial"]


def test_a_slow_recipient_who_takes_it_all_gets_it_all(its):
    line, length, body = started(its)
    while len(body) < length:
        body += line.recv(8192)
        time.sleep(0.005)
    line.close()
    assert json.loads(body)["resourceType"] == "Bundle"
    assert outcomes(its) == ["release.permitted", "release.sent"]


def withdrawals(its):
    """Every way in which data can be taken back: the call that does it, as bytes."""
    story = its.story

    def as_bytes(who: str, method: str, path: str, body: dict) -> bytes:
        opened = story.http.post("/api/v1/session", json={"username": who, "password": story.cast.passwords[who]}).json()["token"]
        headers = (("Authorization", f"Bearer {opened}"), ("Content-Type", "application/json"))
        return wire(method, path, *headers, body=json.dumps(body).encode())

    application = f"/api/v1/applications/{its.number}"
    return {
        "grant revoked": lambda: as_bytes("deng.li", "POST", f"{application}/revoke", {"reason": "a test"}),
        "grant suspended": lambda: as_bytes("deng.li", "POST", f"{application}/suspend", {"reason": "a test"}),
        "consent withdrawn": lambda: as_bytes("deng.li", "POST", "/fhir/Consent/$revokeConsent", revocation(its.consent, its.patient)),
        "client suspended": lambda: as_bytes("peng.bo", "PATCH", f"/api/v1/clients/{its.client}", {"status": "suspended"}),
        "organisation suspended": lambda: as_bytes("peng.bo", "PATCH", "/api/v1/organizations/shengli", {"status": "suspended"}),
    }


KINDS = ("grant revoked", "grant suspended", "consent withdrawn", "client suspended", "organisation suspended")


@pytest.fixture
def restored(story):
    """Whoever was suspended is active again."""
    yield
    admin = story.person("peng.bo")
    admin.call("PATCH", "/api/v1/clients/shengli-his", body={"status": "active"})
    admin.call("PATCH", "/api/v1/organizations/shengli", body={"status": "active"})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reads_on", [True, False], ids=["reads on", "stalls"])
def test_a_withdrawal_waits_for_the_release_under_way(its, restored, kind, reads_on):
    call = withdrawals(its)[kind]()
    line, length, body = started(its)
    with ThreadPoolExecutor(1) as pool, dial(its.story) as other:
        other.sendall(call)
        acknowledged = pool.submit(answer_on, other)
        time.sleep(GATE_TIMEOUT / 3)
        assert not acknowledged.done()
        if reads_on:
            while len(body) < length:
                body += line.recv(65_536)
        assert acknowledged.result(10).status == 200
    # Everything that was ever to leave is with the operating system by now: the broker holds nothing of it.
    body += b"" if reads_on else rest(line)
    line.close()
    assert len(body) == length if reads_on else len(body) < BUFFERED
    assert outcomes(its)[:2] == ["release.permitted", "release.sent" if reads_on else "release.partial"]
    assert its.everything().status_code in (401, 403)


class Releaser:
    """Somebody who asks again and again, each time on a line of its own, and notes when the first byte of each answer is there."""

    def __init__(self, its) -> None:
        self.its = its
        self.good = 0
        self.ask()

    def ask(self) -> None:
        self.line = dial(self.its.story, receive_buffer=8192)
        self.line.sendall(wire("GET", PATH, ("Authorization", f"Bearer {self.its.token}"), ("Connection", "close")))
        self.status = 0

    def read(self, *, acknowledged: bool) -> None:
        """Take what is there. An answer of 200 must have begun before the acknowledgement."""
        data = self.line.recv(65_536)
        if self.status == 0 and data:
            self.status = int(data[9:12])
            assert self.status in (200, 401, 403)
            assert self.status != 200 or not acknowledged, "an answer began after the withdrawal was acknowledged"
        if not data:
            self.good += self.status == 200
            self.line.close()
            self.ask()


@pytest.mark.parametrize("kind", KINDS)
def test_twenty_at_once_and_none_begins_after_the_acknowledgement(its, restored, kind):
    """One thread looks at all sockets, so that what is seen after the acknowledgement came after it, whatever the scheduler does."""
    call = withdrawals(its)[kind]()
    releasers = [Releaser(its) for _ in range(20)]
    withdrawal, acknowledged, refused = None, False, 0
    began, until = time.monotonic(), time.monotonic() + 30
    while refused < 40 and time.monotonic() < until:
        if withdrawal is None and time.monotonic() - began > 0.4 and sum(one.good for one in releasers) >= 20:
            withdrawal = dial(its.story)
            withdrawal.sendall(call)
        lines = {one.line: one for one in releasers}
        ready, _, _ = select.select([*lines, *([withdrawal] if withdrawal is not None and not acknowledged else [])], [], [], 5)
        told = withdrawal is not None and withdrawal in ready
        if told:
            assert answer_on(withdrawal).status == 200
            ready, _, _ = select.select(list(lines), [], [], 0)  # Whatever began before is here by now.
        for line in ready:
            one = lines[line]
            one.read(acknowledged=acknowledged)
            refused += acknowledged and one.status in (401, 403)
        acknowledged = acknowledged or told
    assert acknowledged
    assert refused >= 40
    assert sum(one.good for one in releasers) >= 20
    for one in releasers:
        one.line.close()
    withdrawal.close()
    events = its.events()
    last = max(place for place, entry in enumerate(events) if entry["type"] == "release.permitted")
    assert {entry["type"] for entry in events[last + 1 :]} <= {"release.sent", "release.partial", "release.refused"}


def test_a_token_that_was_given_back_waits_and_wins_too(its):
    story = its.story
    line, length, body = started(its)
    form = {"token": its.token}
    with ThreadPoolExecutor(1) as pool:
        given_back = pool.submit(lambda: expect(revoked(story, its, form), 200))
        time.sleep(GATE_TIMEOUT / 3)
        assert not given_back.done()
        while len(body) < length:
            body += line.recv(65_536)
        given_back.result(10)
    line.close()
    assert its.everything().status_code == 401


def revoked(story, its, form):
    """The client's own call to /oauth2/revoke."""
    system = story.system(its.client)
    now = int(time.time())
    claims = {"iss": its.client, "sub": its.client, "aud": f"{story.base_url}/oauth2/token", "exp": now + 240, "jti": secrets.token_hex(16)}
    header = {"alg": system.key.get("alg"), "kid": system.key.get("kid"), "typ": "JWT"}
    proof = {
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": jwt.encode(header, claims, system.key, algorithms=["ES384"]),
    }
    return story.http.post("/oauth2/revoke", data={**form, **proof})
