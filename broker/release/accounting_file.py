"""A patient's accounting of disclosures as PDF: when, to whom, what for, what; and by which entry of the log each row is proven (PIPL 44, 45).

Words reach Typst as data alone, never as source.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import typst
from sqlmodel import Session

from broker import clock
from broker.audit import service as audit
from broker.crypto import Keys
from broker.identity import service as identity
from broker.policy import service as policy
from broker.release.accounting import Disclosure, accounting
from broker.settings import Settings

#: More releases of one patient than anybody reads in one file; `since` and `until` divide them.
MOST = 5000

#: What a type of resource is called in a language.
Kind = Callable[[str, str], str]

TEMPLATE = Path(__file__).with_name("accounting.typ")

_WORDS = {
    "en": {
        "title": "What was sent of you",
        "about": "Every sending of data of patient {patient}, newest first, as of {at}. What has no known end counts as sent.",
        "none": "Nothing was sent.",
        "columns": ["When", "To whom", "What for", "What", "Release and its entry in the log"],
        "nothing": "not known any more",
        "how": "Each row is proven by the receipt of its entry, which /log/proof gives and which anybody checks with the log's key. The checkpoint:",
    },
    "zh": {
        "title": "个人信息提供记录",
        "about": "患者 {patient} 的全部数据提供记录，由近及远，截至 {at}。结果未知者按已提供计。",
        "none": "没有提供记录。",
        "columns": ["时间", "接收方", "目的", "内容", "传输编号与日志条目"],
        "nothing": "内容已无从得知",
        "how": "每行均可凭其日志条目的回执（/log/proof）核验，任何人持日志公钥即可进行。检查点：",
    },
}


def written(
    session: Session, settings: Settings, keys: Keys, patient_key: UUID, shown_as: str, language: str, *, kind: Kind, since: datetime | None = None,
    until: datetime | None = None,
) -> bytes:  # fmt: skip
    """The file of one patient as things stand now. ``shown_as``: how it names the patient; ``kind``: what a type of resource is called.

    Who asks for it has recorded that.
    """
    organizations = identity.organizations(session)
    names = {one.id: one.name_zh if language == "zh" else one.name_en or one.name_zh for one in organizations}
    return as_pdf(
        accounting(session, keys, patient_key, since=since, until=until, limit=MOST), patient=shown_as, at=clock.now(), language=language,
        hospital=names.get(settings.hospital, settings.hospital), names=names,
        purposes={code: getattr(text, language) for code, text in policy.purposes().items()}, kind=kind, time_zone=settings.time_zone,
        checkpoint=audit.published_checkpoint(session) or "",
    )  # fmt: skip


def as_pdf(
    rows: Sequence[Disclosure], *, patient: str, at: datetime, language: str, hospital: str, names: Mapping[str, str], purposes: Mapping[str, str],
    kind: Kind, time_zone: str, checkpoint: str,
) -> bytes:  # fmt: skip
    """The PDF/A-2b. ``names``: organisations, ``purposes``: codes, both in this language; the same rows at the same moment give the same bytes."""
    word, zone = _WORDS[language], ZoneInfo(time_zone)
    local = at.astimezone(zone)
    data = {
        "lang": language, "hospital": hospital, "title": word["title"], "date": [local.year, local.month, local.day], "none": word["none"],
        "about": str(word["about"]).format(patient=patient, at=local.strftime("%Y-%m-%d %H:%M")), "columns": word["columns"], "how": word["how"],
        "checkpoint": checkpoint,
        "rows": [
            _row(one, zone, names, purposes, [f"{kind(language, name)} {count}" for name, count in one.kinds] or [str(word["nothing"])])
            for one in rows
        ],
    }  # fmt: skip
    made = typst.compile(
        TEMPLATE.read_bytes(),
        format="pdf",
        sys_inputs={"data": json.dumps(data, ensure_ascii=False, sort_keys=True)},
        pdf_standards="a-2b",
        timestamp=at.replace(microsecond=0),
    )
    return made if isinstance(made, bytes) else b"".join(made)


def _row(one: Disclosure, zone: ZoneInfo, names: Mapping[str, str], purposes: Mapping[str, str], content: Sequence[str]) -> dict[str, str]:
    sent = one.transmission
    return {
        "at": sent.at.astimezone(zone).strftime("%Y-%m-%d %H:%M"),
        "recipient": names.get(sent.receiver or "", sent.receiver or "–"),
        "purpose": purposes.get(sent.purpose or "", sent.purpose or "–"),
        "content": ", ".join(content),
        "proof": f"{sent.release}\n{sent.outcome_event or sent.intent_event}",
    }
