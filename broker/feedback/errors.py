"""What can go wrong with feedback; the docstring is the English message."""

from __future__ import annotations

from broker import errors


class FeedbackInconsistent(errors.Invalid):
    """The answers of the feedback contradict each other."""

    code = "feedback-inconsistent"
    zh = "使用反馈的内容相互矛盾。"
    help_en = "Correct the named answers and send it again."
    help_zh = "请更正所列各项后重新提交。"
