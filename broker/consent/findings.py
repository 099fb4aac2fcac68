"""What an enforceability report says of one element: enforced, kept without being a rule, or refused, and why. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """What becomes of an element."""

    ENFORCED = "enforced"
    KEPT = "kept"  #: stored and shown; no rule
    REFUSED = "refused"


#: Permanent code → what it says in English and in Chinese, and the FHIR issue type.
SENTENCES: dict[str, tuple[str, str, str]] = {
    "enforced": ("Enforced at every release.", "每次传输时执行。", "informational"),
    "base": ("Enforced: what holds where no exception does.", "作为基础规则执行。", "informational"),
    "alternates": ("Enforced: the opposite of the provision it is nested in.", "执行：与其上级条款相反。", "informational"),
    "related-belongs": (
        "Enforced, read as IHE PCF does: the named resource and what belongs to it.",
        "按 IHE PCF 解释执行：该资源及归属于它的资源。",
        "informational",
    ),
    "related-refers": (
        "Enforced, read as FHIR R4 does: the named resource and what it refers to.",
        "按 FHIR R4 解释执行：该资源及其引用的资源。",
        "informational",
    ),
    "members-at-use": (
        "Enforced for whoever is a member at the time of each release.",
        "按每次传输时的成员执行。",
        "informational",
    ),
    "person-at-use": (
        "Enforced: a permit where they applied for an organisation they work in; a denial for every release that they could come to see.",
        "执行：许可条款仅在本人为其所在机构申请时有效（由该机构接收）；拒绝条款对其可能看到的每次传输有效。",
        "informational",
    ),
    "kept": ("Kept and shown; it sets no rule.", "予以保存并显示，不构成规则。", "informational"),
    "scope-absent": ("Not given; read as patient-privacy.", "未填写，按 patient-privacy 理解。", "informational"),
    "open-actors": (
        "Names no actor, although the root does: the root does not bound it, so it holds for everyone. Name the actor if that is not meant.",
        "根条款限定了接收方而本条款未限定：根条款不约束下级条款，故本条款对所有人生效。如非本意，请写明接收方。",
        "business-rule",
    ),
    "open-purposes": (
        "Names no purpose, although the root does: the root does not bound it, so it holds for every purpose. Name the purpose if that is not meant.",
        "根条款限定了使用目的而本条款未限定：根条款不约束下级条款，故本条款对所有目的生效。如非本意，请写明使用目的。",
        "business-rule",
    ),
    "not-a-consent": ("This is not a FHIR Consent.", "这不是 FHIR Consent 资源。", "structure"),
    "unreadable": ("Can't be read: not the form that FHIR gives this element.", "无法读取：不符合 FHIR 对该元素的格式要求。", "structure"),
    "unknown-element": ("FHIR has no such element here, so it can't be enforced.", "FHIR 在此处没有该元素，无法执行。", "not-supported"),
    "unknown-modifier": (
        "A modifier extension changes the meaning in a way that is not understood.",
        "修饰扩展改变了含义，且无法理解。",
        "extension",
    ),
    "not-active": ("Only an active consent is enforced.", "仅执行状态为 active 的知情同意。", "business-rule"),
    "no-base": (
        "It doesn't say what holds: neither a root type nor a policyRule that states opt-in or opt-out nor a decision.",
        "未说明基础规则：既无根条款 type，也无表明选择加入或退出的 policyRule，亦无 decision。",
        "required",
    ),
    "ambiguous-root": (
        "Two readings contradict each other: the untyped root may limit policyRule or be the exception to it. Give the root a type.",
        "存在两种相互矛盾的解释：无 type 的根条款可能是对 policyRule 的限定，也可能是其例外。请为根条款填写 type。",
        "conflict",
    ),
    "needs-terms": ("It says opt-in or opt-out with exceptions, but states none.", "声明了带例外的加入或退出，却未写明任何例外。", "incomplete"),
    "unknown-scope": ("This scope is not known.", "未知的同意范围（scope）。", "code-invalid"),
    "other-scope": ("This consent is not about sharing data.", "该同意不涉及数据共享。", "business-rule"),
    "unknown-code": ("The code or its system is not one that can be enforced.", "该编码或其编码体系无法执行。", "code-invalid"),
    "label-found-under": (
        "Enforced on the wider label under which such data are found here.",
        "此类数据在本院归于更宽的标签之下，按该标签执行。",
        "informational",
    ),
    "label-not-assigned": (
        "Nothing here is labelled with this by its content, so a denial of it could not be enforced. Name a wider topic.",
        "本院不按内容赋予该标签，拒绝条款无法执行。请改用更宽的类别。",
        "not-supported",
    ),
    "bad-date": ("A date here can't be read, is missing, or the end is before the start.", "日期无法读取、缺失，或结束早于开始。", "value"),
    "role-not-recipient": (
        "This role is not that of a recipient of information (IRCP, PRCP), so it is not clear whom the rule is about.",
        "该角色不是信息接收方（IRCP、PRCP），无法确定规则针对谁。",
        "not-supported",
    ),
    "actor-unresolved": ("Whom this names is not known here.", "无法确认此处所指的对象。", "not-found"),
    "actor-kind": (
        "Data are released to organisations at the request of their people, never to a device, a relative or a patient as such.",
        "数据只向机构（应其人员申请）提供，不直接向设备、亲属或患者本人提供，无法按此对象执行。",
        "not-supported",
    ),
    "not-deniable": (
        "Not everybody whom this denies is known here, so that somebody could be missed. Name the organisation or the person.",
        "此处所拒绝的对象中有无法确认者，可能遗漏。请写明机构或具体人员。",
        "not-supported",
    ),
    "data-unresolved": ("Which resource this names can't be told.", "无法确定此处所指的资源。", "not-found"),
    "patient-unresolved": ("This patient is not known here, or is not named.", "未指明患者，或患者不存在。", "not-found"),
    "not-verified": ("It was not verified with the patient.", "未经患者核实。", "business-rule"),
    "too-many": ("More provisions than can be enforced.", "条款数量超出可执行上限。", "too-costly"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: the element's FHIRPath, what becomes of it, and a code of :data:`SENTENCES`."""

    path: str
    outcome: Outcome
    code: str

    def sentence(self, language: str = "en") -> str:
        """The reason in ``zh`` or ``en``."""
        return SENTENCES[self.code][1 if language == "zh" else 0]

    @property
    def issue(self) -> str:
        """The FHIR issue type."""
        return SENTENCES[self.code][2]
