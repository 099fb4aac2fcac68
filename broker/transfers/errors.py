"""What can go wrong with the register of transfer routes; the docstring is the English message."""

from __future__ import annotations

from broker import errors


class RouteInvalid(errors.Invalid):
    """The transfer route is not valid."""

    code = "transfer-route-invalid"
    zh = "出境路径登记有误。"
    help_en = "Correct the fields that are named."
    help_zh = "请更正所列各项。"


class NoSuchRoute(errors.NotFound):
    """There is no such transfer route."""

    code = "transfer-route-unknown"
    zh = "没有该出境路径。"


class NotThisRoute(errors.Conflict):
    """The transfer route is in another state."""

    code = "transfer-route-state"
    zh = "出境路径的状态不允许此操作。"
    help_en = "Only what is proposed can be confirmed, and what was ended stays so: enter it anew."
    help_zh = "仅待确认的路径可以确认；已终止的不可恢复，请重新登记。"


class OwnRoute(errors.Forbidden):
    """Whoever entered a transfer route does not confirm it."""

    code = "transfer-route-own"
    zh = "登记人不得确认自己登记的出境路径。"
    help_en = "Ask a colleague to look at it and to confirm it."
    help_zh = "请由另一位同事核对并确认。"
