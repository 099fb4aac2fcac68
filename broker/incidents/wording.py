"""What authority, patients and partners are told of an incident, in Chinese and English. Pure.

PIPL 57 lists what a notice holds: the kinds of data, the cause and the possible harm; what was done and what the person can do against
harm; how the hospital can be reached. The broker fills in what it knows; whoever sends it completes the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from broker.incidents.rules import Audience

LANGUAGES = ("zh", "en")


@dataclass(frozen=True)
class Told:
    """What a notice says. ``contact``: how the hospital's information manager can be reached."""

    number: str
    hospital: dict[str, str]  #: its name, zh and en
    kind: str
    at: datetime  #: by the hospital's clocks
    types: tuple[str, ...]
    patients: int
    releases: int
    contained: bool
    contact: str
    drill: bool


_KINDS = {
    "key-stolen": ("接收方系统密钥失窃", "theft of a recipient system's key"),
    "unauthorised-access": ("未经授权的访问", "unauthorised access"),
    "wrong-recipient": ("误发至其他接收方", "data sent to the wrong recipient"),
    "over-disclosure": ("超出范围的披露", "disclosure beyond what was agreed"),
    "check-failed": ("放行前检查不符（数据未发出）", "a release that failed its check (nothing was sent)"),
    "loss": ("数据丢失", "loss of data"),
    "availability": ("系统不可用", "loss of availability"),
    "emergency-unreviewed": ("紧急调阅未按期复核", "emergency access that was not reviewed in time"),
    "policy-breach": ("违反信息共享制度", "breach of the sharing policy"),
    "other": ("其他信息安全事件", "another security incident"),
}

#: Kinds of data as letters name them; a type that is not here is named as FHIR does.
_TYPES = {
    "AllergyIntolerance": ("过敏信息", "allergies"), "Appointment": ("预约", "appointments"), "CarePlan": ("诊疗计划", "care plans"),
    "Claim": ("费用申请", "claims"), "Condition": ("诊断", "diagnoses"), "Consent": ("知情同意", "consents"), "Coverage": ("参保信息", "insurance"),
    "DiagnosticReport": ("检查检验报告", "reports"), "DocumentReference": ("病历文书", "documents"), "Encounter": ("就诊记录", "visits"),
    "ExplanationOfBenefit": ("结算信息", "settlements"), "FamilyMemberHistory": ("家族史", "family history"),
    "ImagingStudy": ("影像检查", "imaging studies"), "Immunization": ("预防接种", "immunisations"), "Location": ("就诊地点", "places of care"),
    "Medication": ("药品", "medicines"), "MedicationAdministration": ("用药执行记录", "medicines given"),
    "MedicationDispense": ("发药记录", "medicines dispensed"), "MedicationRequest": ("处方", "prescriptions"),
    "MedicationStatement": ("服药情况", "medicines taken"), "Observation": ("检查检验结果", "observations and results"),
    "Patient": ("身份信息", "identity"), "Practitioner": ("医务人员", "clinicians"), "Procedure": ("手术与操作", "procedures"),
    "QuestionnaireResponse": ("问卷", "questionnaires"), "ServiceRequest": ("医嘱与申请单", "orders"), "Specimen": ("标本", "specimens"),
}  # fmt: skip

_OPENING = {
    Audience.AUTHORITY: ("个人信息安全事件报告", "Report of a personal-information security incident"),
    Audience.PATIENTS: ("致患者：个人信息安全事件告知书", "To our patients: notice of a personal-information security incident"),
    Audience.PARTNER: ("致合作机构：信息安全事件通知", "To our partner: notice of a security incident"),
}

_HELP = {
    Audience.AUTHORITY: ("后续调查结果将另行报告。", "The outcome of the investigation will be reported separately."),
    Audience.PATIENTS: (
        "请留意冒用您身份或病情的来电、短信和索款；如有疑问或发现异常，请联系我院。您可要求查阅谁看过您的信息，并可随时撤回同意。",
        "Be wary of calls or messages that use your identity or your condition. You may ask who saw your data, and withdraw consent at any time.",
    ),
    Audience.PARTNER: (
        "请立即停止使用相关数据，核查贵机构系统与密钥，并在系统中确认所采取的措施。",
        "Please stop using the data concerned at once, check your systems and keys, and confirm in the broker what you have done.",
    ),
}


def notice(audience: Audience, told: Told, language: str) -> str:
    """The text of a notice in ``zh`` or ``en``."""
    chinese = language == "zh"
    kind = _KINDS.get(told.kind, _KINDS["other"])[0 if chinese else 1]
    names = [_TYPES.get(one, (one, one))[0 if chinese else 1] for one in told.types]
    types = ("、" if chinese else ", ").join(names) or ("无" if chinese else "none")
    opening, help_ = _OPENING[audience][0 if chinese else 1], _HELP[audience][0 if chinese else 1]
    if chinese:
        lines = [
            *(["【演练】本通知为演练内容，未发生真实事件。"] if told.drill else []),
            f"{opening}（{told.number}）",
            f"单位：{told.hospital['zh']}",
            f"时间：{told.at:%Y-%m-%d %H:%M}",
            f"事件类型与原因：{kind}",
            f"涉及的个人信息种类：{types}；涉及患者 {told.patients} 人，信息传输 {told.releases} 次。",
            "可能的危害：个人健康信息可能被未经授权的人知悉或使用。",
            f"已采取的措施：{'已立即冻结相关客户端、授权与令牌，' if told.contained else ''}正在核查原因。",
            help_,
            f"联系方式：{told.contact}",
        ]
    else:
        lines = [
            *(["DRILL: this is an exercise, nothing has happened."] if told.drill else []),
            f"{opening} ({told.number})",
            f"Institution: {told.hospital['en']}",
            f"Time: {told.at:%Y-%m-%d %H:%M}",
            f"What happened and why: {kind}",
            f"Kinds of personal information: {types}; {told.patients} patients, {told.releases} releases.",
            "Possible harm: health information may have become known to, or may be used by, somebody not entitled to it.",
            f"What was done: {'clients, grants and tokens concerned were frozen at once; ' if told.contained else ''}the cause is being looked into.",
            help_,
            f"Contact: {told.contact}",
        ]
    return "\n".join(lines) + "\n"
