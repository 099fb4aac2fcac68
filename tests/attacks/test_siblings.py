"""Each attack of the list beside others of its kind: other parameters, ways of writing them, methods, headers and formats. C1 has p1001 alone.

Whatever is asked, four things hold: nothing of another patient and nothing that is withheld is in answer or headers; no 5xx; an error of the right
form; and what is refused is refused the same for what is there and for what never was. The numbers are those of the list that the project keeps.
"""

from __future__ import annotations

import gzip
import json
import socket
import zlib

import pytest

from broker.records import service as records
from tests.attacks.asking import FHIR, FORM, JSON, Caller, caller, check_form
from tests.attacks.test_same_work import condition
from tests.wire import Answer, answer_on, dial, wire

#: Stands in everything of p1001 that stays here, and in nothing that may leave.
SECRET = "SECRET-5c1d"
#: What would tell of another patient: name and id of p1006.
OTHERS = ("赵磊", "p1006-", '"p1006"')


@pytest.fixture(scope="module")
def its(story) -> Caller:
    asking = caller(story)
    store = story.installation
    for name, patient in (("hidden", "p1001"), ("of-another", "p1006")):
        resource = condition(name, patient)
        resource["code"]["text"] = SECRET
        resource["note"] = [{"text": SECRET}]
        report = records.ingest_bundle(store.database, store.keys, json.dumps(resource).encode(), source="demo")
        assert report.accepted == 1, report
    return asking


def clean(answer: Answer, path: str, *statuses: int) -> Answer:
    """An answer that gives nothing away, and is one of these."""
    text = f"{answer.text}{answer.headers}"
    assert SECRET not in text
    assert not any(word in answer.text for word in OTHERS), path
    assert answer.status in statuses, (path, answer.status, answer.text[:200])
    if answer.status >= 400 and answer.body:
        check_form(answer, path.partition("?")[0], "zh" if any("\u4e00" <= one <= "\u9fff" for one in answer.text) else "en", statuses=statuses)
    return answer


def alike(one: Answer, other: Answer) -> bool:
    """Whether two refusals are the same but for the number of the request and the moment."""

    def shape(answer: Answer) -> tuple:
        number = answer.headers["x-request-id"]
        headers = {name: value for name, value in answer.headers.items() if name not in ("x-request-id", "date")}
        return answer.status, answer.text.replace(number, ""), headers

    return shape(one) == shape(other)


# -- A: search, joins, inference --

