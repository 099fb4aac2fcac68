"""Every route of the app has its place in this table; a new one fails here until somebody says who may call it (A29, C20).

``gate``: answers with a GatedAnswer, the one way out for a patient's data. ``client``: a client's own token. Others are
``public``, or ask for a person who is signed in (``person``) or whose role permits the action named.
"""

from __future__ import annotations

import re

import pytest

from broker.fhir import definitions
from broker.release.routes import GatedAnswer

PUBLIC = {
    "GET /openapi.json", "GET /livez", "GET /readyz", "GET /fhir/metadata", "GET /fhir/.well-known/smart-configuration",
    "GET /.well-known/oauth-authorization-server", "GET /oauth2/jwks", "GET /log/checkpoint", "GET /log/tile/{level}/{path}",
    "GET /log/proof/{event_id}", "GET /opa/bundles/broker.tar.gz",
}  # fmt: skip
#: Their own authentication is in the request: a signed assertion, or a password.
AUTHENTICATES = {"POST /oauth2/token", "POST /oauth2/introspect", "POST /oauth2/revoke", "POST /api/v1/session"}
GATE = {
    "GET /fhir/Patient/{patient}/$everything", "GET /fhir/{resource_type}", "POST /fhir/{resource_type}/_search",
    "GET /fhir/{resource_type}/{resource_id}", "POST /releases",
}  # fmt: skip
CLIENT = {"GET /releases/{release_id}", "GET /releases/{release_id}/receipt"}
PERSON = re.compile(r"(GET|POST|PUT|PATCH|DELETE) (/api/v1/.*|/fhir/Consent.*|/log/tile/entries/\{path\})")


def routes(app) -> set[str]:
    found = set()
    for path, operations in app.openapi()["paths"].items():
        found |= {f"{method.upper()} {path}" for method in operations}
    return found | {"GET /openapi.json"}


@pytest.fixture
def app(story):
    from broker.app import create_app

    return create_app(story.installation, sequencer=False)


def test_every_route_has_its_place(app):
    placed = PUBLIC | AUTHENTICATES | GATE | CLIENT
    unplaced = {route for route in routes(app) - placed if not PERSON.fullmatch(route)}
    assert unplaced == set()
    assert placed - routes(app) <= {"GET /log/proof/{event_id}"}


def test_what_is_not_public_asks_who_calls(story, app):
    for route in sorted(routes(app) - PUBLIC - AUTHENTICATES):
        method, path = route.split(" ")
        address = re.sub(r"\{resource_type\}", "Observation", path)
        address = re.sub(r"\{[a-z_]+\}", "1", address)
        query = "?patient=p1001" if route == "GET /fhir/{resource_type}" else ""
        body = {"application": "SA-2026-000001", "patient": "p1001"} if route == "POST /releases" else {}
        form = "_search" in path
        given = {"data": {"patient": "p1001"}} if form else {"json": body} if method in ("POST", "PUT", "PATCH") else {}
        answer = story.http.request(method, address + query, **given)
        assert answer.status_code == 401, (route, answer.status_code, answer.text[:200])


def test_the_gate_is_the_only_way_out(app):
    """The routes of the release slice that send resources build nothing but a GatedAnswer."""
    import inspect

    from broker.release import routes as module

    source = inspect.getsource(module)
    assert source.count("GatedAnswer(") == 2  # the class, and the one place that makes it
    assert issubclass(GatedAnswer, object)


@pytest.mark.parametrize("kind", sorted(definitions.resource_types()))
def test_each_type_passes_the_gate(story, kind):
    """Without a token no type answers with anything but a refusal, whichever way it is asked for."""
    for address in (f"/fhir/{kind}?patient=p1001", f"/fhir/{kind}/1", f"/fhir/Patient/p1001/$everything?_type={kind}"):
        assert story.http.get(address).status_code in (400, 401, 404), address
