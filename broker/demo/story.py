"""The story: one exchange from consent to withdrawal, each step checked against what is told.

Everything goes over HTTP; only the list of what was held back is read from the records, which nobody outside could see.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import orjson
from rich.console import Console
from rich.table import Table

from broker import clock
from broker.app import Installation
from broker.audit import store
from broker.audit.export import export
from broker.audit.note import Verifier
from broker.audit.sources import FolderSource
from broker.audit.verify import verify
from broker.demo.client import PersonClient, SystemClient, Unexpected, expect
from broker.demo.consents import evidence, filing, revocation, sharing_consent
from broker.demo.seed import Cast
from broker.fhir.ages import age_class
from broker.records import service as records

TREATMENT = [
    {"data_class": "clinical.demographics"}, {"data_class": "clinical.diagnoses"}, {"data_class": "clinical.medications"},
    {"data_class": "clinical.laboratory"}, {"data_class": "clinical.encounters"},
]  # fmt: skip


@dataclass
class Story:
    """The story under way. ``told`` counts steps; a step that comes out otherwise raises Unexpected."""

    installation: Installation
    cast: Cast
    base_url: str
    console: Console
    grants: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    told: int = 0

    def __post_init__(self) -> None:
        self.http = httpx2.Client(base_url=self.base_url, timeout=30)

    def close(self) -> None:
        """Let go of the connections."""
        self.http.close()

    def person(self, part: str) -> PersonClient:
        """Somebody of the cast, by their part in the story or their user name."""
        name = self.cast.story.get(part, part)
        return PersonClient(self.http, name, self.cast.passwords[name])

    def system(self, client_id: str) -> SystemClient:
        """A hospital's system."""
        return SystemClient(self.http, self.base_url, client_id, self.cast.keys[client_id])

    def step(self, zh: str, en: str) -> None:
        """Announce a step."""
        self.told += 1
        self.console.print(f"\n[bold]{self.told}  {zh}[/]\n   {en}", highlight=False)

    def say(self, line: str) -> None:
        """A result."""
        self.console.print(f"   → {line}", highlight=False, markup=False, soft_wrap=True)

    def check(self, found: bool, told: str) -> None:
        """What the story tells must be so."""
        if not found:
            raise Unexpected(f"step {self.told}: told was that {told}")

    # -- the steps --

    def play(self) -> None:
        """Tell the whole story."""
        parts = self.cast.story
        patient = self.cast.patients[parts["patient"]]
        self.step(f"{patient.name}同意分享病历，但精神健康内容除外", "The patient consents to sharing, but not of mental health")
        consent_id = self.file_consent(patient.id, "shengli", without=(parts["held_back_label"],))
        self.say(f"Consent/{consent_id} is in force: permit TREAT to Organization/shengli, deny {parts['held_back_label']}")

        self.step("省立医院心内科申请查阅病历", "A department of the referral hospital applies")
        application = self.apply(parts["applicant"], parts["recipient"], patient.id, "TREAT", "consent", TREATMENT)
        self.say(f"application {application['number']} is {application['status']}")

        self.step("机器预审：合法性与必要性", "Policy assesses legality and necessity")
        opinion = self.person("information_manager").call("GET", f"/api/v1/applications/{application['number']}/assessment").json()
        self.check(opinion["effect"] == "permit", "policy permits")
        plan = opinion["patients"][0]["plan"]
        self.say(
            f"{opinion['effect']} · profile {plan['profile']} · policy {opinion['policy_revision'][:12]} · types {', '.join(sorted(plan['types']))}"
        )

        self.step(
            "科主任审签，信息管理员预览后批准；本人不得批准自己的申请",
            "A head endorses, the information manager previews and approves; nobody their own",
        )
        own = self.person("applicant").http.post(
            f"/api/v1/applications/{application['number']}/approve", auth=(parts["applicant"], self.cast.passwords[parts["applicant"]])
        )
        self.check(own.status_code in (403, 409, 428), "nobody approves their own application")
        preview = self.decide(application["number"], "endorser", "information_manager")
        count = sum(preview["patients"][0]["counts"].values())
        self.say(f"preview: {count} resources; endorsed by {parts['endorser']}, approved by {parts['information_manager']}")

        self.step("省立医院的系统取得令牌并取数", "The hospital's system gets a token and fetches")
        system = self.system(parts["client"])
        token = system.token(application["number"])
        fetched = expect(system.fetch("POST", "/releases", token["access_token"], {"application": application["number"], "patient": patient.id}), 200)
        bundle = orjson.loads(fetched.content)
        kinds = Counter(entry["resource"]["resourceType"] for entry in bundle["entry"])
        self.say(f"token for {token['expires_in']} s, scope {token['scope']}")
        self.say(f"release {fetched.headers['release-id']}: {sum(kinds.values())} resources, {fetched.headers['release-digest'][:24]}…")

        self.step("放行与扣留对照", "What left, beside what was held back and why")
        self.compare(patient.id, fetched.content, bundle, plan)

        self.step("使用反馈", "Feedback on the use")
        feedback = {
            "used": True,
            "purpose_met": "yes",
            "deletion_done": False,
            "examinations_avoided": 2,
            "onward_disclosure": False,
            "comment": "复诊参考，免做糖化血红蛋白。",
        }
        self.person("applicant").call("POST", f"/api/v1/applications/{application['number']}/feedback", expected=201, body=feedback)
        self.say("used, purpose met, 2 examinations avoided")

        self.step("患者撤回同意，下一次取数即被拒绝", "The patient withdraws, and the very next fetch is refused")
        self.person("information_manager").call("POST", "/fhir/Consent/$revokeConsent", body=revocation(consent_id, patient.id))
        after = system.fetch("GET", f"/fhir/Patient/{patient.id}/$everything", token["access_token"])
        self.check(after.status_code == httpx2.codes.FORBIDDEN, "the fetch after the withdrawal is refused")
        self.check(after.json()["resourceType"] == "OperationOutcome" and patient.name not in after.text, "the refusal says nothing of the patient")
        self.say(f"HTTP {after.status_code}: {after.json()['issue'][0]['details']['text']}")
        self.person("applicant").call("POST", f"/api/v1/applications/{application['number']}/close", body={"reason": "consent withdrawn"})

        self.step("日志可验，翻转一位即被发现", "The log verifies, and one flipped bit is found")
        self.verify_log()

    def file_consent(self, patient_id: str, recipient: str, *, without: tuple[str, ...] = (), purpose: str = "TREAT") -> str:
        """File a consent as the information manager; its id."""
        consent = sharing_consent(patient_id, recipient, purpose=purpose, without=without, at=clock.now(), by_guardian=self.is_child(patient_id))
        answer = self.person("information_manager").call(
            "POST", "/fhir/Consent/$fileConsent", expected=201, body=filing(consent, evidence(patient_id))
        )
        return str(answer.headers["location"].rstrip("/").split("/_history/")[0].rsplit("/", 1)[1])

    def is_child(self, patient_id: str) -> bool:
        """Whether a parent or guardian answers for the patient (PIPL 31)."""
        return age_class(self.cast.patients[patient_id].birth_date, clock.today()) == "under_14"

    def apply(self, applicant: str, recipient: str, patient_id: str, purpose: str, basis: str, data: list[dict[str, Any]]) -> dict[str, Any]:
        """Draft and submit an application; as it stands then."""
        patient = self.cast.patients[patient_id]
        today = clock.today()
        form = {
            "purpose": purpose, "lawful_basis": basis, "recipient": recipient,
            "patients": [{"identifier": patient.identifier, "name": patient.name, "birthDate": patient.birth_date}],
            "data": data, "channel": "api", "valid_until": today.replace(year=today.year + 1, day=1).isoformat(),
            "urgency": "routine", "justification": "转诊后随访，需了解既往诊断、用药与检验结果。", "retention_days": 30,
        }  # fmt: skip
        person = self.person(applicant)
        draft = person.call("POST", "/api/v1/applications", expected=201, body=form)
        path = f"/api/v1/applications/{draft.json()['draft_id']}/submit"
        submitted: dict[str, Any] = person.call("POST", path, headers={"If-Match": draft.headers["etag"]}).json()
        return submitted

    def decide(self, number: str, endorser: str, manager: str) -> dict[str, Any]:
        """Endorse, preview, approve; the preview."""
        path = f"/api/v1/applications/{number}"
        head, decider = self.person(endorser), self.person(manager)
        head.call("POST", f"{path}/endorse", headers={"If-Match": head.call("GET", path).headers["etag"]}, body={})
        preview: dict[str, Any] = decider.call("GET", f"{path}/preview").json()
        approved = decider.call("POST", f"{path}/approve", headers={"If-Match": decider.call("GET", path).headers["etag"]}, body={})
        self.check(approved.json()["grant"]["status"] == "active", "the approval yields an active grant")
        return preview

    def compare(self, patient_id: str, raw: bytes, bundle: dict[str, Any], plan: dict[str, Any]) -> None:
        """Show what left beside what stayed, and look for what must not have left in the very bytes."""
        released = {(entry["resource"]["resourceType"], entry["resource"]["id"]) for entry in bundle["entry"]}
        held: Counter[tuple[str, str]] = Counter()
        secret_words: set[str] = set()
        open_words: set[str] = set()
        label = self.cast.story["held_back_label"]
        for kind, name, labels, body in _stored(self.installation, patient_id):
            said = {coding["display"] for coding in _codings(orjson.loads(body)) if coding.get("display")}
            if label not in labels:
                open_words |= said
            if (kind, name) in released:
                self.check(label not in labels, f"nothing labelled {label} left")
            elif label in labels:
                held[kind, f"label {label}: refused in the consent"] += 1
                secret_words |= said
            elif kind not in plan["types"]:
                held[kind, "not necessary for the purpose: type not in the plan"] += 1
            else:
                held[kind, "outside the plan: date, category, or label"] += 1
        table = Table("type", "left", "held back", "why", box=None, pad_edge=False)
        left = Counter(kind for kind, _ in released)
        for kind in sorted(set(left) | {kind for kind, _ in held}):
            reasons = [(why, count) for (one, why), count in sorted(held.items()) if one == kind]
            table.add_row(kind, str(left[kind]), str(sum(count for _, count in reasons)), "; ".join(why for why, _ in reasons))
        self.console.print(table)
        self.check(any(why.startswith("label") for _, why in held), "something was held back because of its label")
        # Words such as "finished" are said of every visit; what is said only of what is held back must not be there.
        secret_words -= open_words
        self.check(not [word for word in secret_words if word.encode() in raw], "no word of what was held back is in the bytes")
        self.check(b"<div" not in raw and b'"note"' not in raw and b'"telecom"' not in raw, "no narrative, note or telephone number is in the bytes")
        self.say(f"{len(secret_words)} held-back terms searched for in {len(raw):,} bytes: none found")

    def verify_log(self) -> None:
        """Verify the log from a folder as an auditor would, then flip one bit of it."""
        verifier = Verifier.of(self.installation.settings.log_origin, self.installation.keys.log_signer)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "log"
            time.sleep(1.5)  # Sealing takes up to a second; what is recorded after the newest checkpoint isn't in it yet.
            with self.installation.database.transaction() as session:
                export(store.raw(session), folder)
            report = verify(FolderSource(folder), verifier)
            self.check(report.ok, "the log verifies")
            self.say(f"whole: {report.size} entries, root {report.root}")
            entry_bundle = next(path for path in sorted((folder / "tile" / "entries").rglob("*")) if path.is_file())
            data = bytearray(entry_bundle.read_bytes())
            data[len(data) // 2] ^= 1
            entry_bundle.write_bytes(data)
            broken = verify(FolderSource(folder), verifier)
            self.check(not broken.ok and broken.finding is not None, "a flipped bit is found")
            self.say(f"one bit flipped: {broken.finding.sentence('en') if broken.finding else ''}")

    def standing_grants(self) -> None:
        """Grants that stay in force after the story, so that any client can be pointed at the demo."""
        parts = self.cast.story
        self.file_consent("p1004", "shengli")
        care = self.apply(parts["applicant"], parts["recipient"], "p1004", "TREAT", "consent", TREATMENT)
        self.decide(care["number"], "endorser", "information_manager")
        self._granted(parts["client"], care, "p1004")
        finance = [{"data_class": "financial"}]
        bill = self.apply("yu.fang", "renhe-finance", "p1001", "HPAYMT", "contract", finance)
        self.decide(bill["number"], "hu.bin", "information_manager")
        self._granted("renhe-finance-system", bill, "p1001")

    def _granted(self, client_id: str, application: dict[str, Any], patient_id: str) -> None:
        grant = {
            "application": application["number"], "purpose": application["purpose"], "patients": [patient_id],
            "scope": f"system/*.rs application:{application['number']}",
        }  # fmt: skip
        self.grants.setdefault(client_id, []).append(grant)


def _codings(value: Any) -> list[dict[str, Any]]:
    """Every Coding anywhere in a resource."""
    if isinstance(value, dict):
        own = [one for one in value.get("coding", ()) if isinstance(one, dict)] if isinstance(value.get("coding"), list) else []
        return own + [coding for one in value.values() for coding in _codings(one)]
    if isinstance(value, list):
        return [coding for one in value for coding in _codings(one)]
    return []


def _stored(installation: Installation, patient_id: str) -> Iterator[tuple[str, str, frozenset[str], bytes]]:
    """Type, id, labels and body of everything that is kept of a patient."""
    patient_key = installation.keys.patient_key(patient_id)
    with installation.database.transaction() as session:
        vault = records.open_vault(session, installation.keys, patient_key)
        query = "SELECT patient_key, type, id_token, version, last_updated, body FROM resource WHERE patient_key = %s"
        for row in session.connection().exec_driver_sql(query, (patient_key,)):
            opened = records.open_row(vault, records.Row(*row))
            yield opened.type, opened.id, frozenset(opened.labels), opened.body
