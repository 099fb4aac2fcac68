"""Two hospitals that differ only in what may not leave answer the same requests with the same bytes (G12, G14; D01 to D14, A18, B01, B02).

World B is world A with a marker in every place of every resource that the grant does not show, with resources that are refused, outside
the plan or somebody else's, with references to them in what leaves, and with patients whom nobody asked about.

BROKER_TWO_WORLDS: how many requests (default 60).
"""

from __future__ import annotations

import json
import logging
import os
import random
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from broker import clock, demo_data
from broker.fhir import definitions
from broker.records import service as records
from tests.attacks.asking import FORM, JSON, Caller, caller
from tests.live import hospital
from tests.wire import Answer

MARK = "CANARYmark"
#: What resources that leave refer to in world B: resources that stay behind, and one that never was. Not where labels are handed on.
LEADS = {
    "Encounter": {
        "diagnosis": [{"condition": {"reference": "Condition/hidden-psy-0", "type": "Condition"}, "rank": 9}],
        "reasonReference": [{"reference": "Condition/hidden-psy-1"}, {"reference": "https://elsewhere.example.org/fhir/Condition/hidden-psy-1"}],
    },
    "MedicationRequest": {"reasonReference": [{"reference": "Condition/hidden-psy-2/_history/1"}], "basedOn": [{"reference": "CarePlan/never-was"}]},
    "Observation": {"partOf": [{"reference": "Procedure/hidden-procedure-0"}], "focus": [{"reference": "Patient/stranger"}]},
    "Procedure": {"reasonReference": [{"reference": "Condition/hidden-psy-3"}], "report": [{"reference": "DocumentReference/never-was"}]},
}
REQUESTS = int(os.environ.get("BROKER_TWO_WORLDS", "60"))
PATIENT = "p1001"


def _mark() -> str:
    return f"{MARK}{uuid4().hex[:12]}"


def planted(resource: dict[str, Any]) -> dict[str, Any]:
    """The resource with a marker wherever it may stand and must not leave: narrative, extensions (of primitives too), contained
    resources, displays of references, texts of concepts, identifiers, notes, contact points, attachments.
    """
    extension = [{"url": "http://example.org/fhir/StructureDefinition/hidden", "valueString": _mark()}]
    kind = resource["resourceType"]
    marked = {name: _deep(value) for name, value in resource.items()}
    marked["text"] = {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{_mark()}</div>'}
    marked["contained"] = [{"resourceType": "Organization", "id": "hidden", "name": _mark()}]
    marked["extension"] = [*marked.get("extension", []), *extension, {"url": "http://example.org/nested", "extension": extension}]
    for name in ("status", "intent", "gender"):
        if name in marked:
            marked[f"_{name}"] = {"extension": extension}
    elements = definitions.raw_elements(kind)
    if "note" in elements:
        marked["note"] = [*marked.get("note", []), {"text": _mark()}]
    for name, referred in LEADS.get(kind, {}).items():
        marked[name] = [*marked.get(name, []), *referred]
    if kind == "Patient":
        marked["telecom"] = [*marked.get("telecom", []), {"system": "email", "value": f"{_mark()}@example.org"}]
        marked["address"] = [*marked.get("address", []), {"text": _mark(), "line": [_mark()]}]
        marked["photo"] = [{"contentType": "image/png", "title": _mark(), "url": f"https://example.org/{_mark()}"}]
    return marked


def _deep(value: Any) -> Any:
    if isinstance(value, list):
        return [_deep(one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {name: _deep(one) for name, one in value.items()}
    if "reference" in found:
        found["display"] = f"{found.get('display', '')} {_mark()}"  # What stands there may be why it is labelled.
    elif "coding" in found:
        found["text"] = f"{found.get('text', '')} {_mark()}"
    return found


def _bundle(content: bytes, *, marked: bool) -> bytes:
    """A bundle of either world, written in one way, since values leave as they were written, spaces and all."""
    bundle = json.loads(content)
    for entry in bundle["entry"]:
        entry["resource"] = planted(entry["resource"]) if marked else entry["resource"]
    return json.dumps(bundle, ensure_ascii=False).encode()


def _forbidden() -> bytes:
    """Resources of the patient that the consent refuses, that lie outside the plan, or that have no label; and a stranger."""

    def resource(kind: str, name: str, code: tuple[str, str], **more: Any) -> dict[str, Any]:
        return {
            "resourceType": kind,
            "id": name,
            "subject": {"reference": f"Patient/{PATIENT}"},
            "code": {"coding": [{"system": code[0], "code": code[1]}]},
        } | more

    status = {"clinicalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]}}
    category = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "survey"}]}]
    icd = "http://hl7.org/fhir/sid/icd-10"
    extra = [
        *(resource("Condition", f"hidden-psy-{n}", (icd, f"F33.{n}"), recordedDate="2026-05-01", **status) for n in range(4)),
        *(
            resource("Observation", f"hidden-survey-{n}", ("http://loinc.org", "44249-1"), status="final", category=category,
                     effectiveDateTime=f"2026-0{n + 1}-01T08:00:00Z", valueString=_mark()) for n in range(4)
        ),
        *(resource("Procedure", f"hidden-procedure-{n}", ("http://snomed.info/sct", "387713003"), status="completed") for n in range(3)),
        {"resourceType": "Patient", "id": "stranger", "name": [{"text": _mark()}], "identifier": [{"system": "urn:x", "value": "stranger"}]},
    ]  # fmt: skip
    return json.dumps({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in extra]}).encode()


