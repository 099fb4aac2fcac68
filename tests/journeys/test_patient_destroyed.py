"""A patient is destroyed, for good (PI-3.5, PIPL 47; mission row 64; F-24, G19).

1. Zhang's record was shared, fetched and reported on; words were written about her. A backup of the whole database is taken.
2. Two people order the destruction of her key. Everything sealed under it can't be read; her words are gone; others' are not.
3. PostgreSQL still holds the old wrapped key in dead rows and in its write-ahead log: the worker scrubs it. Then no file of the data
   directory holds a byte of it, and neither do files under BROKER_VAR; the log verifies; the certificate proves itself against it.
4. Somebody restores the backup. Before it serves, the list outside the database destroys her again, and after a scrub no byte is left.
"""

from __future__ import annotations

import mmap
import shutil
import subprocess
import tempfile
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from broker.app import open_installation
from broker.audit import receipt
from broker.database import EmbeddedServer
from broker.demo.client import Unexpected, expect
from broker.demo.story import TREATMENT, Story
from broker.migrate import migrate
from broker.records import service as records
from broker.retention import service as retention
from tests.live import hospital, serving

PATIENT, OTHER = "p1001", "p1004"
WORDS = ("张秀英", "CANARY-comment")

_SECRETS = """
SELECT wrapped_key FROM patient WHERE patient_key = %(patient)s
UNION SELECT fhir_id_sealed FROM patient WHERE patient_key = %(patient)s
UNION SELECT justification_sealed FROM application WHERE number = %(number)s
UNION SELECT d.reason_sealed FROM application_decision d JOIN application a ON a.id = d.application_id WHERE a.number = %(number)s
UNION SELECT d.justification_sealed FROM application_submission d JOIN application a ON a.id = d.application_id WHERE a.number = %(number)s
UNION SELECT comment_sealed FROM feedback WHERE application = %(number)s
"""


def holding(folder: Path, needles: list[bytes]) -> set[bytes]:
    """Which of these byte strings stand in any file below a folder."""
    found = set()
    for path in folder.rglob("*"):
        if path.is_file() and path.stat().st_size:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                found |= {needle for needle in needles if content.find(needle) >= 0}
    return found


def running(folder: Path) -> EmbeddedServer:
    return EmbeddedServer(folder)


def worked_off(story: Story) -> None:
    """What the worker does after a destruction."""
    (job,) = [job for job in retention.background() if job.name == "retention.scrub"]
    job.handler(story.installation, {})


