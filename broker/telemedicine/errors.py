"""What can go wrong with remote consultations; the docstring is the English message."""

from __future__ import annotations

from broker import errors


class NoSuchConsultation(errors.NotFound):
    """There is no such consultation, or you may not see it."""

    code = "consultation-unknown"
    zh = "没有该远程会诊，或您无权查看。"


class ConsultationMoveNotAllowed(errors.Conflict):
    """This is not possible in the consultation's present state."""

    code = "consultation-move-not-allowed"
    zh = "会诊的当前状态不允许此操作。"
    help_en = "Load the consultation again; it lists what can be done now."
    help_zh = "请刷新会诊，按其列出的可用操作办理。"


class NotYourConsultation(errors.Forbidden):
    """This step belongs to somebody else."""

    code = "consultation-not-yours"
    zh = "此步骤应由他人办理。"
    help_en = "The one who booked it cancels and checks the patient's identity; the consultant confirms, opens, writes and closes."
    help_zh = "取消与核验患者身份由预约人办理；确认、开始、记录与结束由会诊医师办理。"


class ConsultationInvalid(errors.Invalid):
    """The consultation can't be booked like this."""

    code = "consultation-invalid"
    zh = "会诊预约有误。"
    help_en = "Correct the named fields and send it again."
    help_zh = "请更正所列字段后重新提交。"


class NotTheTime(errors.Conflict):
    """The consultation can be opened within its appointed time only."""

    code = "consultation-not-the-time"
    zh = "仅可在预约时间内开始会诊。"
    help_en = "Wait until it begins; if the time has passed, book another one."
    help_zh = "请等候至预约开始时间；如已过时，请重新预约。"


class IdentityNotChecked(errors.Conflict):
    """The patient's identity has not been checked yet."""

    code = "consultation-identity"
    zh = "尚未核验患者身份。"
    help_en = "Check who the patient is, record how, and open the consultation then."
    help_zh = "请先核验患者身份并登记核验方式，再开始会诊。"


class RecordsNotTaken(errors.Invalid):
    """The records of the consultation were not taken."""

    code = "consultation-records"
    zh = "会诊记录未被接收。"
    help_en = "Nothing of the named entries was stored. Correct them and send the whole again; what was stored already is not stored twice."
    help_zh = "所列条目均未保存。请更正后整体重新提交，已保存的内容不会重复保存。"
