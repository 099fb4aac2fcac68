"""A resource that can't be reduced safely stays behind: the reason as a permanent code, the place, and never a value."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

#: Reason codes in English and Chinese, for the assessment, the manifest and the log. A recipient never sees them.
REASONS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "type-not-in-plan": ("The plan releases nothing of this resource type.", "释放方案不含此类资源。"),
        "unlabelled": ("The resource carries no security label.", "该资源没有安全标签。"),
        "unreadable": ("The stored resource is not JSON in UTF-8, or is nested too deeply.", "存储的资源不是有效的 UTF-8 JSON，或嵌套过深。"),
        "wrong-shape": ("An element has another JSON type than FHIR gives it.", "某元素的 JSON 类型与 FHIR 定义不符。"),
        "wrong-type": ("The resource is of another type than it was stored under.", "资源类型与存储登记不符。"),
        "no-id": ("The resource has no id that FHIR allows.", "该资源没有合规的 id。"),
        "modifier-extension": (
            "An unknown extension may change the meaning of what would be sent.",
            "未知的修饰扩展可能改变所发内容的含义。",
        ),
        "implicit-rules": ("The resource was written under rules that are not known here.", "该资源依据本系统未知的规则编写。"),
        "bad-date": ("A date that must be generalised could not be read.", "需要泛化的日期无法识别。"),
        "no-pseudonym": ("Ids must be replaced, and no valid replacement was given.", "须替换标识，但没有得到有效的替代标识。"),
    }
)


class Withheld(Exception):
    """The resource is not released. ``reason_code`` is a key of :data:`REASONS`; ``path`` an element path, made of names that FHIR defines."""

    def __init__(self, reason_code: str, path: str) -> None:
        super().__init__(f"{reason_code} at {path}")
        self.reason_code = reason_code
        self.path = path
