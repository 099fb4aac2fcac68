"""The hospital's own login with a real provider, Keycloak: in, out, roles by claims, keys that change, signed out there and here."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import httpx2
import pytest

from broker.identity import service as identity
from broker.identity import sso
from tests.live import hospital

#: A provider that starts for minutes on a machine that does much else.
pytestmark = [pytest.mark.keycloak, pytest.mark.timeout(900)]

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "keycloak"
#: It starts slowly where much else runs.
PATIENCE = 600
SECRET = "a-secret-of-the-test-alone"
PASSWORD = "four grey herons wade"


def realm(base_url: str) -> dict:
    """What Keycloak is told: people with roles, and the broker as its client."""
    people = {"gao.min": ["broker-applicant"], "cao.yan": ["broker-auditor"], "lu.xin": [], "stranger": []}
    roles = {"protocol": "openid-connect", "protocolMapper": "oidc-usermodel-realm-role-mapper", "name": "roles",
             "config": {"id.token.claim": "true", "claim.name": "realm_access.roles", "multivalued": "true", "jsonType.label": "String"}}  # fmt: skip
    client = {
        "clientId": "broker", "secret": SECRET, "redirectUris": [f"{base_url}/console/sso/callback"], "standardFlowEnabled": True,
        "directAccessGrantsEnabled": False, "publicClient": False, "protocolMappers": [roles],
        "attributes": {"pkce.code.challenge.method": "S256", "backchannel.logout.url": f"{base_url}/oauth2/backchannel-logout",
                       "backchannel.logout.session.required": "true"},
    }  # fmt: skip
    return {
        "realm": "hospital", "enabled": True, "sslRequired": "none", "clients": [client],
        "roles": {"realm": [{"name": name} for name in ("broker-applicant", "broker-auditor")]},
        "users": [
            {"username": name, "enabled": True, "email": f"{name}@hospital.example", "emailVerified": True, "firstName": "A", "lastName": "B",
             "credentials": [{"type": "password", "value": PASSWORD}], "realmRoles": held}
            for name, held in people.items()
        ],
    }  # fmt: skip


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    homes = sorted(CACHE.glob("keycloak-*/bin/kc.sh"))
    if not homes or shutil.which("java") is None:
        pytest.skip("needs keycloak: install Java 17 and Maven, then `make keycloak`")
    return homes[-1].parents[1], free_port()


@pytest.fixture(scope="module")
def story(issuer, module_database_url, tmp_path_factory):
    """The broker beside a Keycloak of its own."""
    home, port = issuer
    folder = tmp_path_factory.mktemp("keycloak")
    mapping = folder / "roles.json"
    held = {"broker-applicant": ("applicant", "shengli-cardiology"), "broker-auditor": ("auditor", "renhe")}
    values = {name: [{"role": role, "organization": where}] for name, (role, where) in held.items()}
    mapping.write_text(json.dumps({"claim": "realm_access.roles", "values": values}))
    settings = {
        "sso_issuer": f"http://127.0.0.1:{port}/realms/hospital",
        "sso_client_id": "broker",
        "sso_client_secret": SECRET,
        "sso_roles": mapping,
    }
    with hospital(module_database_url, tmp_path_factory.mktemp("var"), **settings) as running:
        own = folder / "home"
        shutil.copytree(home, own)
        (own / "data" / "import").mkdir(parents=True)
        (own / "data" / "import" / "hospital.json").write_text(json.dumps(realm(running.base_url)))
        environment = os.environ | {
            "KC_BOOTSTRAP_ADMIN_USERNAME": "admin", "KC_BOOTSTRAP_ADMIN_PASSWORD": PASSWORD, "JAVA_OPTS_KC_HEAP": "-Xmx512m",
            "JAVA_OPTS_APPEND": "-XX:TieredStopAtLevel=1",
        }  # fmt: skip
        plain = ("--cache=local", "--http-enabled=true", "--hostname-strict=false", "--http-host=127.0.0.1", f"--http-port={port}")
        command = [own / "bin" / "kc.sh", "start", "--optimized", *plain, "--import-realm"]
        log = folder / "keycloak.log"
        with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out, env=environment) as process:
            try:
                wait(f"http://127.0.0.1:{port}/realms/hospital/.well-known/openid-configuration", process, log)
                running.keycloak, running.browsers = f"http://127.0.0.1:{port}", []
                yield running
                for browser in running.browsers:
                    browser.close()
            finally:
                process.terminate()
                process.wait(60)


def wait(url, process, log):
    until = time.monotonic() + PATIENCE
    while True:
        try:
            if httpx2.get(url, timeout=10).status_code == 200:
                return
        except httpx2.HTTPError:
            pass
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < until, log.read_text()[-3000:]
        time.sleep(1)


def ruling(story):
    """Authorization of Keycloak's administrator; its tokens live a minute."""
    asked = {"grant_type": "password", "client_id": "admin-cli", "username": "admin", "password": PASSWORD}
    token = httpx2.post(f"{story.keycloak}/realms/master/protocol/openid-connect/token", data=asked, timeout=60).json()["access_token"]
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def subjects(story):
    """What Keycloak calls its people; all but the stranger are linked to accounts."""
    users = httpx2.get(f"{story.keycloak}/admin/realms/hospital/users", headers=ruling(story), timeout=60).json()
    found = {one["username"]: one["id"] for one in users}
    with story.installation.database.transaction() as session:
        people = {row.username: row.id for row in identity.people(session)}
        administrator = identity.caller_for(session, people["peng.bo"])
        for name in ("gao.min", "cao.yan", "lu.xin"):
            identity.link(session, administrator, people[name], story.installation.settings.sso_issuer, found[name])
    return found


