"""An auditor with a USB stick, the log's public key and Go's own tools confirms a quarter's disclosures in our absence (issue: the disclosure log).

The hospital hands over a folder and says what it sent. The auditor has the key, from elsewhere, and a checkpoint kept since the quarter
before. Nothing of the broker runs where the stick is read: two programs that share no line with it say what was disclosed, and the
recipient's own log agrees.
"""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx2
import pytest
from typer.testing import CliRunner

from broker import clock
from broker import settings as settings_module
from broker.audit.note import Verifier
from broker.cli import app
from broker.demo.client import expect
from broker.demo.story import TREATMENT
from broker.release.receiving import Given, receipt_file, receive

ROOT = Path(__file__).resolve().parents[2]
GO_PROGRAM = ROOT / ".cache" / "bin" / "log-verifier"
PATIENT = "p1001"


@pytest.fixture(scope="module")
def exchange(story):
    story.file_consent(PATIENT, "shengli", without=("PSY",))
    application = story.apply("gao.min", "shengli-cardiology", PATIENT, "TREAT", "consent", TREATMENT)
    story.decide(application["number"], "song.yi", "deng.li")
    return application["number"]


@pytest.fixture(scope="module")
def sent(story, exchange):
    """What the recipient received: for each release the answer's bytes and its manifest, as its own system keeps them."""
    system, kept = story.system("shengli-his"), []
    token = system.token(exchange)["access_token"]
    for _ in range(3):
        answer = expect(system.fetch("POST", "/releases", token, {"application": exchange, "patient": PATIENT}), 200)
        until = time.monotonic() + 60
        # The recipient has its last byte a moment before that is on record.
        while (manifest := system.fetch("GET", f"/releases/{answer.headers['Release-Id']}", token)).status_code == 404:
            assert time.monotonic() < until
            time.sleep(0.05)
        kept.append((answer.content, expect(manifest, 200).json()))
    story.verify_log()
    return kept


@pytest.fixture
def command(story, monkeypatch):
    """Runs the hospital's own commands."""
    chosen = story.installation.settings
    url = chosen.database_url.get_secret_value()
    values = {"DATABASE_URL": url, "VAR": chosen.var, "BASE_URL": chosen.base_url, "HOSPITAL": chosen.hospital, "LANGUAGE": "en"}
    for name, value in values.items():
        monkeypatch.setenv(f"BROKER_{name}", str(value))

    def run(*arguments):
        settings_module.settings.cache_clear()
        return CliRunner().invoke(app, [str(one) for one in arguments])

    return run


def receipts(kept):
    """The recipient's import log, as ``broker receive --receipt`` writes it."""
    at = clock.now().isoformat(timespec="seconds")
    return [json.loads(receipt_file(receive(given := Given(body, manifest=manifest)), given, at)) for body, manifest in kept]


def audit_event_of_import(receipt):
    """What a recipient's system that keeps an ATNA log says of the same: IHE BALP, PrivacyDisclosure.Recipient."""
    return {
        "resourceType": "AuditEvent",
        "type": {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "110107", "display": "Import"},
        "action": "C",
        "recorded": receipt["received_at"],
        "outcome": "0",
        "agent": [{"who": {"display": "his.shengli.example"}, "requestor": False}],
        "source": {"observer": {"display": "his.shengli.example"}},
        "entity": [
            {
                "what": {"identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{receipt['release']}"}},
                "detail": [{"type": "digest", "valueString": receipt["digest"]}],
            }
        ],
    }


def alone(*arguments):
    """A program without anything of ours around it: no environment, no network address, no database."""
    clean = {"PATH": os.environ["PATH"]}
    done = subprocess.run([str(one) for one in arguments], env=clean, cwd="/", capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


#: The second verifier as an auditor's own few lines use it: whole log, then the quarter's releases from the entries alone.
SECOND = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from outside_verifier import read_entries, verify
folder, vkey, saved, begin, end = Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]).read_bytes(), sys.argv[5], sys.argv[6]
tree = verify(folder, vkey, (saved,))
said = [json.loads(entry) for entry in read_entries(folder, tree.size)]
ended = {one["release"]: one for one in said if one["type"] in ("release.sent", "release.partial", "release.unknown")}
for one in said:
    if one["type"] == "release.permitted" and begin <= one["t"] < end and one["release"] in ended:
        print(one["release"], one["recipient"], ended[one["release"]]["facts"]["items"])
