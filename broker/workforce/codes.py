"""The codes of the registers: what may be entered, and what each is called. Policies name the same codes in what a profile requires."""

from __future__ import annotations

from enum import StrEnum


class Register(StrEnum):
    """The two books."""

    QUALIFICATION = "qualification"
    TRAINING = "training"


class Step(StrEnum):
    """At which step the register may demand something, and of whom."""

    APPLY = "apply"  #: of the person who applies; asked again at every release
    ENDORSE = "endorse"  #: of the head who endorses
    DECIDE = "decide"  #: of the information manager who decides
    RECEIVE = "receive"  #: of the recipient institution; asked again at every release


#: Code → English and Chinese name. ``scope.practice`` isn't entered: whoever holds a licence with a scope holds it.
CODES: dict[str, tuple[str, str]] = {
    "licence.practice": ("licence to practise", "执业证书"),
    "licence.nursing": ("nurse's licence", "护士执业证书"),
    "licence.pharmacy": ("pharmacist's licence", "药师资格证书"),
    "licence.technology": ("technologist's licence", "卫生技术资格证书"),
    "licence.telemedicine": ("authorisation for telemedicine", "互联网诊疗执业备案"),
    "licence.institution": ("licence of a medical institution", "医疗机构执业许可证"),
    "licence.internet-hospital": ("licence of an internet hospital", "互联网医院执业许可"),
    "licence.research-ethics": ("ethics approval", "伦理审查批件"),
    "scope.practice": ("scope of practice", "执业范围"),
    "training.data-sharing": ("training in data sharing", "信息共享培训"),
    "training.privacy": ("training in protecting patient information", "患者信息保护培训"),
    "training.security": ("training in information security", "信息安全培训"),
    "training.telemedicine": ("training in telemedicine", "远程医疗培训"),
}

#: What may be entered in each book.
ENTERED: dict[Register, frozenset[str]] = {
    Register.QUALIFICATION: frozenset(code for code in CODES if code.startswith("licence.")),
    Register.TRAINING: frozenset(code for code in CODES if code.startswith("training.")),
}

SCOPE = "scope.practice"
