"""Every route of the app has its place in this table; a new one fails here until somebody says who may call it (A29, C20, E09).

``gate``: answers with a GatedAnswer, the one way out for a patient's data. ``client``: a client's own token. ``public``, or
``proof`` where the request itself holds a password or a signed assertion. ``person``: who is signed in, whose own rights the verb
then asks for; ``person:<action>``: whose role permits the action. ``arrival``: who has a session and may still lack a second factor or a
password of their own; these routes alone mend that, and each asks by itself for what it needs. ``page``, ``page:<action>`` and
``page-arrival``: the same at the console, by the cookie of a session; ``patient`` the same for a patient with a code from the desk;
``page-form``, ``page-arrival-form``, ``patient-form``: also with the token of that session's forms, as every form has that changes something.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from broker.app import create_app
from broker.console import door, patient
from broker.fhir import definitions
from broker.identity import access
from broker.identity.access import Action
from broker.identity.roles import PERMISSIONS, Role
from broker.release import routes as release_routes
from broker.release.service import NEVER_RELEASED
from tests.attacks.asking import JSON, Caller, caller, check_form

REGISTERS = [
    (name, one)
    for name, id_ in (("organizations", "organization_id"), ("people", "person_id"), ("clients", "client_id"))
    for one in ("", f"/{{{id_}}}")
]
TABLE = {
    "GET /openapi.json": "public",
    "GET /livez": "public",
    "GET /readyz": "public",
    "GET /fhir/metadata": "public",
    "GET /fhir/.well-known/smart-configuration": "public",
    "GET /.well-known/oauth-authorization-server": "public",
    "GET /oauth2/jwks": "public",
    "GET /oauth2/authorize": "public",
    "GET /console/authorize": "page:application.write",
    "POST /console/authorize": "page-form:application.write",
    "GET /log/checkpoint": "public",
    "GET /log/checkpoint/witnessed": "public",
    "GET /log/keys": "public",
    "GET /log/tile/{level}/{path:path}": "public",
    "GET /log/proof/{event_id}": "public",
    "GET /opa/bundles/broker.tar.gz": "public",
    "GET /api/v1/policies": "person:policy.read",
    "POST /api/v1/policies": "person:policy.write",
    "GET /api/v1/policies/files": "person:policy.read",
    "GET /api/v1/policies/opa": "person:policy.read",
    "GET /api/v1/policies/proposals": "person:policy.read",
    "GET /api/v1/policies/{revision}": "person:policy.read",
    "POST /api/v1/policies/{revision}/test": "person:policy.write",
    "POST /api/v1/policies/{revision}/replay": "person:policy.write",
    "POST /api/v1/policies/{revision}/approve": "person:policy.write",
    "POST /api/v1/policies/{revision}/bring-back": "person:policy.write",
    "POST /api/v1/policies/{revision}/withdraw": "person:policy.write",
    "POST /opa/logs": "proof",
    "POST /opa/status": "proof",
    "GET /metrics": "proof",
    "POST /oauth2/token": "proof",
    "POST /oauth2/introspect": "proof",
    "POST /oauth2/revoke": "proof",
    "POST /oauth2/backchannel-logout": "proof",
    "POST /api/v1/session": "proof",
    "POST /api/v1/session/second-factor": "arrival",
    "POST /api/v1/password-link": "proof",
    "DELETE /api/v1/session": "arrival",
    **{f"{method} /api/v1/me/sessions": "person" for method in ("GET", "DELETE")},
    "DELETE /api/v1/me/sessions/{session_id}": "person",
    "GET /api/v1/me/factors": "person",
    **{f"POST /api/v1/me/factors{one}": "arrival" for one in ("", "/{factor_id}/confirm")},
    "DELETE /api/v1/me/factors/{factor_id}": "person",
    "POST /api/v1/me/recovery-codes": "person",
    "GET /api/v1/people/{person_id}/sessions": "person:registry.read",
    "DELETE /api/v1/people/{person_id}/sessions": "person:person.write",
    "POST /api/v1/people/{person_id}/password-link": "person:person.write",
    **{f"{method} /api/v1/people/{{person_id}}/factor-reset": "person" for method in ("POST", "DELETE")},
    "GET /api/v1/me": "person",
    "GET /api/v1/organizations": "person",
    "GET /api/v1/organizations/{organization_id}": "person",
    "POST /api/v1/organizations": "person:organization.write",
    "PATCH /api/v1/organizations/{organization_id}": "person:organization.write",
    "GET /api/v1/people": "person:registry.read",
    "GET /api/v1/people/{person_id}": "person:registry.read",
    "POST /api/v1/people": "person:person.write",
    "PATCH /api/v1/people/{person_id}": "person:person.write",
    "PUT /api/v1/people/{person_id}/roles": "person:person.write",
    "PUT /api/v1/people/{person_id}/password": "arrival",
    "GET /api/v1/clients": "person:registry.read",
    "GET /api/v1/clients/{client_id}": "person:registry.read",
    "POST /api/v1/clients": "person:client.write",
    "PATCH /api/v1/clients/{client_id}": "person:client.write",
    "PUT /api/v1/clients/{client_id}/keys": "person:client.write",
    "POST /api/v1/applications": "person",
    "GET /api/v1/applications": "person",
    "GET /api/v1/applications/{ref}": "person",
    "PUT /api/v1/applications/{ref}": "person",
    "PATCH /api/v1/applications/{ref}": "person",
    **{
        f"POST /api/v1/applications/{{ref}}/{verb}": "person"
        for verb in (
            "submit",
            "approve",
            "narrow",
            "endorse",
            "return",
            "refuse",
            "withdraw",
            "suspend",
            "resume",
            "revoke",
            "close",
            "assessment",
            "agree",
            "legality",
            "necessity",
            "concur",
            "recuse",
            "renew",
            "amend",
            "attachments",
        )
    },
    "GET /api/v1/applications/{ref}/attachments/{attachment}": "person",
    "DELETE /api/v1/applications/{ref}/attachments/{attachment}": "person",
    "GET /api/v1/applications/{ref}/differences": "person",
    "POST /api/v1/application-actions": "person",
    "GET /api/v1/delegations": "person",
    "POST /api/v1/delegations": "person",
    "DELETE /api/v1/delegations/{delegation}": "person",
    "GET /api/v1/data-owners": "person",
    "PUT /api/v1/data-owners": "person:organization.write",
    "GET /api/v1/networks": "person",
    "PUT /api/v1/networks/{network}": "person:organization.write",
    "GET /api/v1/agreements": "person",
    "GET /api/v1/agreements/{agreement}": "person",
    "POST /api/v1/agreements/{agreement}": "person:organization.write",
    "POST /api/v1/agreements/{agreement}/{version}/acceptance": "person",
    "GET /api/v1/applications/{ref}/assessment": "person",
    "GET /api/v1/applications/{ref}/preview": "person",
    "GET /api/v1/applications/{ref}/exchange": "person",
    "POST /api/v1/applications/{ref}/feedback": "person",
    "GET /api/v1/applications/{ref}/feedback": "person",
    "GET /api/v1/notifications": "person",
    "POST /api/v1/notifications/read": "person",
    "POST /api/v1/notifications/{notification}/read": "person",
    "GET /api/v1/me/channels": "person",
    "POST /api/v1/me/channels": "person",
    "DELETE /api/v1/me/channels/{channel}": "person",
    **{
        f"{method} /api/v1/{whose}/channels{one}": f"person:{action}"
        for whose, action in (("organizations/{organization_id}", "organization.write"), ("clients/{client_id}", "client.write"))
        for method, one in (("GET", ""), ("POST", ""), ("DELETE", "/{channel}"))
    },
    **{
        route.format(register): f"person:workforce.{right}"
        for register in ("qualifications", "training")
        for route, right in (
            ("GET /api/v1/{}", "read"),
            ("POST /api/v1/{}", "write"),
            ("PATCH /api/v1/{}/{{credential}}", "write"),
            ("POST /api/v1/{}/import", "write"),
        )
    },
    "GET /api/v1/me/credentials": "person",
    "GET /api/v1/transfer-routes": "person:registry.read",
    **{f"POST /api/v1/transfer-routes{verb}": "person:organization.write" for verb in ("", "/{route}/confirm", "/{route}/end")},
    "GET /api/v1/workforce/demands": "person",
    "PUT /api/v1/workforce/demands/{step}": "person:workforce.write",
    **{f"{method} /api/v1/incidents": "person" for method in ("GET", "POST")},
    "POST /api/v1/incidents/signed": "proof",
    "GET /api/v1/retention/schedule": "person",
    **{f"{method} /api/v1/retention/holds": "person:destruction.order" for method in ("GET", "POST")},
    "POST /api/v1/retention/holds/{hold_id}/release": "person:destruction.order",
    "GET /api/v1/destruction-orders": "person",
    "POST /api/v1/destruction-orders": "person:destruction.order",
    **{f"POST /api/v1/destruction-orders/{{number}}/{verb}": "person:destruction.order" for verb in ("approve", "cancel")},
    "GET /api/v1/destruction-orders/{number}/certificate": "person",
    "GET /api/v1/destruction-orders/{number}/certificate.pdf": "person",
    "GET /api/v1/obligations": "person",
    "POST /api/v1/obligations/answers": "person",
    "POST /api/v1/obligations/answers/signed": "proof",
    **{f"POST /api/v1/obligations/{{obligation_id}}/{verb}": "person" for verb in ("waive", "reject")},
    "GET /api/v1/recalls": "person",
    "GET /api/v1/recalls/{number}/releases": "person",
    "POST /api/v1/recalls/{number}/acknowledge": "person",
    "POST /api/v1/recalls/signed": "proof",
    "GET /api/v1/patients/{patient}/recalls": "person:consent.read",
    **{f"{method} /api/v1/consultations": "person" for method in ("GET", "POST")},
    "GET /api/v1/consultations/{number}": "person",
    "GET /api/v1/consultations/{number}/fhir": "person",
    **{
        f"POST /api/v1/consultations/{{number}}/{verb}": "person"
        for verb in ("confirm", "identify", "open", "records", "close", "follow-up", "cancel")
    },
    "GET /api/v1/incidents/{number}": "person",
    **{
        f"POST /api/v1/incidents/{{number}}/{verb}": "person"
        for verb in ("assess", "investigate", "dismiss", "reopen", "close", "ask-to-lift", "lift", "notices/{notice_id}")
    },
    "GET /api/v1/incidents/{number}/notices/draft": "person",
    "POST /api/v1/containments": "person",
    **{f"{method} /api/v1/emergencies": "person" for method in ("GET", "POST")},
    **{f"POST /api/v1/emergencies/{{application}}/{verb}": "person" for verb in ("contact-told", "review")},
    **{f"{method} /api/v1/violations": "person" for method in ("GET", "POST")},
    "GET /api/v1/violations/{number}": "person",
    **{f"POST /api/v1/violations/{{number}}/{verb}": "person" for verb in ("hear", "propose", "decide", "appeal", "decide-appeal", "end", "dismiss")},
    **{f"{method} /api/v1/adverse-events": "person" for method in ("GET", "POST")},
    "POST /api/v1/adverse-events/{event_id}/analysis": "person",
    **{f"{method} /api/v1/risks": "person" for method in ("GET", "POST")},
    "PUT /api/v1/risks/{risk_id}": "person",
    **{f"{method} /api/v1/corrective-actions": "person" for method in ("GET", "POST")},
    "POST /api/v1/corrective-actions/{action_id}/done": "person",
    "POST /api/v1/concerns": "person",
    "GET /api/v1/concerns": "person",
    "GET /api/v1/concerns/{number}": "person",
    "POST /api/v1/concerns/{number}/answer": "person",
    "POST /api/v1/concerns/{number}/close": "person",
    "POST /api/v1/concerns/{number}/extend": "person",
    "GET /api/v1/reviews/{quarter}": "person:review.read",
    "GET /api/v1/reviews/{quarter}/report": "person:review.read",
    "POST /api/v1/reviews/{quarter}/findings": "person:review.write",
    "POST /api/v1/reviews/{quarter}/signatures": "person:review.read",
    "POST /api/v1/reviews/{quarter}/access": "person:review.write",
    "GET /api/v1/reviews/{quarter}/access": "person",
    "POST /api/v1/reviews/access/{right}": "person",
    "GET /api/v1/transmissions": "person:transmission.read",
    "GET /api/v1/disclosures/file": "person:transmission.read",
    "POST /api/v1/reconciliations": "person:transmission.read",
    "GET /api/v1/disclosures": "person:transmission.read",
    "GET /api/v1/supervision": "person:supervision.read",
    "GET /log/fhir/AuditEvent": "person:log.read",
    "GET /log/tile/entries/{path:path}": "person:log.read",
    "POST /fhir/Consent": "person:consent.write",
    **{f"POST /fhir/Consent/${verb}": "person:consent.write" for verb in ("fileConsent", "file-consent", "revokeConsent", "revoke-consent")},
    "GET /fhir/Consent": "person:consent.read",
    "POST /fhir/Consent/_search": "person:consent.read",
    "GET /fhir/Consent/{consent}": "person:consent.read",
    "GET /fhir/Consent/{consent}/_history": "person:consent.read",
    "GET /fhir/Consent/{consent}/_history/{version}": "person:consent.read",
    **{f"GET /api/v1/consents/{part}": "person:consent.read" for part in ("notices", "askings", "askings/{asking}/evidence/{number}", "explain")},
    **{f"POST /api/v1/consents/{part}": "person:consent.read" for part in ("notices/preview", "needed", "explain")},
    **{f"POST /api/v1/consents/{part}": "person:consent.write" for part in ("notices", "askings", "{consent}/withdraw")},
    "GET /api/v1/consents/withdrawals": "person",
    "POST /api/v1/consents/withdrawals/{consent}/{recipient}/acknowledge": "person",
    **{f"POST /fhir/AuditEvent/${verb}": "person:consent.write" for verb in ("recordDisclosure", "record-disclosure")},
    "GET /fhir/AuditEvent": "person:consent.read",
    "POST /fhir/AuditEvent/_search": "person:consent.read",
    "GET /fhir/AuditEvent/{event}": "person:consent.read",
    "GET /fhir/Provenance": "person:consent.read",
    "GET /fhir/Provenance/{provenance}": "person:consent.read",
    "POST /fhir/Subscription": "person:consent.read",
    "GET /fhir/Subscription/{subscription}": "person:consent.read",
    "DELETE /fhir/Subscription/{subscription}": "person:consent.read",
    "GET /fhir/Subscription/{subscription}/$status": "person:consent.read",
    "GET /fhir/$export": "client",
    "POST /fhir/$export": "client",
    "GET /fhir/Patient/$export": "client",
    "POST /fhir/Patient/$export": "client",
    "GET /fhir/Group/{group}/$export": "client",
    "POST /fhir/Group/{group}/$export": "client",
    "GET /fhir/$export/{export}": "client",
    "DELETE /fhir/$export/{export}": "client",
    "GET /fhir/$export/{export}/outcome.ndjson": "client",
    # Each patient's part of a file passes the gate (tests/integration/release/test_bulk.py); there is none to fetch here.
    "GET /fhir/$export/{export}/{file}": "client",
    "GET /fhir/Patient/{patient}/$everything": "gate",
    "POST /fhir/Patient/$match": "gate",
    "GET /fhir/{resource_type}": "gate",
    "POST /fhir/{resource_type}/_search": "gate",
    "GET /fhir/{resource_type}/{resource_id}": "gate",
    "POST /releases": "gate",
    "GET /api/v1/recognition": "gate",
    "GET /releases/{release_id}": "client",
    "GET /releases/{release_id}/receipt": "client",
    "GET /releases/{release_id}/provenance": "client",
    "GET /api/v1/working-calendar": "person",
    "GET /api/v1/working-calendar/due": "person",
    "PUT /api/v1/working-calendar/{year}": "person:organization.write",
    "GET /console/transfers": "page:registry.read",
    "POST /console/transfers": "page-form:organization.write",
    "GET /console/working-days": "page:registry.read",
    "POST /console/working-days": "page-form:organization.write",
    "GET /console/requests/{number}/correct": "page:request.handle",
    **{f"POST /console/requests/{{number}}/{name}": "page-form:request.handle" for name in ("correct", "correct-file")},
    "GET /api/v1/patient-requests": "person:request.read",
    "POST /api/v1/patient-requests": "person:request.handle",
    "GET /api/v1/patient-requests/{number}": "person:request.read",
    "GET /api/v1/patient-requests/{number}/copy": "person:request.handle",
    **{
        f"POST /api/v1/patient-requests/{{number}}/{verb}": "person:request.handle"
        for verb in (
            "refuse",
            "correct",
            "correction",
            "correction/agree",
            "correction/return",
            "appeal",
            "withdraw",
            "identify",
            "extend",
            "fulfil",
            "order",
            "uphold",
            "lift",
        )
    },
    # -- the console --
    "GET /console/static/{version}/{name}": "public",
    "GET /console/login": "public",
    "POST /console/login": "proof",
    "POST /console/language": "public",
    "GET /console": "page",
    "GET /console/": "page",
    "GET /console/{rest:path}": "page",
    "POST /console/logout": "page-arrival-form",
    "GET /console/account": "page-arrival",
    "POST /console/account/password": "page-arrival-form",
    "GET /console/account/security": "page-arrival",
    "POST /console/account/security/app": "page-arrival-form",
    "GET /console/account/security/app/{factor_id}": "page-arrival",
    "POST /console/account/security/app/{factor_id}": "page-arrival-form",
    "POST /console/account/security/key": "page-arrival-form",
    "POST /console/account/security/remove": "page-form",
    "POST /console/account/security/codes": "page-form",
    "POST /console/account/sessions": "page-form",
    "GET /console/second-factor": "page-arrival",
    "POST /console/second-factor": "page-arrival-form",
    "POST /console/login/key": "proof",
    "GET /console/supervision": "page:supervision.read",
    "GET /console/supervision/events": "page:supervision.read",
    "POST /console/people/{person_id}/security": "page-form",
    "GET /console/sso": "public",
    "GET /console/sso/callback": "proof",
    "GET /console/password/{secret}": "public",
    "POST /console/password/{secret}": "proof",
    **{f"GET /console/{name}": "page" for name in ("applications", "endorse", "decide", "exchanges")},
    **{f"{method} /console/applications/new": who for method, who in (("GET", "page"), ("POST", "page-form"))},
    "GET /console/applications/{ref}": "page",
    "GET /console/transmissions": "page:transmission.read",
    "GET /console/transmissions/accounting.pdf": "page:transmission.read",
    "GET /console/events": "page:log.read",
    "GET /console/reconciliation": "page:transmission.read",
    "POST /console/reconciliation": "page-form:transmission.read",
    "GET /console/proof/{event}": "page:transmission.read",
    "GET /console/keys": "page:key.read",
    "GET /console/sources": "page:registry.read",
    "POST /console/sources/{name}/pull": "page-form:client.write",
    "GET /console/reviews": "page:review.read",
    "GET /console/reviews/{quarter}/report": "page:review.read",
    **{f"POST /console/reviews/{{quarter}}/{name}": "page-form:review.read" for name in ("signatures", "figures")},
    **{f"POST /console/reviews/{{quarter}}/{name}": "page-form:review.write" for name in ("findings", "access")},
    "POST /console/reviews/{quarter}/actions": "page-form:incident.handle",
    **{f"GET /console/{name}": "page:workforce.read" for name in ("qualifications", "training", "workforce/template")},
    **{
        f"POST /console/{name}": "page-form:workforce.write"
        for name in (
            "workforce/demands",
            *(f"{book}{one}" for book in ("qualifications", "training") for one in ("", "/import", "/{credential}")),
        )
    },
    **{f"POST /console/{name}": "page-form" for name in ("endorse", "decide", "exchanges")},
    **{f"GET /console/{name}": "page" for name in ("standing-in", "channels")},
    **{f"POST /console/{name}": "page-form" for name in ("standing-in", "standing-in/{delegation}/end", "channels", "channels/{channel}/remove")},
    "GET /console/agreements": "page:registry.read",
    **{f"POST /console/{name}": "page-form:organization.write" for name in ("agreements", "networks")},
    "GET /console/credentials": "page",
    "GET /console/access": "page",
    "POST /console/access": "page-form",
    **{f"GET /console/policies{one}": "page:policy.read" for one in ("", "/proposals", "/profiles/{name}", "/revisions/{revision}")},
    "GET /console/policies/profiles/{name}/narrow": "page:policy.write",
    "POST /console/policies/profiles/{name}/narrow": "page-form:policy.write",
    "POST /console/policies/revisions/{revision}": "page-form:policy.write",
    "GET /console/patient-code": "page:consent.write",
    "GET /console/terms": "page",
    "POST /console/terms": "page-form",
    **{f"{method} /console/concerns{one}": who for one in ("", "/{number}") for method, who in (("GET", "page"), ("POST", "page-form"))},
    "GET /console/patient/concerns": "patient",
    "GET /console/patient/disclosures.pdf": "patient",
    "POST /console/patient/concerns": "patient-form",
    "GET /console/consent": "page:consent.write",
    "GET /console/explain": "page:consent.read",
    "POST /console/explain": "page-form:consent.read",
    "GET /console/explain/evidence/{asking}/{number}": "page:consent.read",
    "GET /console/withdrawals": "page",
    "POST /console/withdrawals/{withdrawn}/{recipient}": "page-form",
    "POST /console/consent": "page-form:consent.write",
    "POST /console/consent/answer": "page-form:consent.write",
    "POST /console/patient-code": "page-form:consent.write",
    "GET /console/patient/login": "public",
    "POST /console/patient/login": "proof",
    "GET /console/patient": "patient",
    "GET /console/patient/consents": "patient",
    "POST /console/patient/logout": "patient-form",
    "POST /console/patient/consents/{consent_id}/withdraw": "patient-form",
    **{f"{method} /console/consultations{one}": who for one in ("", "/{number}") for method, who in (("GET", "page"), ("POST", "page-form"))},
    **{
        f"{method} /console/{name}{one}": who
        for name in ("incidents", "violations", "emergencies")
        for one in ("", "/{number}" if name != "emergencies" else "/{application}")
        for method, who in (("GET", "page"), ("POST", "page-form"))
        if (method, name, one) != ("POST", "violations", "")
    },
    "GET /console/violations/new": "page",
    "POST /console/violations/new": "page-form",
    "GET /console/violations/{number}/receipts/{index}": "page",
    **{
        f"{method} /console/{name}": who
        for name in ("obligations", "recalls", "improvement")
        for method, who in (("GET", "page"), ("POST", "page-form"))
    },
    **{f"GET /console/destruction{one}": "page" for one in ("", "/{number}")},
    **{f"POST /console/destruction{one}": "page-form:destruction.order" for one in ("", "/{number}")},
    "GET /console/destruction/{number}/certificate.json": "page",
    "GET /console/destruction/{number}/certificate.pdf": "page",
    "GET /console/requests": "page:request.read",
    "GET /console/requests/{number}": "page:request.read",
    "GET /console/requests/{number}/copy.json": "page:request.handle",
    "POST /console/requests": "page-form:request.handle",
    "POST /console/requests/{number}": "page-form:request.handle",
    "GET /console/patient/requests": "patient",
    "POST /console/patient/requests": "patient-form",
    "GET /console/patient/requests/{number}/copy": "patient",
    "GET /console/patient/requests/{number}/copy.json": "patient",
    "GET /console/inbox": "page",
    "POST /console/inbox/read": "page-form",
    **{f"GET /console/{name}{one}": "page:registry.read" for name, one in REGISTERS},
    **{f"POST /console/organizations{one}": "page-form:organization.write" for one in ("", "/{organization_id}")},
    **{f"POST /console/people{one}": "page-form:person.write" for one in ("", "/{person_id}")},
    **{f"POST /console/clients{one}": "page-form:client.write" for one in ("", "/{client_id}")},
    **{f"GET /console/applications/{{ref}}/{name}": "page" for name in ("edit", "decide")},
    **{
        f"POST /console/applications/{{ref}}/{name}": "page-form" for name in ("edit", "decide", "step", "assess", "feedback", "again", "attachments")
    },
    "GET /console/applications/{ref}/attachments/{attachment}": "page",
    "POST /console/applications/{ref}/attachments/{attachment}/remove": "page-form",
}
#: What a person who applied, may decide on it, or keeps the registry, is shown of a patient; every other route that isn't the gate says nothing.
SHOWS_A_PATIENT = re.compile(
    r"GET /api/v1/applications/\{ref\}(/preview|/exchange)?|(GET|POST) /fhir/(Consent|AuditEvent).*|(GET|POST) /api/v1/consents/(askings|explain)"
    r"|POST /api/v1/applications/\{ref\}/(renew|amend)"
)


@pytest.fixture(scope="module")
def its(story) -> Caller:
    return caller(story)


@pytest.fixture(scope="module")
def found(story) -> dict[str, APIRoute | None]:
    """The routes as the app has them, whether or not they are in the OpenAPI document."""

    def walk(routes) -> Iterator[tuple[str, APIRoute | None]]:
        for route in routes:
            if hasattr(route, "original_router"):
                yield from walk(route.original_router.routes)
            else:
                for method in sorted(route.methods - {"HEAD"}):
                    yield f"{method} {route.path}", route if isinstance(route, APIRoute) else None

    return dict(walk(create_app(story.installation, sequencer=False).routes))


def needed(dependant: Dependant) -> set[object]:
    """Every function that runs before the route's own."""
    return {dependant.call}.union(*(needed(one) for one in dependant.dependencies))