"""


@pytest.mark.peers
def test_a_quarter_is_confirmed_without_us(story, exchange, sent, command, tmp_path):
    if not GO_PROGRAM.exists():
        pytest.skip("no peers: install Go and run `make peers`")
    today = clock.now().astimezone(ZoneInfo(story.installation.settings.time_zone))
    quarter = f"{today.year}Q{(today.month + 2) // 3}"
    # From the quarter before: a checkpoint that the auditor kept.
    with story.installation.database.transaction() as session:
        early = session.connection().exec_driver_sql("SELECT note FROM log_checkpoint ORDER BY size LIMIT 1 OFFSET 1").scalar_one()
    kept = tmp_path / "checkpoint-of-last-quarter"
    kept.write_text(early)
    vkey = command("audit", "key").output.strip()
    assert vkey == Verifier.of(story.installation.settings.log_origin, story.installation.keys.log_signer).vkey
    exported = command("audit", "export", tmp_path / "stick")
    assert exported.exit_code == 0, exported.output
    stick = shutil.copytree(tmp_path / "stick", tmp_path / "elsewhere")

    code, out, error = alone(GO_PROGRAM, "-key", vkey, "-from", kept, "-quarter", quarter, stick)
    assert code == 0, error
    rows = list(csv.DictReader(io.StringIO(out.partition("verified:")[0])))
    ours = expect(story.person("deng.li").call("GET", f"/api/v1/transmissions?application={exchange}"), 200).json()
    assert {one["release"] for one in rows if one["application"] == exchange} == {one["release"] for one in ours}
    assert len(ours) == 3
    for one in rows:
        (same,) = [each for each in ours if each["release"] == one["release"]]
        assert (one["recipient"], one["purpose"], int(one["items"]), one["outcome"]) == ("shengli-cardiology", "TREAT", same["items"], "sent")
        assert one["manifest"] == same["manifest"]

    begin, end = "2020-01-01", (today + timedelta(days=2)).strftime("%Y-%m-%d")
    code, out, error = alone(sys.executable, "-c", SECOND, ROOT / "tests", stick, vkey, kept, begin, end)
    assert code == 0, error
    assert sorted(out.splitlines()) == sorted(f"{one['release']} {one['recipient']} {one['items']}" for one in rows)

    # One entry of the stick says something else: neither lists anything.
    (bundle,) = sorted((stick / "tile" / "entries").rglob("*"))[-1:]
    bundle.write_bytes(bundle.read_bytes().replace(b'"type":"release.sent"', b'"type":"release.sant"', 1))
    code, out, error = alone(GO_PROGRAM, "-key", vkey, "-from", kept, "-quarter", quarter, stick)
    assert (code, out) == (1, "")
    assert "NOT VERIFIED" in error
    assert alone(sys.executable, "-c", SECOND, ROOT / "tests", stick, vkey, kept, begin, end)[0] == 1


class TestTheRecipientsOwnLog:
    """The side that no sender can write: the recipient's import log (RS-6.2.3)."""

    def days(self, story):
        today = clock.now().astimezone(ZoneInfo(story.installation.settings.time_zone)).date()
        return str(today - timedelta(days=1)), str(today + timedelta(days=1))

    def test_over_the_api(self, story, sent):
        first, last = (f"{day}T00:00:00+08:00" for day in self.days(story))
        asked = {"recipient": "shengli", "since": first, "until": last}
        whole = story.person("deng.li").call("POST", "/api/v1/reconciliations", body={**asked, "imports": receipts(sent)})
        assert (whole.status_code, whole.json()["agrees"]) == (200, True), whole.text
        lines = receipts(sent)
        lines[0]["digest"] = f"sha-256={'0' * 64}"
        lines[1]["release"] = "11111111-1111-4111-8111-111111111111"
        found = story.person("deng.li").call("POST", "/api/v1/reconciliations", body={**asked, "imports": lines}).json()
        counts = {name: count for name, count in found["counts"].items() if count}
        assert counts == {"matched": 1, "changed": 1, "missing_there": 1, "missing_here": 1}
        assert found["missing_there"][0]["release"] == sent[1][1]["id"]
        assert found["missing_here"][0]["release"] == lines[1]["release"]
        with story.installation.database.transaction() as session:
            query = "SELECT leaf FROM audit_event WHERE type = 'transmissions.reconciled' ORDER BY xid DESC LIMIT 1"
            facts = json.loads(session.connection().exec_driver_sql(query).scalar_one())["facts"]
        assert (facts["missing_here"], facts["missing_there"], facts["changed"]) == (1, 1, 1)
        # The same log as the IHE profile has it: AuditEvents of an import, in a Bundle.
        events = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": audit_event_of_import(one)} for one in receipts(sent)]}
        whole = story.person("deng.li").call("POST", "/api/v1/reconciliations", body={**asked, "imports": [events]}).json()
        assert (whole["agrees"], whole["counts"]["matched"]) == (True, 3)
        events["entry"][0]["resource"]["entity"][0]["what"]["identifier"]["value"] = lines[1]["release"]
        found = story.person("deng.li").call("POST", "/api/v1/reconciliations", body={**asked, "imports": [events]}).json()
        counts = {name: count for name, count in found["counts"].items() if count}
        assert counts == {"matched": 2, "missing_there": 1, "missing_here": 1}
        for wrong in ({"recipient": "nobody"}, {"until": first}, {"since": "soon"}):
            refused = story.person("deng.li").call("POST", "/api/v1/reconciliations", body={**asked, "imports": [], **wrong}, expected=422)
            assert refused.status_code == 422
        story.person("gao.min").call("POST", "/api/v1/reconciliations", body={**asked, "imports": []}, expected=403)

    def test_as_a_command(self, story, sent, command, tmp_path):
        first, last = self.days(story)
        log = tmp_path / "log.ndjson"
        log.write_text("\n".join(json.dumps(one) for one in receipts(sent)))
        done = command("reconcile", log, "--recipient", "shengli", "--since", first, "--until", last)
        assert done.exit_code == 0, done.output
        log.write_text("\n".join(json.dumps(one) for one in receipts(sent)[1:]))
        done = command("reconcile", log, "--recipient", "shengli", "--since", first, "--until", last)
        assert done.exit_code == 1
        assert sent[0][1]["id"] in done.output
        assert command("reconcile", log, "--recipient", "nobody", "--since", first, "--until", last).exit_code == 2

    def test_as_a_page(self, story, sent):
        first, last = self.days(story)
        with httpx2.Client(base_url=story.base_url, timeout=60, headers={"Accept-Language": "en", "Sec-Fetch-Site": "same-origin"}) as http:
            http.post("/console/login", data={"username": "cao.yan", "password": story.cast.passwords["cao.yan"]})
            page = http.get("/console/reconciliation").text
            token = page.partition('name="csrf" value="')[2].partition('"')[0]
            fields = {"csrf": token, "recipient": "shengli", "since": first, "until": last}

            def send(content):
                parts = {name: (None, value) for name, value in fields.items()}
                return http.post("/console/reconciliation", files={**parts, "file": ("log.json", content, "application/json")})

            good = send(json.dumps(receipts(sent)).encode())
            assert good.status_code == 200
            assert "双方记录一致。" in good.text
            less = send(json.dumps(receipts(sent)[:2]).encode()).text
            assert "对方缺失" in less
            assert sent[2][1]["id"] in less
            assert send(b"\xff").status_code == 422
            assert send(b"").status_code == 422