@pytest.fixture(scope="module")
def logged() -> Iterator[list[str]]:
    """What any part of the process wrote to a log."""
    said: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(self.format(record))

    handler = Kept(level=logging.DEBUG)
    logging.getLogger().addHandler(handler)
    yield said
    logging.getLogger().removeHandler(handler)


@pytest.fixture(scope="module")
def worlds(server: str, template: str, tmp_path_factory: pytest.TempPathFactory, logged: list[str]) -> Iterator[tuple[Caller, Caller]]:
    """World A and world B: the same keys, the same moment of loading, the same consent and grant."""
    folders = [tmp_path_factory.mktemp(name) / "var" for name in ("a", "b")]
    names = [f"broker_world_{os.getpid()}_{letter}" for letter in "ab"]
    moment, now, bundles = clock.now(), clock.now, demo_data.bundles
    with psycopg.connect(server, autocommit=True) as connection, ExitStack() as stack:
        callers = []
        for world, (folder, name) in enumerate(zip(folders, names, strict=True)):
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
            stack.callback(connection.execute, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            if world:
                shutil.copytree(folders[0] / "keys", folder / "keys")
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(clock, "now", lambda: moment)
                filled = [_bundle(one, marked=bool(world)) for one in bundles(clock.today())]
                patched.setattr(demo_data, "bundles", lambda _today, filled=filled: filled)
                story = stack.enter_context(_loaded(make_conninfo(server, dbname=name), folder, patched, now, world=world))
            callers.append(caller(story, "clinical.vital-signs"))
        yield callers[0], callers[1]


def _loaded(url: str, folder: Path, patched: pytest.MonkeyPatch, now: Any, *, world: int) -> Any:
    """A hospital whose clock stands still while it is filled and goes on before it serves."""
    from tests import live

    seed = live.seed

    def seeded(installation: Any) -> Any:
        cast = seed(installation)
        if world:
            report = records.ingest_bundle(installation.database, installation.keys, _forbidden(), source="demo")
            assert report.accepted == 12, report
        patched.setattr(clock, "now", now)
        return cast

    patched.setattr(live, "seed", seeded)
    return hospital(url, folder, refusal_step=0)


def seen(its: Caller, answer: Answer) -> tuple[Any, ...]:
    """What an outsider can compare: all but what is new in each answer anyway (numbers, the time, the sealed link of a page)."""
    body = answer.text.replace(its.story.base_url, "BASE")
    body = re.sub(r'"(id|timestamp|request_id)":\s?"([0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{32}|[0-9-]{10}T[0-9:.]+Z)"', r'"\1":"-"', body)
    body = re.sub(r"_page=[\w-]+", lambda match: f"_page={len(match[0])}", body)
    fresh = ("date", "x-request-id", "release-id", "release-digest", "release-signature", "disclosure-receipt")
    headers = {name: value.replace(its.story.base_url, "BASE") for name, value in answer.headers.items() if name not in fresh}
    return answer.status, tuple(sorted(headers.items())), body


def requests(count: int, numbers: random.Random, ids: list[str]) -> Iterator[tuple[str, str, bytes]]:
    """Random requests of every kind, about what is there, what is hidden and what never was."""
    people = [PATIENT, PATIENT, PATIENT, "p1006", "stranger", "never-was"]
    kinds = ["Observation", "Observation", "Condition", "Procedure", "Encounter", "MedicationRequest", "Claim", "Patient", "Practitioner"]
    hidden = [*(f"hidden-psy-{n}" for n in range(3)), "hidden-survey-1", "hidden-procedure-1", "stranger", "p1006", "never-was"]
    shared = [
        "_count=1",
        "_count=3",
        "_total=accurate",
        "_lastUpdated=ge2020",
        "_elements=id",
        "_elements=note,text,code",
        "_summary=count",
        "_include=*",
    ]
    own = {
        "Observation": ["code=44249-1", "category=survey", "date=ge2026", "status=final"],
        "Condition": ["code=F33.1", "category=problem-list-item"],
    }
    for _ in range(count):
        kind, patient = numbers.choice(kinds), numbers.choice(people)
        chosen = numbers.sample(shared + own.get(kind, []), numbers.randint(0, 3))
        way = numbers.choice(["search", "search", "search", "form", "read", "everything", "match", "releases"])
        if way == "search":
            yield "GET", f"/fhir/{kind}?{'&'.join([('_id=' if kind == 'Patient' else 'patient=') + patient, *chosen])}", b""
        elif way == "form":
            yield "POST", f"/fhir/{kind}/_search", "&".join([("_id=" if kind == "Patient" else "patient=") + patient, *chosen]).encode()
        elif way == "read":
            yield "GET", f"/fhir/{kind}/{numbers.choice([*hidden, *ids])}", b""
        elif way == "everything":
            more = numbers.sample(["_count=2", "_type=Condition,Observation", "_since=2020-01-01T00:00:00Z", "start=2026-01-01", "end=2026-06-01"], 2)
            yield "GET", f"/fhir/Patient/{patient}/$everything?{'&'.join(more)}", b""
        elif way == "match":
            meant = {"resourceType": "Patient", "identifier": [{"system": "urn:x", "value": patient}], "name": [{"text": "某某"}]}
            yield (
                "POST",
                "/fhir/Patient/$match",
                json.dumps({"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": meant}]}).encode(),
            )
        else:
            yield "POST", "/releases", json.dumps({"application": "NUMBER", "patient": patient, "types": [kind]}).encode()


