"""The auditor's and the administrator's desks, page by page, in both languages."""

from __future__ import annotations

import io
import json

import pypdf
import pytest

from tests.browser.conftest import at, sign_in
from tests.factories import identity

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_auditor_follows_a_sending_to_its_proof(chromium, lived_in, language):
    with at(chromium, lived_in.base_url, language) as desk:
        page = sign_in(desk, lived_in, "cao.yan")
        desk.look("exchanges-auditor", picture=False)
        desk.open("/console/transmissions")
        desk.look("transmissions")
        page.fill("#q-patient", lived_in.cast.patients["p1001"].identifier["value"])
        desk.press(".filters button")
        assert page.locator("tbody tr").count() == 1
        # The patient's accounting as a file, where a patient was asked for.
        paper = page.context.request.get(lived_in.base_url + page.get_attribute(".head a[href*='accounting.pdf']", "href"))
        assert (paper.status, paper.headers["content-type"], paper.body()[:5]) == (200, "application/pdf", b"%PDF-")
        typed = lived_in.cast.patients["p1001"].identifier["value"]
        printed = "".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(paper.body())).pages)
        # What the hospital keeps is printed, not what was typed; and no code of FHIR where there is a word.
        assert typed not in printed
        assert "DiagnosticReport" not in printed
        assert lived_in.cast.patients["p1001"].name in printed
        for nobody in ("", "?patient=110101190001010000"):  # "Nothing was sent" of nobody would be a lie about somebody.
            assert page.context.request.get(f"{lived_in.base_url}/console/transmissions/accounting.pdf{nobody}").status == 404
        desk.look("transmissions-of-a-patient", picture=False)
        desk.press("tbody a[href*='/proof/']")
        assert page.locator(".badge.good").count() == 1
        desk.look("proof")
        desk.open("/console/events?type=consent.")
        assert page.locator("tbody tr").count() >= 2
        desk.look("events")
        desk.open("/console/reconciliation")
        page.select_option("#f-recipient", "shengli")
        received = [
            {"kind": "broker.release.receipt/1", "release": "11111111-1111-4111-8111-111111111111", "received_at": "2026-11-23T08:00:00+08:00"}
        ]
        page.set_input_files("#f-file", {"name": "log.json", "mimeType": "application/json", "buffer": json.dumps(received).encode()})
        desk.press("form[action='/console/reconciliation'] button")
        assert page.locator("#outcome .tiles li").count() == 4
        assert page.locator("tbody code").count() >= 1
        desk.look("reconciliation")
        desk.open("/console/reviews")
        assert page.locator("svg .bar").count() >= 3
        desk.look("reviews")
        desk.open("/console/inbox")
        desk.look("inbox", picture=False)
        for path in ("people", "organizations", "clients"):
            desk.open(f"/console/{path}")
            assert page.locator("form[method=post] input[name=id], form[method=post] input[name=username]").count() == 0, "auditors change nothing"


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_administrator_adds_a_department_a_person_and_a_system(chromium, lived_in, language):
    with at(chromium, lived_in.base_url, language) as desk:
        page = sign_in(desk, lived_in, "peng.bo")
        desk.look("people")
        page.fill("#f-username", f"new.{language}")
        page.fill("#f-name", "周宁")
        page.select_option("#f-organization", "renhe-imaging")
        page.fill("#f-password", "Morgenrot-47-Teekanne")
        page.check("input[name=role][value=administrator]")
        page.check("input[name=role][value=auditor]")
        desk.press(".act button")
        assert page.locator("[role=alert]").count() == 1, "three roles apart"
        desk.look("people-refused", picture=False)
        page.fill("#f-username", f"new.{language}")
        page.fill("#f-name", "周宁")
        page.select_option("#f-organization", "renhe-imaging")
        page.fill("#f-password", "Morgenrot-47-Teekanne")
        page.uncheck("input[name=role][value=administrator]")
        page.uncheck("input[name=role][value=auditor]")
        page.check("input[name=role][value=applicant]")
        desk.press(".act button")
        assert page.locator("[role=status]").count() == 1
        page.fill("#q-q", f"new.{language}")
        desk.press(".filters button")
        desk.press("tbody a")
        desk.look("person")
        desk.open("/console/organizations")
        page.fill("#f-id", f"renhe-dialysis-{language}")
        page.fill("#f-name_zh", "血液净化中心")
        page.fill("#f-name_en", "Dialysis Centre")
        page.select_option("#f-parent_id", "renhe")
        desk.press(".act button")
        assert page.locator("[role=status]").count() == 1
        desk.look("organizations")
        desk.open(f"/console/organizations/renhe-dialysis-{language}")
        desk.look("organization", picture=False)
        desk.open("/console/clients")
        page.fill("#f-id", f"dialysis-{language}")
        page.fill("#f-name", "透析系统")
        page.select_option("#f-organization", f"renhe-dialysis-{language}")
        page.fill("#f-jwks", json.dumps({"keys": [identity.private_key()]}))
        desk.press(".act button")
        assert page.locator("[role=alert]").count() == 1, "a private key is refused"
        page.fill("#f-id", f"dialysis-{language}")
        page.fill("#f-name", "透析系统")
        page.select_option("#f-organization", f"renhe-dialysis-{language}")
        page.fill("#f-jwks", json.dumps({"keys": [identity.public(identity.private_key())]}))
        desk.press(".act button")
        assert page.locator("[role=status]").count() == 1
        desk.look("clients")
        desk.open(f"/console/clients/dialysis-{language}")
        desk.look("client", picture=False)