def sign_in(story, name):
    """A browser that signs in at Keycloak's own page; it and the broker's last answer."""
    browser = httpx2.Client(base_url=story.base_url, timeout=120, headers={"Accept-Language": "en"})
    story.browsers.append(browser)
    away = browser.get("/console/sso?next=/console/inbox")
    assert away.status_code == 303, away.text[:500]
    page = browser.get(away.headers["location"])
    assert page.status_code == 200, page.text[:500]
    action = html.unescape(re.search(r'action="([^"]+)"', page.text)[1])
    # Keycloak's cookies want encryption; a browser keeps them for this very machine without it, as its user would.
    theirs = "; ".join(one.partition(";")[0] for one in page.headers.get_list("set-cookie"))
    back = httpx2.post(action, data={"username": name, "password": PASSWORD}, headers={"Cookie": theirs}, timeout=120)
    assert back.status_code == 302, back.text[:500]
    return browser, browser.get(back.headers["location"])


def roles_of(story, name):
    with story.installation.database.transaction() as session:
        (person,) = [row.id for row in identity.people(session) if row.username == name]
        return {(role.value, where) for role, where in identity.offices(session, person)}


def test_who_is_linked_gets_in_with_the_roles_of_the_hospital(story, subjects):
    browser, answer = sign_in(story, "gao.min")
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/inbox")
    assert browser.get("/console/inbox").status_code == 200
    assert roles_of(story, "gao.min") == {("applicant", "shengli-cardiology")}
    sign_in(story, "cao.yan")
    assert roles_of(story, "cao.yan") == {("auditor", "renhe")}


def test_an_account_at_the_hospital_is_no_account_here(story, subjects):
    browser, answer = sign_in(story, "stranger")
    assert answer.status_code == 403
    assert "no account here is linked" in answer.text
    assert browser.get("/console/inbox").status_code == 303


def test_signed_out_there_is_signed_out_here(story, subjects):
    # One session alone: of several that it ends at once, Keycloak tells of one.
    browser, _ = sign_in(story, "lu.xin")
    assert browser.get("/console/inbox").status_code == 200
    path = f"{story.keycloak}/admin/realms/hospital/users/{subjects['lu.xin']}/logout"
    assert httpx2.post(path, headers=ruling(story), timeout=60).status_code == 204
    until = time.monotonic() + 60
    while browser.get("/console/inbox").status_code == 200:
        assert time.monotonic() < until, "Keycloak did not tell, or the broker did not listen"
        time.sleep(0.2)


def test_keys_that_change_lock_nobody_out(story, subjects, monkeypatch):
    monkeypatch.setattr(sso, "KEY_PAUSE", 0.0)
    admin = f"{story.keycloak}/admin/realms/hospital"
    realm_id = httpx2.get(admin, headers=ruling(story), timeout=60).json()["id"]
    new = {"name": "next", "providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider", "parentId": realm_id,
           "config": {"priority": ["500"], "enabled": ["true"], "active": ["true"], "algorithm": ["RS256"]}}  # fmt: skip
    assert httpx2.post(f"{admin}/components", headers=ruling(story), json=new, timeout=60).status_code == 201
    assert sign_in(story, "gao.min")[1].status_code == 303
