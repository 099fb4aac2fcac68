"""What reads bytes from outside, and what it may say of them: every target gives an answer or one of the refusals named here.

`make fuzz` drives these with Atheris (coverage-guided); ``tests/attacks/test_fuzzed_parsers.py`` plays the seeds and seeded changes of them in every
test run. What a fuzzer found is added to the seeds.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

from broker.consent.compiled import Residual, compile_statement
from broker.consent.offline import Offline
from broker.consent.related import Related
from broker.consent.values import Use
from broker.crypto import Keys
from broker.errors import BrokerError
from broker.fhir.minimise import Withheld, compiled
from broker.fhir.parse import read_json
from broker.fhir.plan import ReleasePlan
from broker.fhir.references import mentioned, target_of, tells_nothing
from broker.fhir.validate import problems
from broker.identity import authorization_details, jose, scopes
from broker.records.preparing import Surroundings, prepare
from broker.records.sources import Entry, bundle_part
from broker.release import match_request, paging, query
from broker.release.answers import Refusal
from broker.release.filters import matcher

_KEYS = Keys(kek=bytes(32), token_signing_pem=b"", log_signing_pem=None)
_BOUND = paging.Bound("client", UUID(int=1), "Observation?patient=p1", 3, "plan")
_PLAN = compiled(
    ReleasePlan.from_json(
        {
            "types": {"Observation": {"elements": ["status", "code", "subject", "effective", "value", "component", "hasMember", "performer"]}},
            "labels": {"deny": [], "ceiling": "N"},
        }
    )
)
_SECURITY = b'[{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"N"}]'
_USE = Use(frozenset({"Organization/o1"}), "TREAT", 1_767_225_600)
_RESOURCE = {"resourceType": "Observation", "id": "o1", "subject": {"reference": "Patient/p1"}, "meta": {"security": [{"code": "N"}]}}


def _holds(true: bool) -> None:
    if not true:
        raise AssertionError


def _json(data: bytes) -> Any:
    return read_json(data, max_bytes=100_000)


def json_reading(data: bytes) -> None:
    """JSON from outside, and what R4 says of it."""
    found = _json(data)
    _holds(all(problem.path and problem.code for problem in problems(found)))


def ingesting(data: bytes) -> None:
    """A Bundle or a resource on its way into the store."""
    around = Surroundings(unnamed=lambda _: "made")
    for entry in bundle_part(data).entries:
        if isinstance(entry, Entry):
            prepare(entry, around)


def searching(data: bytes) -> None:
    """The query grammar, and the filters that it lets through."""
    pairs = parse_qsl(data.decode("utf-8", "replace"), keep_blank_values=True)
    for kind in ("Observation", "Patient", "Encounter"):
        wanted = query.search(kind, pairs)
        if not isinstance(wanted, Refusal):
            _holds(bool(wanted.patient))
            fits = matcher(wanted.filters)
            if fits is not None:
                fits({**_RESOURCE, "status": "final", "code": {"coding": [{"code": "1"}]}})
    query.everything("p1", pairs)
    query.read("Observation", data.decode("utf-8", "replace"), [])


def page_links(data: bytes) -> None:
    """A sealed page link: nothing but a link of ours opens."""
    _holds(paging.opened(_KEYS, _BOUND, data.decode("utf-8", "replace")) is None)


def tokens(data: bytes) -> None:
    """A signed token, its scopes and its authorization details, before anything is believed."""
    text = data.decode("utf-8", "replace")
    scopes.parse_request(text)
    scopes.parse_smart(text)
    authorization_details.parse(text)
    jose.read(text)


def consents(data: bytes) -> None:
    """A Consent, read and asked; what was read compiles, and reads the same again."""
    found = _json(data)
    if isinstance(found, dict):
        offline = Offline([found], _USE, Related([]), lambda _: ("N",))
        for reading in offline.readings:
            residual = compile_statement(reading.statement, "c", 1)
            _holds(Residual.from_json("c", 1, residual.to_json()) == residual)
        offline.verdict(_RESOURCE)


def matching(data: bytes) -> None:
    """Who is meant by ``$match``."""
    match_request.read_request(_json(data))


def reducing(data: bytes) -> None:
    """A stored body: reduced by both paths alike, and without its references."""
    item = (data, _SECURITY, 1, "2026-01-01T00:00:00.000Z")
    together = _PLAN.reduce_many("Observation", [item] * 5)
    alone = _PLAN.reduce_many("Observation", [item])
    _holds([str(one) for one in together] == [str(alone[0])] * 5)
    if isinstance(alone[0], bytes):
        gone = {one for one in mentioned([alone[0]]) if target_of(one) is None or not tells_nothing(one)}
        _holds(mentioned([_PLAN.without("Observation", alone[0], gone)]).isdisjoint(gone))


#: Target → what it may refuse with. Anything else is a mistake of ours.
TARGETS: dict[str, Callable[[bytes], None]] = {
    "json": json_reading,
    "ingest": ingesting,
    "search": searching,
    "page": page_links,
    "token": tokens,
    "consent": consents,
    "match": matching,
    "reduce": reducing,
}
REFUSALS = (BrokerError, Withheld, jose.TokenUnreadable)

_OBSERVATION = (
    b'{"resourceType":"Observation","id":"o1","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"2339-0"}],"text":"x"},'
    b'"subject":{"reference":"Patient/p1","display":"x"},"effectiveDateTime":"2026-01-01T08:00:00+08:00","valueQuantity":{"value":13.20,"unit":"g"},'
    b'"hasMember":[{"reference":"Observation/o2"},{"reference":"#c"}],"_status":{"extension":[{"url":"u","valueString":"x"}]}}'
)
_CONSENT = (
    b'{"resourceType":"Consent","id":"c1","status":"active","scope":{"coding":[{"code":"patient-privacy"}]},"patient":{"reference":"Patient/p1"},'
    b'"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"dateTime":"2026-01-01","policyRule":{"coding":[{"code":"OPTIN"}]},'
    b'"provision":{"type":"permit","period":{"start":"2026-01-01","end":"2027-01-01"},"actor":[{"role":{"coding":[{"code":"PRCP"}]},'
    b'"reference":{"reference":"Organization/o1"}}],"provision":[{"type":"deny","securityLabel":[{"code":"PSY"}],"purpose":[{"code":"TREAT"}]}]}}'
)
_MATCH = (
    b'{"resourceType":"Parameters","parameter":[{"name":"resource","resource":{"resourceType":"Patient","name":[{"text":"x"}],'
    b'"identifier":[{"system":"urn:x","value":"1"}],"birthDate":"1980-05-06"}},{"name":"onlyCertainMatches","valueBoolean":true}]}'
)
SEEDS: dict[str, tuple[bytes, ...]] = {
    "json": (_OBSERVATION, _CONSENT, b'{"a":1e400}', b'{"a":"\\ud800"}', b"[" * 90, b"\xef\xbb\xbf{}", b'{"a":1,"a":2}', b"NaN", b"1" * 5000),
    "ingest": (
        b'{"resourceType":"Bundle","type":"searchset","entry":[{"fullUrl":"urn:uuid:1","resource":' + _OBSERVATION + b"}]}",
        _OBSERVATION,
        b'{"resourceType":"Bundle","type":"transaction","entry":[{"request":{"method":"PUT","url":"Patient/1"},"resource":{"resourceType":"Patient"}}]}',
    ),
    "search": (
        b"patient=p1&_count=3&_elements=code,status&_total=accurate&date=ge2026-01-01T00:00:00%2B08:00&code=http://loinc.org|2339-0,1",
        b"_id=p1&_lastUpdated=lt0001",
        b"patient=p1&date=ge9999-12-31",
        b"_type=Observation&_since=2026-01-01T00:00:00Z&start=2026-01-01&end=2026-02-01&_page=x",
    ),
    "page": (b"AAAA", b"-_-_", "页".encode(), b"=" * 9, b""),
    "token": (
        b"eyJhbGciOiJFUzM4NCJ9.eyJzdWIiOiJ4In0.c2ln",
        b"system/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory application:SA-2026-000001",
        b'[{"type":"data_release","application":"SA-2026-000001","datatypes":["Observation"],"purpose":"TREAT"}]',
    ),
    "consent": (_CONSENT,),
    "match": (_MATCH,),
    "reduce": (_OBSERVATION, _OBSERVATION.replace(b"#c", b"Patient/x?y=z"), _OBSERVATION.replace(b"13.20", b"1e9999")),
}
_PIECES = (
    b'"', b"\\", b"{}", b"[]", b"null", b"true", b"-0", b"1e999", b"\x00", b"\xff", b"\\u0000", b"\\ud800", b",", b":", b"#", b"?", b"|", b"%00",
    b'"extension":[{}],', b'"modifierExtension":[{"url":"u"}],', b'"resourceType":"Patient",', "患者".encode(), b"9" * 40, b"2026-13-40", b"Patient/",
)  # fmt: skip


def run(name: str, data: bytes) -> None:
    """One input; raises whatever is no refusal."""
    with suppress(*REFUSALS):
        TARGETS[name](data)


def changed(name: str, count: int, seed: int = 1) -> Iterator[bytes]:
    """Seeds of a target with bytes taken out, put in, doubled and swapped; the same for the same numbers."""
    chance = random.Random(f"{name} {seed}")  # noqa: S311  (a test's)
    for _ in range(count):
        data = bytearray(chance.choice(SEEDS[name]))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data) + 1)
            way = chance.randrange(4)
            if way == 0:
                del data[at : at + chance.randint(1, 12)]
            elif way == 1:
                data[at:at] = chance.choice(_PIECES)
            elif way == 2:
                data[at:at] = data[chance.randrange(len(data) + 1) :][: chance.randint(1, 60)]
            elif data:
                data[at % len(data)] = chance.randrange(256)
        yield bytes(data)
