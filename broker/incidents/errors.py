"""What can go wrong with incidents; the docstring is the English message."""

from __future__ import annotations

from broker import errors


class NoSuchIncident(errors.NotFound):
    """There is no such incident, or you may not see it."""

    code = "incident-unknown"
    zh = "没有该事件，或您无权查看。"


class IncidentMoveNotAllowed(errors.Conflict):
    """This is not possible in the incident's present state."""

    code = "incident-move-not-allowed"
    zh = "事件的当前状态不允许此操作。"
    help_en = "Load the incident again; it lists what can be done now."
    help_zh = "请刷新事件，按其列出的可用操作办理。"


class IncidentTextRequired(errors.Invalid):
    """Say in words why, or what was found."""

    code = "incident-text-required"
    zh = "请用文字说明原因或结果。"
    help_en = "Fill in the named field and send it again."
    help_zh = "请填写所列字段后重新提交。"


class DutiesOpen(errors.Conflict):
    """The incident can't be closed while duties are open."""

    code = "incident-duties-open"
    zh = "仍有未办事项，不能结案。"
    help_en = "Send or waive every notice and lift or confirm every containment first."
    help_zh = "请先发送或免除全部通知，并解除或确认全部遏制措施。"


class TwoPeople(errors.Forbidden):
    """A second person must confirm this."""

    code = "two-people"
    zh = "须由另一人确认。"
    help_en = "Whoever asked for it can't confirm it; let a colleague with the same role do so."
    help_zh = "提出人不得自行确认，请由具有同样角色的同事确认。"


class TargetUnknown(errors.NotFound):
    """One of the things to be frozen does not exist."""

    code = "containment-target-unknown"
    zh = "所列遏制对象不存在。"
    help_en = "Nothing was frozen. Correct the named target and send it again; the others are frozen with it."
    help_zh = "未冻结任何对象。请更正所列对象后重新提交，其他对象将一并冻结。"


class NoSuchCase(errors.NotFound):
    """There is no such case or emergency, or you may not see it."""

    code = "case-unknown"
    zh = "没有该案件或紧急调阅，或您无权查看。"


class CaseMoveNotAllowed(errors.Conflict):
    """This is not possible in the case's present state."""

    code = "case-move-not-allowed"
    zh = "案件的当前状态不允许此操作。"
    help_en = "Load the case again. Nobody is sanctioned before the time to be heard is over or they were heard."
    help_zh = "请刷新案件。当事人陈述之前或陈述期满之前，不得作出处理。"


class SecondFactorRequired(errors.Forbidden):
    """Emergency access needs your second factor."""

    code = "second-factor-required"
    zh = "紧急调阅须进行二次验证。"
    help_en = "Send the code of your second factor as second_factor."
    help_zh = "请在 second_factor 中提交二次验证码。"


class EmergencyDenied(errors.Forbidden):
    """Policy does not permit this even in an emergency."""

    code = "emergency-denied"
    zh = "即使在紧急情况下，策略也不允许此操作。"
    help_en = "The reasons are listed. Call the information manager on duty."
    help_zh = "原因已列出。请致电值班信息管理员。"
