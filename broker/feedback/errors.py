"""What can go wrong with feedback; the docstring is the English message."""

from __future__ import annotations

from broker import errors


class FeedbackInconsistent(errors.Invalid):
    """The answers of the feedback contradict each other."""

    code = "feedback-inconsistent"
    zh = "使用反馈的内容相互矛盾。"
    help_en = "Correct the named answers and send it again."
    help_zh = "请更正所列各项后重新提交。"


class NoSuchConcern(errors.NotFound):
    """There is no such suggestion or complaint, or it is not yours."""

    code = "concern-unknown"
    zh = "没有该建议或投诉，或与您无关。"


class ConcernClosed(errors.Conflict):
    """It is closed."""

    code = "concern-closed"
    zh = "该建议或投诉已结束。"
    help_en = "Raise it anew if something is left."
    help_zh = "如仍有问题，请重新提出。"


class ConcernNotExtended(errors.Conflict):
    """Its clock can't be made longer: it is a suggestion, was answered, or runs longer already."""

    code = "concern-not-extended"
    zh = "该事项的答复期限不能延长：属于建议、已经答复，或已延长过。"
    help_en = "Answer it by the day that was promised."
    help_zh = "请在已告知的期限内答复。"


class NoSuchRelease(errors.Invalid):
    """There was no such release under this application."""

    code = "feedback-release"
    zh = "该申请下没有这次传输。"
