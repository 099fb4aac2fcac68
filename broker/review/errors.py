"""What can go wrong with a review; the docstring is the English message."""

from __future__ import annotations

from broker import errors


class NoSuchQuarter(errors.Invalid):
    """A quarter is written like 2026Q4."""

    code = "quarter"
    zh = "季度应写作 2026Q4 的形式。"
    help_en = "Give the year and the quarter, such as 2026Q4."
    help_zh = "请写明年份和季度，例如 2026Q4。"


class NotOver(errors.Conflict):
    """The quarter is not over yet."""

    code = "quarter-not-over"
    zh = "该季度尚未结束。"
    help_en = "A review is laid down and signed once its quarter is over."
    help_zh = "季度结束后方可定稿并签署。"


class SignedAlready(errors.Conflict):
    """This has been signed already, in this part or by you."""

    code = "review-signed"
    zh = "已由该角色或您本人签署。"
    help_en = "The auditor and the information manager sign, two different people."
    help_zh = "须由审计员与信息管理员两名不同人员签署。"


class AnotherDocument(errors.Conflict):
    """What you looked at is not the document that is signed."""

    code = "review-document"
    zh = "您所见内容与待签署的文本不一致。"
    help_en = "Load the review again and sign the digest that it names."
    help_zh = "请重新载入审计报告，并按其摘要签署。"


class NoSuchRight(errors.NotFound):
    """There is no such access right to confirm, or it is not yours to confirm."""

    code = "recertification-unknown"
    zh = "没有该待复核权限，或不由您复核。"