@pytest.fixture(scope="module")
def places():
    """A folder that PostgreSQL's own user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="broker-test-destroyed-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def before(places: Path) -> dict:
    """The story until the backup."""
    server = running(places / "postgres")
    migrate(server.url)
    with hospital(server.url, places / "var") as story:
        story.file_consent(PATIENT, "shengli")
        number = story.apply("gao.min", "shengli-cardiology", PATIENT, "TREAT", "consent", TREATMENT)["number"]
        story.decide(number, "song.yi", "deng.li")
        token = story.system("shengli-his").token(number)["access_token"]
        sent = expect(story.system("shengli-his").fetch("POST", "/releases", token, {"application": number, "patient": PATIENT}), 200)
        answers = {"used": True, "purpose_met": "yes", "onward_disclosure": False, "deletion_done": False, "comment": WORDS[1]}
        story.person("gao.min").call("POST", f"/api/v1/applications/{number}/feedback", expected=201, body=answers)
        patient_key = story.installation.keys.patient_key(PATIENT)
        with story.installation.database.transaction() as session:
            vault = records.open_vault(session, story.installation.keys, patient_key)
            rows = session.connection().exec_driver_sql(_SECRETS, {"patient": patient_key, "number": number})
            secrets = [bytes(row[0]) for row in rows if row[0] is not None]
        assert len(secrets) >= 4  # Two of the patient, the reason of the application, the comment of the feedback.
    server.stop()
    subprocess.run(["cp", "-a", str(places / "postgres"), str(places / "backup")], check=True)
    return {"story": story, "number": number, "secrets": secrets, "key": vault.data_key, "release": sent.headers["release-id"]}


@pytest.fixture(scope="module")
def after(places: Path, before: dict):
    """The hospital again, with the patient destroyed and the database scrubbed."""
    server = running(places / "postgres")
    chosen = before["story"].installation.settings
    installation = open_installation(chosen.model_copy(update={"database_url": type(chosen.database_url)(server.url)}))
    with serving(installation):
        story = Story(installation, before["story"].cast, chosen.base_url, Console(file=StringIO()))
        body = {"kind": "shred", "reason": "request", "patients": [PATIENT]}
        order = story.person("deng.li").call("POST", "/api/v1/destruction-orders", expected=201, body=body).json()["number"]
        with pytest.raises(Unexpected, match="403"):
            story.person("deng.li").call("POST", f"/api/v1/destruction-orders/{order}/approve")
        done = story.person("jiang.tao").call("POST", f"/api/v1/destruction-orders/{order}/approve").json()
        assert (done["status"], done["patients"]) == ("executed", 1)
        still = holding(places / "postgres", before["secrets"])
        worked_off(story)
        yield {"story": story, "order": order, "still": still}
        story.close()
    server.stop()


def test_nothing_of_the_patient_can_be_read_and_others_can(before, after):
    story = after["story"]
    installation = story.installation
    with installation.database.transaction() as session:
        with pytest.raises(records.RecordUnreadable):
            records.open_vault(session, installation.keys, installation.keys.patient_key(PATIENT))
        records.open_vault(session, installation.keys, installation.keys.patient_key(OTHER))
    token = story.system("shengli-his").token(before["number"])["access_token"]
    for path in (f"/fhir/Patient/{PATIENT}/$everything", f"/fhir/Observation?patient={PATIENT}"):
        assert story.system("shengli-his").fetch("GET", path, token).status_code == 403
    manifest = story.system("shengli-his").fetch("GET", f"/releases/{before['release']}", token)
    assert manifest.status_code in (404, 503)
    thread = story.person("deng.li").call("GET", f"/api/v1/applications/{before['number']}/exchange").text
    assert "张秀英" not in thread
    with pytest.raises(Unexpected, match="422"):
        story.apply("gao.min", "shengli-cardiology", PATIENT, "TREAT", "consent", TREATMENT)


def test_no_byte_of_it_is_left_in_the_data_directory_or_under_var(places, before, after):
    assert after["still"], "old rows and the log hold it until they are scrubbed: the search finds what is there"
    needles = [*before["secrets"], before["key"], before["key"].hex().encode(), *(word.encode() for word in WORDS)]
    assert holding(places / "postgres", needles) == set()
    assert holding(places / "var", needles) == set()


def test_the_certificate_proves_itself_and_the_log_verifies(before, after):
    story = after["story"]
    story.verify_log()
    certificate = story.person("cao.yan").call("GET", f"/api/v1/destruction-orders/{after['order']}/certificate").json()
    assert certificate["scrub"]["clean"], certificate["scrub"]
    assert len({one["actor"] for one in certificate["approved_by"]}) == 2
    assert certificate["patients"][0]["removed"]["resources"] > 50
    assert receipt.parse(certificate["proof"]) is not None
    assert "张秀英" not in str(certificate)
    assert PATIENT not in str(certificate)
    papers = [
        story.person("cao.yan").call("GET", f"/api/v1/destruction-orders/{after['order']}/certificate.pdf?language={language}").content
        for language in ("zh", "en")
    ]
    assert all(paper.startswith(b"%PDF-1.7") for paper in papers)
    assert papers[0] != papers[1]


def test_a_restored_backup_forgets_again_before_it_serves(places, before, after):
    server = running(places / "backup")
    chosen = before["story"].installation.settings
    there = chosen.model_copy(update={"database_url": type(chosen.database_url)(server.url)})
    assert set(before["secrets"]) <= holding(places / "backup", before["secrets"])
    installation = open_installation(there)
    with installation.database.transaction() as session:
        assert records.is_shredded(session, installation.keys.patient_key(PATIENT))
        assert not records.is_shredded(session, installation.keys.patient_key(OTHER))
        query = "SELECT justification_sealed IS NULL FROM application WHERE number = %(number)s"
        assert session.connection().exec_driver_sql(query, {"number": before["number"]}).scalar_one()
    installation.database.dispose()
    worked_off(replace(before["story"], installation=installation))
    assert holding(places / "backup", [*before["secrets"], before["key"]]) == set()
    open_installation(there).database.dispose()
    server.stop()