#: Added to a search that is good by itself.
JOINS = [
    # A01 to A04: what would bring others' resources along.
    "_include=Observation:subject", "_include=Observation:performer:Practitioner", "_include:iterate=Observation:encounter", "_include:recurse=*",
    "_include:logical=Observation:subject", "_revinclude=Condition:subject", "_revinclude:iterate=*", "_revinclude=*:*", "_include=", "_includes=*",
    "_Include=*", "%5Finclude=*", "_include%00=*", "_contained=true", "_contained=both", "_containedType=contained",
    # A08 to A10: joins as oracles.
    "_has:Condition:patient:code=F33.1", "_has:Observation:patient:value-quantity=gt3", "_has:Group:member:_id=1",
    "_has:Observation:patient:_has:Condition:subject:code=F33.1", "patient.name=Z", "patient:Patient.identifier=1",
    "subject.general-practitioner.name=Z",
    "subject:Patient._has:Condition:subject:code=F33.1", "performer.name=Z", "encounter.diagnosis.condition=1", "patient:identifier=urn:x|1",
    "subject=Patient/p1006", "subject:Patient=p1006", "patient:missing=false", "patient:not=p1001", "Observation.patient=p1006", "patient%20=p1006",
    "_compartment=Patient/p1006", "_query=everyone", "_list=$current-problems", "_list=1", "_in=Group/1", "_not-in=Group/1",
    "_type=Observation,Condition",
    # A11 to A17: looking where one may not.
    "_filter=code%20eq%201%20or%20true", "_text=x", "_content=x", "note=x", "_profile=x", "_security=PSY", "_security:not=N", "_tag=x", "_source=x",
    "_language=zh", "identifier=x", "value-string:contains=x", "value-concept:in=http://x", "combo-code-value-quantity=1$gt3", "component-code=1",
    "code-value-concept=a$b", "data-absent-reason:missing=true", "value-quantity=gt3", "value-quantity=sa3", "value-quantity:missing=true",
    "code:in=http://x", "code:not-in=http://x", "code:above=1", "code:below=1", "code:not=1", "code:text=x", "code:of-type=a|b|c",
    "code:missing=false",
    "code:exact=1", "date:missing=true", "status:not=final", "category:not=laboratory", "_id:not=hidden", "_id:missing=false",
    "_id=p1001-obs-001,hidden",
    "_lastUpdated:missing=true", "_lastUpdated=gt2020,lt2030", "date=gt2020&date=lt2030",
    # B01, B02, B07: form of the result.
    "_summary=count", "_summary=true", "_summary=data", "_summary=text", "_summary=false", "_total=exact", "_total=", "_count=0", "_count=-1",
    "_count=1e3",
    "_count=%EF%BC%91", "_count=9999999", "_offset=1", "_getpages=1", "_getpagesoffset=1", "page=2", "_page=", "_page=AAAA", "_sort=-date",
    "_sort=_id",
    "_score=true", "_maxresults=1", "_graph=x", "_elements=meta.security", "_elements=*", "_elements=Observation.note", "_elements:exclude=status",
    "_elements=subject.display", "_elements=no-such", "_pretty=true", "_at=2020", "_since=2020", "_history=1", "_include=%2A", "_format=xml",
    "_format=application/fhir%2Bxml", "_format=ttl", "_format=html", "_format=ndjson", "_format=json,xml", "_format=", "_fhirpath=note", "_mask=x",
    "javascript:alert(1)=1", "\u60a3\u8005=p1006", "patient=p1006", "patient=p1001&patient=p1006", "patient[]=p1006", "PATIENT=p1006",
    ";patient=p1006",
]  # fmt: skip


@pytest.mark.parametrize("query", JOINS)
def test_a01_to_b19_what_is_not_in_the_grammar_is_refused_by_get_and_by_post(its, query):
    """And with the patient of somebody else it is refused in the same words, before anything is read."""
    told = []
    for patient in ("p1001", "p1006", "never-was"):
        whole = f"patient={patient}&{query}".encode()
        address = whole if all(33 <= one < 127 for one in whole) else query_written(whole)
        answer = its.call("GET", f"/fhir/Observation?{address.decode()}", ("Accept-Language", "en"), ("Prefer", "handling=lenient"), who="client")
        told.append(clean(answer, "/fhir/Observation", 400, 403, 404, 406))
    if told[0].status != 404:  # A page that was never given out is looked for behind the gate.
        assert all(alike(told[0], other) for other in told[1:])
    answer = its.call("POST", "/fhir/Observation/_search", ("Content-Type", FORM), ("Accept-Language", "en"), who="client", body=address)
    clean(answer, "/fhir/Observation", 400, 403, 404, 406)


def query_written(raw: bytes) -> bytes:
    return b"".join(b"%%%02X" % one if not 33 <= one < 127 else bytes((one,)) for one in raw)


#: A21, A27, B13, D14: other ways of writing an id; none is a way to a resource of somebody else, nor to one that is withheld.
IDS = [
    "hidden", "of-another", "never-was", "HIDDEN", "hidden%20", "%20hidden", "hidden%00", "hidden/", "./hidden", "../Condition/hidden",
    "..%2FCondition%2Fhidden",
    "hidden;v=1", "hidden%3Fx=1", "hidden%23", "hidden.json", "hidden%2Fhistory", "hidd%65n", "%68idden", "h\u0456dden", "hidden%E2%80%8B",
    "hidden,of-another",
    "hidden|1", "urn:uuid:hidden", "Condition%2Fhidden", "http:%2F%2Fx%2FCondition%2Fhidden", "*", "%25", "_search", "$meta", "$validate", "_history",
    "hidden/_history", "hidden/_history/1", "hidden/_history/0", "hidden/_history/99999999999999999999", "hidden/$meta", "hidden/$graphql",
    "hidden/note",
    "hidden/*", "' OR 1=1 --", "1;DROP%20TABLE%20resource",
]  # fmt: skip


