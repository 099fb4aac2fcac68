"""What may be used once is used once, whichever process it is shown to, and in the same instant too (RS-6.2.1; d2, d6).

Two processes on one database stand for two machines behind one address: nothing that one of them remembers alone may count.
"""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import httpx2
import pytest
from joserfc import jwt

from broker import clock
from broker.demo.client import ASSERTION
from tests.factories import identity as make
from tests.integration.console.conftest import Browser
from tests.integration.console.test_acting_for import BACK, App, code_of
from tests.integration.release.conftest import agree
from tests.live import another_process, hospital

ROUNDS = 8
PROCESSES = 2
#: How often each process is shown the same thing at once.
EACH = 2


@pytest.fixture(scope="module")
def house(module_database_url, tmp_path_factory):
    """A hospital with an agreed exchange, and two processes that serve it."""
    folder = tmp_path_factory.mktemp("replays")
    with (
        hospital(module_database_url, folder) as story,
        another_process(story, folder, module_database_url) as one,
        another_process(story, folder, module_database_url) as two,
    ):
        yield story, agree(story), (one, two)


def at_once(bases, ask):
    """``ask(client)`` by every process EACH times, all of them let go in the same instant; the answers."""
    gate = Barrier(PROCESSES * EACH)

    def one(base):
        with httpx2.Client(base_url=base, timeout=120) as http:
            http.get("/livez")  # The connection stands before the gate opens.
            gate.wait(60)
            return ask(http)

    with ThreadPoolExecutor(PROCESSES * EACH) as pool:
        return list(pool.map(one, bases * EACH))


def form(story, agreed):
    """A token request with a fresh assertion."""
    key, endpoint, now = story.cast.keys[agreed.client], f"{story.base_url}/oauth2/token", clock.epoch(clock.now())
    claims = {"iss": agreed.client, "sub": agreed.client, "aud": endpoint, "exp": now + 240, "jti": secrets.token_hex(32)}
    header = {"alg": key.get("alg"), "kid": key.get("kid"), "typ": "JWT"}
    return {
        "grant_type": "client_credentials", "scope": f"system/*.rs application:{agreed.number}", "client_assertion_type": ASSERTION,
        "client_assertion": jwt.encode(header, claims, key, algorithms=["ES384", "RS384"]),
    }  # fmt: skip


def test_an_assertion_gets_one_token(house):
    story, agreed, bases = house
    for _ in range(ROUNDS):
        asked = form(story, agreed)
        answers = at_once(bases, lambda http, asked=asked: http.post("/oauth2/token", data=asked))
        assert sorted(answer.status_code for answer in answers) == [200, *[400] * (PROCESSES * EACH - 1)], [answer.text for answer in answers]
        assert {answer.json()["error"] for answer in answers if answer.status_code == 400} == {"invalid_client"}
        assert httpx2.post(f"{bases[0]}/oauth2/token", data=asked, timeout=120).status_code == 400


def test_a_proof_of_possession_opens_one_door(house):
    story, agreed, bases = house
    key, endpoint = make.private_key("ES256"), f"{story.base_url}/oauth2/token"

    def bound(http, nonce):
        return http.post("/oauth2/token", data=form(story, agreed), headers={"DPoP": make.proof(key, "POST", endpoint, nonce=nonce)})

    with httpx2.Client(base_url=bases[0], timeout=120) as http:
        nonce = bound(http, None).headers["dpop-nonce"]
        token = bound(http, nonce).json()["access_token"]
    # The nonce of one process is good at the other, since it hangs on the keys and the time alone.
    with httpx2.Client(base_url=bases[1], timeout=120) as http:
        assert bound(http, nonce).status_code == 200
    path = "/fhir/Patient/p1001"
    for _ in range(ROUNDS):
        headers = {"Authorization": f"DPoP {token}", "DPoP": make.proof(key, "GET", f"{story.base_url}{path}", nonce=nonce, token=token)}
        answers = at_once(bases, lambda http, headers=headers: http.get(path, headers=headers))
        assert sorted(answer.status_code for answer in answers) == [200, *[401] * (PROCESSES * EACH - 1)], [answer.text for answer in answers]


def test_a_code_for_a_person_gets_one_token(house):
    story, agreed, bases = house
    story.person("administrator").call("PATCH", f"/api/v1/clients/{agreed.client}", body={"redirect_uris": [BACK]})
    with httpx2.Client(base_url=story.base_url, timeout=120) as http:
        nurse = Browser(http, story).sign_in("gao.min")
        for _ in range(2):
            app = App(story)
            code = code_of(nurse, app, agreed.number)
            answers = at_once(bases, lambda http, app=app, code=code: http.post("/oauth2/token", data=app.form(code)))
            assert sorted(answer.status_code for answer in answers) == [200, *[400] * (PROCESSES * EACH - 1)], [answer.text for answer in answers]


def test_a_token_that_one_process_revoked_is_dead_at_the_other(house):
    story, agreed, bases = house
    for one, other in (bases, bases[::-1]):
        asked = form(story, agreed)
        token = httpx2.post(f"{one}/oauth2/token", data=asked, timeout=120).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        assert httpx2.get(f"{other}/fhir/Patient/p1001", headers=headers, timeout=120).status_code == 200
        who = {name: value for name, value in form(story, agreed).items() if name.startswith("client_")}
        assert httpx2.post(f"{one}/oauth2/revoke", data=who | {"token": token}, timeout=120).status_code == 200
        assert httpx2.get(f"{other}/fhir/Patient/p1001", headers=headers, timeout=120).status_code == 401
