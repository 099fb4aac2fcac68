"""What can go wrong with obligations and recalls; the docstring is the English message."""

from __future__ import annotations

from broker import errors


class NoSuchObligation(errors.NotFound):
    """There is no such obligation or recall, or it is not yours."""

    code = "obligation-unknown"
    zh = "没有该附加义务或召回，或与您无关。"


class ObligationMoveNotAllowed(errors.Conflict):
    """This is not possible in the obligation's present state."""

    code = "obligation-move-not-allowed"
    zh = "附加义务的当前状态不允许此操作。"
    help_en = "Load it again; what was answered can only be sent back by the information manager."
    help_zh = "请刷新；已答复的只能由信息管理员退回。"


class EvidenceRequired(errors.Invalid):
    """Say how it was done and where that can be seen, or which law requires that it be kept."""

    code = "obligation-evidence-required"
    zh = "请说明办理方式及证明；如依法留存，请说明依据。"
    help_en = "Fill in method and evidence and send it again."
    help_zh = "请填写办理方式与证明后重新提交。"