@pytest.mark.parametrize("name", IDS)
def test_b11_b13_d14_ids_written_otherwise(its, name):
    answer = its.call("GET", query_written(f"/fhir/Condition/{name}".encode()).decode(), ("Accept-Language", "en"), who="client")
    clean(answer, "/fhir/Condition", 400, 404, 405)


#: Paths that lead nowhere, by tricks of writing them.
PATHS = [
    "//fhir/Patient/p1006", "/fhir//Patient/p1006", "/fhir/./Patient/p1006", "/fhir/metadata/../Patient/p1006", "/fhir/metadata/..%2fPatient/p1006",
    "/fhir/metadata;/../Patient/p1006", "/FHIR/Patient/p1006", "/fhir/patient/p1006", "/fhir/PATIENT/p1006", "/%66hir/Patient/p1006",
    "/fhir%2FPatient%2Fp1006",
    "/fhir/Patient%00/p1006", "/fhir/Patient;x/p1006", "/fhir/Patient.json/p1006", "/fhir/Patient/p1006?", "/fhir/Patient/p1006?&",
    "/fhir/Patient/p1006#x",
    "/fhir/%50atient/p1006", "/fhir/Patient/p%31006", "/fhir/Patient/p1006/$everything/", "/fhir/Patient/p1006/%24everything",
    "/fhir/Patient/p1006/$Everything",
    "/fhir/Patient/$everything", "/fhir/Patient/p1006/Observation", "/fhir/Patient/p1001/Observation", "/fhir/Patient/p1001/*",
    "/fhir/Patient/_history",
    "/fhir/_history", "/fhir/_search", "/fhir", "/fhir/", "/fhir/Patient/$everything?patient=p1006", "/fhir/Encounter/p1006-enc-001/$everything",
    "/fhir/Group/1/$everything", "/fhir/Composition/$document", "/fhir/$graphql?query={Patient(id:p1006){name{text}}}",
    "/fhir/Patient/p1006/$graphql?query={name{text}}", "/fhir/$meta", "/fhir/Patient/$lastn", "/fhir/Observation/$lastn?patient=p1006",
    "/fhir/Observation/$stats",
    "/fhir/Patient/p1006/$summary", "/fhir/Patient/$ips", "/fhir/$process-message", "/fhir/$convert", "/fhir/$snapshot", "/fhir/Patient/$merge",
    "/fhir/Patient/$diff",
    "/fhir/$reindex", "/fhir/$expunge", "/fhir/$hapi.fhir.replace-references", "/fhir/Binary/x", "/fhir/DocumentReference/x/$binary-access-read",
    "/fhir/Bundle/x",
    "/fhir/List/$find", "/fhir/Subscription", "/fhir/$get-resource-counts", "/fhir/Patient/$export-poll-status", "/fhir/$import",
    "/fhir/$davinci-data-export",
    "/actuator/env", "/swagger-ui/index.html", "/graphql", "/fhir-server/api/v4/Patient/p1006", "/.env", "/.git/config", "/static/../broker/app.py",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_b11_c03_c04_c20_paths(its, path):
    for who in ("client", ""):
        answer = its.call("GET", query_written(path.encode()).decode(), ("Accept-Language", "en"), who=who)
        fhir = answer.headers.get("content-type", "").startswith(FHIR)
        clean(answer, "/fhir/x" if fhir else "/", 400, 401, 403, 404, 405, 307, 308)
        assert answer.status not in (307, 308) or "p1006" not in answer.headers.get("location", "").replace("/p1006", "")


# -- B: methods, headers, formats, pages --


@pytest.mark.parametrize(
    "method", ["HEAD", "OPTIONS", "TRACE", "CONNECT", "PUT", "PATCH", "DELETE", "PROPFIND", "SEARCH", "QUERY", "LINK", "get", "GETX", "X"]
)
@pytest.mark.parametrize(
    "path", ["/fhir/Patient/p1001", "/fhir/Condition/hidden", "/fhir/Observation?patient=p1001", "/fhir/Patient/p1001/$everything", "/releases"]
)
def test_b20_methods(its, method, path):
    headers = [("X-HTTP-Method", "GET"), ("X-HTTP-Method-Override", "GET"), ("X-Method-Override", "GET"), ("Accept-Language", "en")]
    with dial(its.story) as line:
        line.sendall(wire(method, path, ("Authorization", its.credentials["client"]), ("Connection", "close"), *headers))
        line.shutdown(socket.SHUT_WR)
        told = b"".join(iter(lambda: line.recv(65_536), b""))
    head, _, body = told.partition(b"\r\n\r\n")
    assert head.split(b" ")[1] in (b"400", b"404", b"405", b"501"), head
    assert "张秀英".encode() not in body
    assert SECRET.encode() not in told
    assert method != "HEAD" or not body


CONDITIONS = [
    ("If-None-Match", "*"), ("If-None-Match", 'W/"1"'), ("If-None-Match", 'W/"1", W/"2"'), ("If-Match", "*"), ("If-Match", 'W/"1"'),
    ("If-Modified-Since", "Thu, 01 Jan 2099 00:00:00 GMT"), ("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT"), ("If-Range", 'W/"1"'),
    ("Range", "bytes=0-10"), ("Range", "bytes=0-0,5-9"), ("If-None-Exist", "identifier=x"), ("X-Provenance", "{}"), ("X-Security-Context",
    "Patient/p1006"),
    ("X-Consent-Override", "true"), ("X-Purpose-Of-Use", "BTG"), ("X-Forwarded-User", "deng.li"), ("X-Forwarded-For", "127.0.0.1"),
    ("X-Original-URL", "/fhir/Patient/p1001"), ("X-Rewrite-URL", "/fhir/Patient/p1001"), ("X-Accel-Redirect", "/fhir/Patient/p1001"),
    ("X-Patient-Id", "p1001"),
    ("X-Request-Id", "1"), ("Forwarded", "for=127.0.0.1;host=x"), ("Prefer", "return=OperationOutcome"), ("Prefer", "respond-async"),
    ("Cache-Control", "only-if-cached"),
    ("Accept-Encoding", "gzip, br, deflate"), ("Accept", "application/fhir+json; q=0.5"), ("Accept-Charset", "utf-7"), ("Origin", "null"),
]  # fmt: skip


@pytest.mark.parametrize("header", CONDITIONS, ids="=".join)
def test_b13_b20_e07_headers_tell_nothing_of_what_is_there(its, header):
    """A conditional read is no oracle: withheld, another's and never there answer the same, whatever precondition is sent."""
    kept = its.call("GET", "/fhir/Condition/hidden", header, ("Accept-Language", "en"), who="client")
    clean(kept, "/fhir/Condition/hidden", 404)
    for path in ("/fhir/Condition/of-another", "/fhir/Condition/never-was", "/fhir/Patient/p1006", "/fhir/Patient/never-was"):
        assert alike(kept, its.call("GET", path, header, ("Accept-Language", "en"), who="client")), path
    searched = [
        its.call("GET", f"/fhir/Observation?patient={one}", header, ("Accept-Language", "en"), who="client")
        for one in ("p1006", "p1004", "never-was")
    ]
    clean(searched[0], "/fhir/Observation", 403)
    assert all(alike(searched[0], one) for one in searched[1:])


XML = [
    "application/fhir+xml", "application/xml", "text/xml", "application/xml+fhir", "application/fhir+turtle", "text/turtle", "application/x-turtle",
    "text/csv",
    "application/pdf", "application/fhir+ndjson", "application/fhir+json; fhirVersion=5.0", "application/fhir+json; fhirVersion=1.0",
    "application/vnd.api+json",
    "application/cbor", "image/png", "application/fhir+json;q=0", "*/*;q=0",
]  # fmt: skip
#: Everything under /fhir that answers with a resource, whose-ever door it is.
DOORS = [
    ("client", "GET", "/fhir/Patient/p1001"), ("client", "GET", "/fhir/Observation?patient=p1001"), ("client", "GET",
    "/fhir/Patient/p1001/$everything"),
    ("client", "POST", "/fhir/Observation/_search"), ("client", "POST", "/fhir/Patient/$match"), ("", "GET", "/fhir/metadata"),
    ("manager", "GET", "/fhir/Consent?patient=p1001"),
]  # fmt: skip


@pytest.mark.parametrize("accept", XML)
def test_b19_json_is_the_one_format_and_says_so(its, accept):
    """No library reads and writes FHIR XML of R4 without changing it, so that there is none: 406 by Accept and by _format, 415 for a body."""
    for who, method, path in DOORS:
        kind, body = (FORM, b"patient=p1001") if path.endswith("_search") else (FHIR, json.dumps(meant(its)).encode())
        sent = {"body": body} if method == "POST" else {}
        headers = [("Content-Type", kind)] if method == "POST" else []
        answer = its.call(method, path, *headers, ("Accept", accept), ("Accept-Language", "en"), who=who, **sent)
        clean(answer, path, 406)
        assert "json" in answer.json()["issue"][0]["details"]["text"].lower() + answer.json()["issue"][0].get("diagnostics", "").lower(), path
        if "/" in accept and ";" not in accept and method == "GET":
            mark = "&" if "?" in path else "?"
            by_format = its.call(method, f"{path}{mark}_format={accept.replace('+', '%2B')}", ("Accept-Language", "en"), who=who)
            clean(by_format, path, 406)


@pytest.mark.parametrize("kind", ["application/fhir+xml", "application/xml", "text/xml", "text/turtle", "application/x-protobuf", "text/plain"])
def test_b19_bodies_are_json(its, kind):
    body = b'<Parameters xmlns="http://hl7.org/fhir"/>'
    doors = (
        ("client", "/fhir/Patient/$match"),
        ("manager", "/fhir/Consent/$fileConsent"),
        ("manager", "/fhir/Consent"),
        ("client", "/fhir/$export"),
    )
    for who, path in doors:
        answer = its.call("POST", path, ("Content-Type", kind), ("Accept-Language", "en"), who=who, body=body)
        clean(answer, path, 415)


def meant(its: Caller) -> dict:
    one = its.story.cast.patients["p1001"]
    patient = {"resourceType": "Patient", "identifier": [one.identifier], "name": [{"text": one.name}]}
    return {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": patient}]}


def test_b03_pages_are_not_spliced(its):
    """A page link says where to go on in its own answer, for its own caller, and nowhere else."""

    def following(path: str) -> str:
        page = its.call("GET", path, who="client").json()
        return next(link["url"] for link in page["link"] if link["relation"] == "next").removeprefix(its.story.base_url)

    observations, conditions = following("/fhir/Observation?patient=p1001&_count=3"), following("/fhir/Patient/p1001/$everything?_count=3")
    page = observations.partition("_page=")[2]
    other = conditions.partition("_page=")[2].partition("&")[0]
    spliced = [
        observations.replace(page, other), observations.replace("p1001", "p1006"), observations.replace("/Observation", "/Condition"),
        observations + "&_total=accurate",
        observations.replace(page, page.swapcase()), observations.replace(page, page[:-1]), observations.replace(page, page + "A"),
        observations.replace(page, page * 2),
        f"/fhir/Condition?patient=p1001&_count=3&_page={page}", f"/fhir/Patient/p1001/$everything?_count=3&_page={page}",
        f"/fhir/Observation?patient=p1001&_page={page}",
    ]  # fmt: skip
    for path in spliced:
        clean(its.call("GET", path, ("Accept-Language", "en"), who="client"), path, 400, 403, 404)
    assert its.call("GET", observations, who="client").status == 200
    assert its.call("GET", observations, who="client").status == 200  # Twice is no harm: it is judged again each time.


# -- C: bundles, writes, bulk --

ENTRIES = [
    {"request": {"method": "GET", "url": "Patient/p1006"}}, {"request": {"method": "GET", "url": "Observation?patient=p1006"}},
    {"request": {"method": "GET", "url": "Patient/p1006/$everything"}}, {"request": {"method": "GET", "url": "http://localhost/fhir/Patient/p1006"}},
    {"request": {"method": "PUT", "url": "Patient/p1001"}, "resource": {"resourceType": "Patient", "id": "p1001"}},
    {"request": {"method": "DELETE", "url": "Patient?_id=p1001"}}, {"request": {"method": "POST", "url": "Patient", "ifNoneExist": "identifier=x"}},
]  # fmt: skip


@pytest.mark.parametrize("kind", ["batch", "transaction", "collection", "message", "document", "history", ""])
def test_c07_c09_c11_c12_no_bundle_is_taken_from_a_client(its, kind):
    body = json.dumps({"resourceType": "Bundle", "type": kind, "entry": ENTRIES}).encode()
    for path in ("/fhir", "/fhir/", "/fhir/Bundle", "/fhir/$process-message", "/releases"):
        for media in (FHIR, JSON):
            answer = its.call("POST", path, ("Content-Type", media), ("Accept-Language", "en"), who="client", body=body)
            clean(answer, path, 400, 404, 405, 307, 308, 422)


@pytest.mark.parametrize(
    "path", ["/fhir/Patient", "/fhir/Observation", "/fhir/Patient/p1001", "/fhir/Patient?identifier=x", "/fhir/Condition/hidden", "/fhir/AuditEvent"]
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_c11_c12_nothing_is_written(its, method, path):
    body = json.dumps({"resourceType": "Patient", "id": "p1001", "active": False}).encode()
    headers = [("Content-Type", FHIR), ("If-None-Exist", "identifier=x"), ("If-Match", 'W/"1"'), ("Accept-Language", "en")]
    answer = its.call(method, path, *headers, who="client", body=body)
    clean(answer, path, 400, 401, 403, 404, 405)
    clean(its.call("GET", "/fhir/Patient/p1001", who="client"), path, 200)


BULK = [
    "_type=Consent", "_type=AuditEvent", "_type=*", "_typeFilter=Condition%3Fcode%3DF33.1%26_include%3D*",
    "_typeFilter=Patient%3F_has:Condition:subject:code%3DF33.1",
    "_typeFilter=Condition%3Fpatient%3Dp1006", "patient=Patient/p1006", "_outputFormat=application/fhir%2Bxml", "_outputFormat=text/csv",
    "includeAssociatedData=All",
    "_query=x", "organizeOutputBy=Patient", "allowPartialManifests=true", "_until=2030-01-01T00:00:00Z", "_since=2020",
    "_elements=Patient.name.text", "_mdm=true",
    "exportId=1", "_since=2020-01-01T00:00:00Z&_since=2021-01-01T00:00:00Z", "_container=x", "_anonymizationConfig=x", "_isHistory=true",
    "outputUrl=http://x/",
]  # fmt: skip


@pytest.mark.parametrize("query", BULK)
def test_c16_what_an_export_does_not_take(its, query):
    for path in ("/fhir/$export", "/fhir/Patient/$export", "/fhir/Group/{number}/$export"):
        answer = its.call("GET", f"{path}?{query}", ("Prefer", "respond-async"), ("Accept", FHIR), ("Accept-Language", "en"), who="client")
        clean(answer, path, 400, 403, 404)


@pytest.mark.parametrize(
    "group", ["1", "p1006", "*", "SA-2026-000099", "..", "%2e%2e", "SA-2026-000001%00", "SA-2026-000001,SA-2026-000002", "sa-2026-000001"]
)
def test_c16_another_group_is_none(its, group):
    answer = its.call("GET", f"/fhir/Group/{group}/$export", ("Prefer", "respond-async"), ("Accept", FHIR), ("Accept-Language", "en"), who="client")
    clean(answer, "/fhir/Group", 400, 404)


@pytest.mark.parametrize(
    "name", ["", "1", "../1", "%2e%2e", "00000000-0000-4000-8000-000000000000.ndjson", "outcome.ndjson", "*.ndjson", "Patient.ndjson", "a" * 3000]
)
def test_c15_files_are_not_guessed(its, name):
    for export in ("00000000-0000-4000-8000-000000000000", "%2e%2e"):
        for who in ("client", ""):
            for method in ("GET", "DELETE"):
                path = f"/fhir/$export/{export}/{name}".rstrip("/") if name else f"/fhir/$export/{export}"
                answer = its.call(method, path, ("Accept-Language", "en"), who=who)
                clean(answer, "/fhir/$export", 401 if not who else 404, 404, 405, 400)


# -- sizes and transport --

BOMBS = {
    "gzip": gzip.compress(b"a" * 5_000_000), "deflate": zlib.compress(b"a" * 5_000_000), "x-gzip": gzip.compress(gzip.compress(b"{}" * 1_000_000)),
    "br": b"\x8b\x02\x80", "gzip, gzip": gzip.compress(gzip.compress(b"a" * 1_000_000)), "identity, gzip": gzip.compress(b"{}"),
    "zstd": b"(\xb5/\xfd", "chunked": b"{}",
}  # fmt: skip


@pytest.mark.parametrize("coding", BOMBS)
def test_bodies_that_are_packed_are_not_unpacked(its, coding):
    for who, path, kind in (
        ("client", "/releases", JSON),
        ("client", "/fhir/Patient/$match", FHIR),
        ("", "/oauth2/token", FORM),
        ("manager", "/fhir/Consent/$fileConsent", FHIR),
    ):
        answer = its.call("POST", path, ("Content-Type", kind), ("Content-Encoding", coding), ("Accept-Language", "en"), who=who, body=BOMBS[coding])
        clean(answer, path, 400, 401, 413, 415, 422)
    its.well()


SMUGGLED = [
    "Content-Length: 0\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "Transfer-Encoding: xchunked",
    "Transfer-Encoding : chunked\r\nContent-Length: 5", "Transfer-Encoding: chunked, chunked", "Content-Length: +5", "Content-Length: 5, 5",
    "Content-Length: 0x5",
    "Transfer-Encoding:\x0bchunked\r\nContent-Length: 5", "Content-Length: 5\r\n Content-Length: 50", "Content-Length: 5\r\nContent-length: 6",
]  # fmt: skip


@pytest.mark.parametrize("headers", SMUGGLED)
def test_requests_are_not_smuggled_past_their_own_token(its, headers):
    """A second request hidden in the first one's body has no token of its own, and gets nothing by the first one's."""
    first = "POST /fhir/Observation/_search HTTP/1.1\r\nHost: a\r\nContent-Type: " + FORM
    first += f"\r\nAuthorization: {its.credentials['client']}\r\n{headers}\r\n\r\n"
    hidden = b"0\r\n\r\nGET /fhir/Patient/p1001 HTTP/1.1\r\nHost: a\r\nAccept-Language: en\r\nConnection: close\r\n\r\n"
    with dial(its.story) as line:
        line.settimeout(3)
        line.sendall(first.encode("latin-1") + hidden)
        line.shutdown(socket.SHUT_WR)
        told = b""
        try:
            while data := line.recv(65_536):
                told += data
        except (TimeoutError, ConnectionError):
            pass
    assert "张秀英".encode() not in told
    assert all(status[:3] in (b"400", b"401", b"411", b"415", b"422", b"501") for status in told.split(b"HTTP/1.1 ")[1:]), told[:300]


def test_pipelined_requests_each_bring_their_own_token(its):
    """Two on one connection, sent at once: the second one without a token is refused, and the answers come in order."""
    good = wire("GET", "/fhir/Patient/p1001", ("Authorization", its.credentials["client"]))
    bare = wire("GET", "/fhir/Patient/p1001", ("Accept-Language", "en"))
    with dial(its.story) as line:
        line.sendall(bare)
        assert answer_on(line).status == 401
        line.sendall(good)
        assert answer_on(line).status == 200
        line.sendall(bare)
        refused = answer_on(line)
        assert refused.status == 401
        assert "张秀英" not in refused.text


def test_b23_no_origin_is_let_in_but_to_discovery(its):
    for path, who in (
        ("/fhir/Patient/p1001", "client"),
        ("/fhir/Observation?patient=p1001", "client"),
        ("/releases/x", "client"),
        ("/api/v1/me", "manager"),
    ):
        for origin in ("https://evil.example", "null", its.story.base_url, "http://localhost"):
            for method, more in (
                ("GET", ()),
                ("OPTIONS", (("Access-Control-Request-Method", "GET"), ("Access-Control-Request-Headers", "authorization"))),
            ):
                answer = its.call(method, path, ("Origin", origin), *more, ("Accept-Language", "en"), who=who)
                assert not any(name.startswith("access-control-allow") for name in answer.headers), (method, path)
