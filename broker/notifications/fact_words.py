"""Codes and times in messages, in the words of whoever reads them: nobody is told of a ``key-stolen`` or of an hour of UTC. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

#: What the codes of facts are called: by the fact, then by the code, Chinese and English. A code that is not here is shown as it is.
WORDS: Mapping[str, Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "kind": {
            "complaint": ("投诉", "complaint"), "suggestion": ("建议", "suggestion"),
            "key-stolen": ("密钥失窃", "key stolen"), "unauthorised-access": ("未经授权的访问", "unauthorised access"),
            "wrong-recipient": ("误发", "sent to the wrong place"), "over-disclosure": ("超范围披露", "more disclosed than allowed"),
            "check-failed": ("放行前检查不符", "a release failed its check"), "loss": ("数据丢失", "loss of data"),
            "availability": ("系统不可用", "out of service"), "emergency-unreviewed": ("紧急调阅未复核", "emergency access not reviewed"),
            "policy-breach": ("违反制度", "breach of a rule"), "other": ("其他", "other"),
            "copy": ("查阅复制", "a copy"), "portability": ("转移", "transfer"), "correction": ("更正", "correction"),
            "restriction": ("限制处理", "restriction"), "deletion": ("删除", "deletion"), "explanation": ("解释说明", "explanation"),
        },
        "audience": {"authority": ("主管部门", "authority"), "patients": ("患者", "patients"), "partner": ("合作机构", "partner")},
        "reason": {
            "withdrawn": ("同意已撤回", "consent withdrawn"), "corrected": ("数据已更正", "data corrected"),
            "erased": ("数据已销毁", "data destroyed"),
        },
        "sanction": {
            "warning": ("警告", "a warning"), "retraining": ("重新培训", "retraining"), "suspended": ("暂停使用", "suspension for a time"),
            "closed": ("永久关闭", "closed for good"),
        },
    }
)  # fmt: skip


def worded(facts: Mapping[str, Any], language: str, zone: str) -> dict[str, Any]:
    """The facts as a message says them in ``zh`` or ``en``; moments by the clocks of ``zone`` (IANA)."""
    return {name: _worded(name, value, language, zone) for name, value in facts.items()}


def _worded(name: str, value: Any, language: str, zone: str) -> Any:
    found = WORDS.get(name, {}).get(str(value))
    if found is not None:
        return found[0] if language == "zh" else found[1]
    if isinstance(value, str) and value.endswith("Z") and value[10:11] == "T":
        try:
            return datetime.fromisoformat(value).astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M")
        except ValueError:
            return value
    return value