def ask(its: Caller, method: str, path: str, body: bytes) -> Answer:
    kind = FORM if path.endswith("_search") else JSON
    return its.call(method, path, ("Content-Type", kind), ("Accept-Language", "en"), who="client", body=body.replace(b"NUMBER", its.number.encode()))


def test_g12_the_same_requests_get_the_same_bytes(worlds, logged):
    one, other = worlds
    listed = ask(one, "GET", f"/fhir/Observation?patient={PATIENT}&_count=500", b"").json()["entry"]
    seed = int(os.environ.get("BROKER_TWO_WORLDS_SEED", str(datetime.now().toordinal())))  # noqa: DTZ005  (Another sample each day, and it says which.)
    answered = 0
    for method, path, body in requests(REQUESTS, random.Random(seed), [entry["resource"]["id"] for entry in listed][:40]):
        a, b = (ask(its, method, path, body) for its in (one, other))
        assert seen(one, a) == seen(other, b), (seed, method, path, body)
        assert a.status < 500
        answered += a.status == 200
        following = re.search(r'"url":"[^"]*?(/fhir/[^"]*_page=[^"]*)"', a.text), re.search(r'"url":"[^"]*?(/fhir/[^"]*_page=[^"]*)"', b.text)
        if following[0] and following[1]:
            next_a, next_b = (ask(its, "GET", match[1], b"") for its, match in zip(worlds, following, strict=True))
            assert seen(one, next_a) == seen(other, next_b), (seed, path)
    assert answered > REQUESTS // 10
    assert not [line for line in logged if MARK in line]


def test_g14_no_marker_is_in_anything_that_leaves(worlds, logged):
    """Every type that the grant lets leave, by every way, and every kind of error: body and headers."""
    _, its = worlds
    stored = json.loads(_bundle(next(one for one in demo_data.bundles(clock.today()) if b'"p1001"' in one), marked=True))
    assert json.dumps(stored).count(MARK) > 500
    everything = ask(its, "GET", f"/fhir/Patient/{PATIENT}/$everything", b"")
    found = {(entry["resource"]["resourceType"], entry["resource"]["id"]) for entry in everything.json()["entry"]}
    assert len({kind for kind, _ in found}) >= 4
    answers = [everything, ask(its, "POST", "/releases", json.dumps({"application": "NUMBER", "patient": PATIENT}).encode())]
    for kind in sorted({kind for kind, _ in found}):
        about = f"_id={PATIENT}" if kind == "Patient" else f"patient={PATIENT}"
        answers.append(ask(its, "GET", f"/fhir/{kind}?{about}&_count=500", b""))
        answers.append(ask(its, "GET", f"/fhir/{kind}/{next(name for one, name in found if one == kind)}", b""))
    release = answers[1].headers["release-id"]
    more = (f"/releases/{release}", f"/releases/{release}/provenance", "/fhir/metadata", "/fhir/Condition/never-was", "/fhir/Patient?_id=p1006")
    answers += [ask(its, "GET", path, b"") for path in more]
    for answer in answers:
        assert MARK not in answer.text
        assert MARK not in str(answer.headers)
    assert not [line for line in logged if MARK in line]
