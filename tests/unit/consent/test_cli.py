"""``broker consent evaluate`` and ``check`` as they are typed."""

from __future__ import annotations

import gzip
import json
import re

import pytest
from typer.testing import CliRunner

from broker.cli.consent import app
from tests.factories.consent import actors, concept, consent, labels, observation, provision, purposes


@pytest.fixture
def files(tmp_path):
    def write(name, value):
        path = tmp_path / name
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return str(path)

    return write


def run(*arguments):
    return CliRunner().invoke(app, [str(one) for one in arguments])


def evaluate(consents, resources, *more, actor=("Organization/a",), purpose="TREAT"):
    return run("evaluate", "--consent", *consents, "--resource", *resources, "--actor", *actor, "--purpose", purpose, *more)


GIVEN = consent(provision("permit", actors("Organization/a"), purposes("TREAT"), nested=[provision("deny", labels("PSY"))])) | {"id": "c1"}


def test_one_line_for_each_resource(files):
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"fullUrl": "urn:uuid:1", "resource": observation("two", label=("R", "PSY"))}, {"request": {}}, 1],
    }
    lines = b"\n".join(json.dumps(one).encode() for one in (observation("three", patient="p2"), observation("four", label=("N",)))) + b"\n\n"
    done = evaluate([files("c.json", GIVEN)], [files("one.json", observation("one")), files("b.json.gz", bundle), files("many.ndjson", lines)])
    assert done.exit_code == 0, done.output
    rows = [re.split(r" {2,}", line) for line in done.stdout.splitlines()]
    assert [(row[0], row[1]) for row in rows] == [
        ("permit", "Observation/one"),
        ("deny", "Observation/two"),
        ("silent", "Observation/three"),
        ("permit", "Observation/four"),
    ]
    assert rows[0][2] == "Consent/c1 Consent.provision"
    assert rows[1][2] == "Consent/c1 Consent.provision.provision[0]"


def test_options_may_also_be_repeated_and_json_is_machine_readable(files):
    one, two = files("one.json", GIVEN), files("two.json", consent(provision("deny", purposes("HRESCH"))))
    done = run(
        "evaluate", "--consent", one, "--consent", two, "--resource", files("r.json", observation()), "--actor", "Organization/b",
        "--actor", "Organization/a", "--purpose=TREAT", "--at", "2026-05-06", "--json",
    )  # fmt: skip
    assert json.loads(done.stdout) == [
        {
            "resource": "Observation/o1",
            "verdict": "permit",
            "reason": "provision",
            "consent": "Consent/c1",
            "provision": "Consent.provision",
            "not_understood": [],
        }
    ]


def test_a_resource_without_a_label_is_labelled_as_at_ingest(files):
    psychiatric = observation("sick", label=(), code=concept("http://hl7.org/fhir/sid/icd-10", "F32.1"))
    nothing = {key: value for key, value in observation("blank", label=()).items() if key != "code"}
    broken = {"resourceType": "Observation", "id": "broken", "subject": {"reference": "Patient/p1"}, "meta": {"security": 5}, "code": 3}
    done = evaluate(
        [files("c.json", GIVEN)],
        [files(f"{number}.json", one) for number, one in enumerate((observation("well", label=()), psychiatric, nothing, broken))],
    )
    assert [line[:6].strip() for line in done.stdout.splitlines()] == ["permit", "deny", "deny", "deny"]


def test_groups_come_from_related_and_replacing_is_told(files):
    group = {"resourceType": "Group", "id": "g", "actual": True, "member": [{"entity": {"reference": "Organization/a"}}]}
    to_group = consent(provision("permit", actors("Group/g")), dateTime="2026-03-01", sourceReference={"reference": "Consent/old"}) | {"id": "new"}
    old = consent(provision("deny"), dateTime="2026-02-01") | {"id": "old"}
    consents, resource = [files("a.json", to_group), files("b.json", old)], files("r.json", observation())
    with_group = evaluate(consents, [resource], "--related", files("g.json", group))
    assert with_group.stdout.startswith("permit")
    assert "Consent/old" in with_group.stderr
    without = evaluate(consents[:1], [resource])
    assert without.stdout.startswith("deny")
    assert "actor-unresolved" in without.stdout
    assert json.loads(evaluate(consents[:1], [resource], "--json").stdout)[0]["not_understood"][0]["path"] == "Consent.provision.actor[0].reference"


def test_two_consents_with_one_id_are_told_apart(files):
    done = evaluate([files("a.json", GIVEN), files("b.json", consent(provision("deny")) | {"id": "c1"})], [files("r.json", observation())])
    assert done.stdout.startswith("deny    Observation/o1  Consent/c1#2 ")


@pytest.mark.parametrize(
    ("more", "code"),
    [(("--purpose", "LOVE"), 2), (("--at", "soon"), 2), (("--actor", "somebody"), 2), (("--related", "/nowhere"), 1), (("--unknown",), 2)],
)
def test_wrong_use(files, more, code):
    done = evaluate([files("c.json", GIVEN)], [files("r.json", observation())], *more)
    assert (done.exit_code, done.stdout) == (code, "")
    assert done.stderr


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"a":1,"a":2}', b"\xff", b'{"resourceType":"Patient"}'])
def test_files_that_are_no_consents(files, content):
    for done in (evaluate([files("c.json", content)], [files("r.json", observation())]), run("check", files("d.json", content))):
        assert done.exit_code == 1


def test_check(files):
    good = run("check", files("c.json", GIVEN))
    assert good.exit_code == 0
    assert good.stdout.startswith("typed-root, explicit nesting\n")
    assert "enforced  Consent.provision.provision[0].securityLabel[0]" in good.stdout
    bad = run("check", files("d.json", GIVEN | {"implicitRules": "urn:x", "category": "x"}))
    assert bad.exit_code == 1
    assert "refused   Consent.implicitRules" in bad.stdout
    assert "refused   Consent.category" in bad.stdout
    report = json.loads(run("check", files("e.json", GIVEN), "--json").stdout)
    assert (report["enforceable"], report["dialect"]) == (True, "typed-root")
    two = run("check", files("f.ndjson", b"\n".join(json.dumps(GIVEN).encode() for _ in range(2))))
    assert two.exit_code == 1


def test_check_resolves_groups_that_are_given(files):
    group = {"resourceType": "Group", "id": "g", "actual": True, "member": [{"entity": {"reference": "Organization/a"}}]}
    given = files("c.json", consent(provision("permit", actors("Group/g"))))
    assert run("check", given).exit_code == 1
    assert run("check", given, "--related", files("g.json", group)).exit_code == 0
