"""A certificate of destruction on paper, in Chinese or English (PI-3.5): what, when, how, who, by which order, and the log's proof of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from broker import printing

TEMPLATE = Path(__file__).with_name("certificate.typ")

_WORDS: dict[str, tuple[str, str]] = {
    "title": ("Certificate of destruction", "销毁证明"),
    "kind": ("What", "销毁对象"),
    "shred": ("Data of patients, by destroying their keys", "患者数据（销毁密钥）"),
    "paper": ("Paper records", "纸质资料"),
    "media": ("Media", "存储介质"),
    "what": ("Described as", "具体内容"),
    "reason": ("Because of", "销毁原因"),
    "retention": ("the end of its time", "保存期限届满"),
    "request": ("the patient's request", "患者请求"),
    "error": ("an error", "错误采集"),
    "end-of-agreement": ("the end of an agreement", "协议终止"),
    "restored": ("a restored backup", "备份恢复后再次销毁"),
    "method": ("Method", "销毁方式"),
    "proposed": ("Proposed", "提出时间"),
    "executed": ("Carried out", "执行时间"),
    "by": ("Ordered by", "批准人"),
    "scrubbed": ("Database cleaned", "数据库清理"),
    "waiting": ("not yet", "尚未完成"),
    "clean": ("complete", "已彻底清理"),
    "left": ("left to do", "仍须处理"),
    "patients": ("Patients", "患者"),
    "patients_note": (
        "By the name that the log gave each; nobody can tell from it who it was, now that the key is gone.",
        "以日志中的代号列示；密钥销毁后，任何人都无法由此得知其身份。",
    ),
    "subject": ("Name in the log", "日志代号"),
    "removed": ("Rows removed", "删除条数"),
    "at": ("When", "时间"),
    "proof": ("Proof of inclusion", "日志包含证明"),
    "proof_note": (
        "C2SP tlog-proof of the entry under the hospital's signed checkpoint; any verifier of that format checks it without the hospital.",
        "该条目在医院签名检查点下的 C2SP tlog-proof 证明，可由任何支持该格式的工具独立核验。",
    ),
    "footer": ("Entry", "日志条目"),
}


def as_pdf(said: Mapping[str, Any], language: str, *, hospital: str, zone: str, people: Mapping[str, str]) -> bytes:
    """The certificate (``orders.certificate``) as PDF/A-2b. ``hospital``: its name; ``people``: names by actor (``person:<id>``)."""
    number = 1 if language == "zh" else 0

    def word(code: str) -> str:
        return _WORDS.get(code, (code, code))[number]

    def moment(at: str | None) -> str:
        return word("waiting") if at is None else datetime.fromisoformat(at).astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M:%S %Z")

    signers = [people.get(one["actor"], one["actor"]) for one in said["approved_by"]]
    scrub = said["scrub"] or {}
    rows = [
        (word("kind"), word(said["kind"])),
        *([(word("what"), said["what"])] if said["what"] else ()),
        (word("reason"), word(said["reason"])),
        (word("method"), said["method"]),
        (word("proposed"), moment(said["proposed_at"])),
        (word("executed"), moment(said["executed_at"])),
        (word("by"), "、".join(signers) if number else ", ".join(signers)),
        *([(word("scrubbed"), _scrubbed(moment(said["scrubbed_at"]), scrub, word))] if said["kind"] == "shred" else ()),
    ]
    data = {
        "lang": language,
        "title": word("title"),
        "hospital": hospital,
        "number": said["order"],
        "rows": rows,
        "patients": [_patient(one, moment) for one in said["patients"]],
        "patients-title": word("patients"),
        "patients-note": word("patients_note"),
        "patients-head": [word("subject"), word("removed"), word("at")],
        "proof-title": word("proof"),
        "proof-note": word("proof_note"),
        "proof": said["proof"],
        "signers": signers,
        "footer": f"{word('footer')} {said['event']}",
    }
    return printing.pdf(TEMPLATE, data, datetime.fromisoformat(said["executed_at"]))


def _scrubbed(at: str, scrub: Mapping[str, Any], word: Any) -> str:
    if not scrub:
        return at
    return f"{at} · {word('clean') if scrub.get('clean') else word('left') + ': ' + '; '.join(scrub.get('left', ()))}"


def _patient(one: Mapping[str, Any], moment: Any) -> Sequence[str]:
    removed = one["removed"] or {}
    # Typst may break a line between groups of eight.
    subject = " ".join(one["subject"][at : at + 8] for at in range(0, len(one["subject"]), 8)) if one["subject"] else "–"
    return (subject, ", ".join(f"{name} {count}" for name, count in sorted(removed.items())) or "–", moment(one["at"]))
