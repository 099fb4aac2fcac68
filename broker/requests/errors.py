"""What can go wrong with a patient's request; the docstring is the English message."""

from __future__ import annotations

from broker import errors


class NoSuchRequest(errors.NotFound):
    """There is no such request, or you may not see it."""

    code = "patient-request-unknown"
    zh = "没有该请求，或您无权查看。"


class RequestMoveNotAllowed(errors.Conflict):
    """This is not possible in the request's present state."""

    code = "patient-request-move-not-allowed"
    zh = "请求的当前状态不允许此操作。"
    help_en = "Load the request again. Whoever asks on another's behalf is identified first; the clock is extended once."
    help_zh = "请刷新该请求。代他人提出的请求须先核验身份；办理期限只能延长一次。"


class RequestWordsRequired(errors.Invalid):
    """Say in words what is asked, or why."""

    code = "patient-request-words-required"
    zh = "请用文字说明请求内容或理由。"
    help_en = "Fill in the named field and send it again."
    help_zh = "请填写所列字段后重新提交。"


class GroundRequired(errors.Invalid):
    """A refusal names its ground in law."""

    code = "patient-request-ground-required"
    zh = "拒绝须写明法定理由。"
    help_en = "Choose one of the grounds and explain it in plain words."
    help_zh = "请选择一项法定理由，并用通俗的语言加以说明。"


class AnotherPerson(errors.Forbidden):
    """An appeal is decided by somebody else than who refused."""

    code = "patient-request-another-person"
    zh = "复议须由原处理人以外的人办理。"
    help_en = "Let a colleague with the same role decide it."
    help_zh = "请由具有同样角色的同事办理。"


class CorrectionNotTaken(errors.Invalid):
    """The corrected records were not taken in."""

    code = "patient-request-correction-not-taken"
    zh = "更正后的记录未被接收。"
    help_en = "Correct what is named; a resource is whole, of this patient, and has its own id."
    help_zh = "请更正所列问题；资源须完整、属于该患者并带有自身的 id。"