def meant(its: Caller) -> dict:
    """What $match is asked: the patient of the grant."""
    one = its.story.cast.patients["p1001"]
    patient = {"resourceType": "Patient", "identifier": [one.identifier], "name": [{"text": one.name}]}
    return {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": patient}]}


def filled(route: str, its: Caller) -> tuple[str, str, list, bytes]:
    """A request to a route that names things which are there: method, path, headers, body."""
    method, _, path = route.partition(" ")
    values = {"ref": its.number, "resource_type": "Observation", "patient": "p1001", "path:path": "000", "level": "0", "organization_id": "shengli",
              "client_id": "shengli-his", "version": "1"}  # fmt: skip
    unknown = "00000000-0000-4000-8000-000000000000"
    path = re.sub(r"\{([a-z_:]+)\}", lambda match: values.get(match[1], unknown), path)
    if path.endswith("/recognition"):
        return method, f"{path}?patient=p1001&code=http://loinc.org%7C4548-4", [], b""
    if path.endswith("/_search"):
        return method, path, [("Content-Type", "application/x-www-form-urlencoded")], b"patient=p1001"
    if path in ("/fhir/Observation", "/fhir/Consent") and method == "GET":
        path += "?patient=p1001"
    if method in ("GET", "DELETE"):
        return method, path, [], b""
    body = {"application": its.number, "patient": "p1001"} if path == "/releases" else meant(its) if path.endswith("$match") else {}
    return method, path, [("Content-Type", JSON)], json.dumps(body).encode()


def test_every_route_has_its_place(found):
    assert found.keys() - TABLE.keys() == set(), "say in TABLE who may call it"
    assert TABLE.keys() - found.keys() == set(), "this is no longer a route"


@pytest.mark.parametrize("route", sorted(TABLE))
def test_a_route_asks_for_whom_the_table_says(found, route):
    who = TABLE[route]
    if found[route] is None:
        assert who == "public"
        return
    runs = needed(found[route].dependant)
    page, action = who.startswith("page"), who.partition(":")[2]
    assert (door.visitor in runs) == (page and not who.startswith("page-arrival"))
    assert (door.arriving in runs) == page
    assert {one for one in Action if door.require(one) in runs} == ({Action(action)} if page and action else set())
    # A form that changes something is never taken from another site.
    assert bool({door.posted, door.posted_file} & runs) == who.startswith("page-form")
    assert (door.posted_on_arrival in runs) == (who == "page-arrival-form")
    assert page <= (("form" in who.partition(":")[0]) == route.startswith("POST"))
    assert (patient.patient in runs) == who.startswith("patient")
    assert (patient.posted_by_patient in runs) == who.startswith("patient-form") == (who.startswith("patient") and route.startswith("POST"))
    forms = {door.posted, door.posted_file, door.posted_on_arrival, door.sent, patient.posted_by_patient}
    assert bool(forms & runs) == route.startswith("POST /console")
    if page or who.startswith("patient"):
        return
    assert (access.person in runs) == who.startswith("person")
    assert (access.arriving in runs) == who.startswith(("person", "arrival"))
    assert {action for action in Action if access.require(action) in runs} == ({Action(who.partition(":")[2])} if ":" in who else set())


@pytest.mark.parametrize("route", sorted(route for route, who in TABLE.items() if who.startswith(("page", "patient"))))
def test_a_page_is_for_whoever_is_signed_in_at_the_console(its, route):
    """An API credential is none here, and nobody is led to the login page with what they meant to change."""
    method, path, headers, body = filled(route, its)
    for who in ("", "manager", "client"):
        answer = its.call(method, path, *headers, ("Sec-Fetch-Site", "same-origin"), who=who, body=body)
        assert answer.status == 303
        assert answer.headers["location"].startswith("/console/patient/login" if TABLE[route].startswith("patient") else "/console/login")
        assert not answer.body


@pytest.mark.parametrize("route", sorted(route for route, who in TABLE.items() if not who.startswith(("public", "proof", "page", "patient"))))
def test_without_credentials_it_is_a_401_of_the_right_form(its, route):
    method, path, headers, body = filled(route, its)
    for language in ("en", "zh"):
        answer = its.call(method, path, *headers, ("Accept-Language", language), body=body)
        check_form(answer, path, language, statuses=(401,))
        assert "www-authenticate" in answer.headers


PARTS = {"applicant": Role.APPLICANT, "manager": Role.INFORMATION_MANAGER, "auditor": Role.AUDITOR, "administrator": Role.ADMINISTRATOR}


@pytest.mark.parametrize("route", sorted(route for route, who in TABLE.items() if who.startswith("person:")))
def test_a_role_without_the_action_is_refused_and_one_with_it_is_not(its, route):
    method, path, headers, body = filled(route, its)
    action = Action(TABLE[route].partition(":")[2])
    for part, role in PARTS.items():
        if action in PERMISSIONS[role] and method == "PATCH":
            continue  # An empty change is a change, and recorded.
        answer = its.call(method, path, *headers, ("Accept-Language", "en"), who=part, body=body)
        if action in PERMISSIONS[role]:
            assert answer.status != 403, part
        else:
            check_form(answer, path, statuses=(403,))


@pytest.fixture
def gated(monkeypatch) -> list[str]:
    """The paths that were answered through the gate since the test began."""
    seen: list[str] = []
    right = release_routes.GatedAnswer.__call__

    async def counted(self, scope, receive, send):
        seen.append(scope["path"])
        await right(self, scope, receive, send)

    monkeypatch.setattr(release_routes.GatedAnswer, "__call__", counted)
    return seen


@pytest.mark.parametrize("route", sorted(route for route, who in TABLE.items() if who == "gate"))
def test_a_route_of_the_gate_answers_through_it(its, gated, route):
    method, path, headers, body = filled(route, its)
    if route.endswith("{resource_id}"):
        path = "/fhir/Patient/p1001"
    answer = its.call(method, path, *headers, who="client", body=body)
    assert answer.status == 200, answer.text[:300]
    assert gated == [path.partition("?")[0]]
    assert answer.headers["release-id"]
    check_form(its.call(method, path, *headers, ("Accept-Language", "en"), body=body), path, statuses=(401,))
    # A body, or a question of our own, isn't read for somebody without a token; all else meets the gate first.
    assert len(gated) == (1 if method == "POST" or path.startswith("/api/") else 2)


@pytest.mark.parametrize("route", sorted(route for route, who in TABLE.items() if who != "gate"))
def test_no_other_route_answers_through_the_gate_or_speaks_of_the_patient(its, gated, route):
    method, path, headers, body = filled(route, its)
    if method == "DELETE":
        return  # It ends the session.
    for who in ("", "client", "applicant", "manager", "auditor", "administrator"):
        answer = its.call(method, path, *headers, who=who, body=b"" if method == "GET" else body if "_search" in path else b"[]")
        assert not any(word in answer.body for word in ("张秀英".encode(), b"p1001-")) or SHOWS_A_PATIENT.fullmatch(route), (who, answer.text[:200])
        assert answer.status < 500
    assert gated == []


KINDS = sorted(definitions.resource_types())


def decisions(its: Caller) -> list[str]:
    with its.story.installation.database.transaction() as session:
        query = "SELECT type FROM audit_event WHERE type IN ('release.permitted', 'release.refused') ORDER BY xid, seq"
        return [row[0] for row in session.connection().exec_driver_sql(query)]


def outcomes(its: Caller) -> list[str]:
    with its.story.installation.database.transaction() as session:
        query = "SELECT type FROM audit_event WHERE release_id IS NOT NULL ORDER BY xid, seq"
        return [row[0] for row in session.connection().exec_driver_sql(query)]


@pytest.mark.parametrize("kind", KINDS)
def test_each_type_of_fhir_passes_the_gate_by_every_way(its, kind):
    """Without a token, 401; with one whose grant is about somebody else, a refusal and exactly one decision on record."""
    ways = [("GET", f"/fhir/{kind}?patient=p1006"), ("GET", f"/fhir/{kind}/p1006"), ("GET", f"/fhir/Patient/p1006/$everything?_type={kind}")]
    if kind == "Patient":
        ways[0] = ("GET", "/fhir/Patient?_id=p1006")
    if kind in ("AuditEvent", "Consent", "Provenance", "Subscription"):
        del ways[:2]  # The registry's own routes, for people.
    body = json.dumps({"application": its.number, "patient": "p1006", "types": [kind]}).encode()
    for method, path, given in [*((method, path, b"") for method, path in ways), ("POST", "/releases", body)]:
        headers = [("Content-Type", JSON), ("Accept-Language", "en")] if given else [("Accept-Language", "en")]
        never = kind in NEVER_RELEASED and "$everything" not in path
        check_form(its.call(method, path, *headers, body=given), path, statuses=(404,) if never and not given else (401,))
        before = len(decisions(its))
        check_form(its.call(method, path, *headers, who="client", body=given), path, statuses=(404, 422) if never else (403, 404))
        made = decisions(its)[before:]
        if path == f"/fhir/{kind}/p1006" and made == ["release.permitted"]:
            # Somebody else's resource of a type in the plan is asked for under a patient of the grant, and fails (decision 0029).
            assert outcomes(its)[-1] == "release.failed", path
        else:
            assert made == ([] if never else ["release.refused"]), path
