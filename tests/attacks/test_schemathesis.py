"""Schemathesis over the OpenAPI document of the running app: coverage of every parameter and body, then random ones.

Every check that makes sense runs: no 5xx, no status or media type that the document doesn't name, answers that fit their schema,
nothing accepted that the document forbids, no method that isn't there, no route that forgets to ask who calls.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import schemathesis

from tests.attacks.asking import Caller, caller

EXAMPLES = 4

CHECKS = {
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "ignored_auth",
}
# Left out: positive_data_acceptance, since what may be done depends on what there is (an application in the right state, a
# patient who is known); ensure_resource_availability and use_after_free follow links, and the document has none.
#: Who calls, which paths, in which phases, without which checks. A wrong password shown again and again is answered with 429, which
#: ignored_auth takes for a failure: for people's routes test_route_inventory.py asks instead.
RUNS = {
    "client": ("^/(fhir|releases|oauth2|api/v1/recognition)", "coverage,fuzzing", set()),
    "client everywhere": (".", "fuzzing", set()),
    "manager": ("/fhir/Consent|/transmissions", "coverage,fuzzing", {"ignored_auth"}),
    "applicant": ("/api/v1/(applications|consultations)", "fuzzing", {"ignored_auth"}),
    "administrator": ("/organizations|/people|/clients|/me", "coverage,fuzzing", {"ignored_auth"}),
    "auditor": ("^/log|/reviews|/disclosures|/supervision|/policies|/fhir/Consent|/transmissions", "fuzzing", {"ignored_auth"}),
    "nobody": (".", "fuzzing", {"ignored_auth"}),
}
#: Set it to look at every address with every credential, each by every value of every parameter: half an hour.
if os.environ.get("BROKER_TEST_SCHEMATHESIS"):
    RUNS = {who: (".", "coverage,fuzzing", but) for who, (_, _, but) in RUNS.items()}


@pytest.fixture(scope="module")
def its(story) -> Caller:
    return caller(story)


@pytest.mark.parametrize("who", RUNS)
def test_it_finds_nothing(its, tmp_path: Path, who):
    paths, phases, but = RUNS[who]
    signed = ["--header", f"Authorization: {its.credentials[who.split()[0]]}"] if who != "nobody" else []
    command = [
        Path(sys.executable).with_name("st"), "run", f"{its.story.base_url}/openapi.json", *signed, "--include-path-regex", paths,
        "--phases", phases, "--max-examples", EXAMPLES, "--checks", ",".join(sorted(CHECKS - but)), "--seed", 1, "--no-color",
        "--request-timeout", 60,
        "--exclude-path", "/api/v1/session",  # It would sign the session out that the run uses; test_bad_input.py looks at it.
    ]  # fmt: skip
    ran = subprocess.run(
        list(map(str, command)),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1800 if os.environ.get("BROKER_TEST_SCHEMATHESIS") else 400,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
    tested = int(re.search(r"Tested: (\d+)", ran.stdout)[1])
    assert tested >= (200 if paths == "." else 8), ran.stdout[-2000:]
    # How many it generates for an operation differs from machine to machine; that it looked at each several times does not.
    assert int(re.search(r"(\d+) generated", ran.stdout)[1]) >= (10 if "coverage" in phases else 2) * tested, ran.stdout[-2000:]
    its.well()


def test_the_document_names_every_error_and_every_credential(its):
    """What the run above would not notice: an operation without a response for errors, or a client's route that says nothing of tokens."""
    schema = schemathesis.openapi.from_url(f"{its.story.base_url}/openapi.json").raw_schema
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            (media,) = operation["responses"]["default"]["content"]
            family = {"fhir": "application/fhir+json", "oauth2": "application/json"}.get(path.split("/")[1], "application/problem+json")
            assert media == family, (method, path)
            assert "HTTPValidationError" not in str(operation)
    for path in ("/releases", "/fhir/{resource_type}", "/fhir/Patient/{patient}/$everything", "/releases/{release_id}"):
        assert all(operation["security"] == [{"client": []}] for operation in schema["paths"][path].values())
