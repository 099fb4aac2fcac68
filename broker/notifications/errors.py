"""What can go wrong with notifications; the docstring is the English message."""

from __future__ import annotations

from broker import errors


class ChannelRefused(errors.Invalid):
    """Nothing can be sent to this address."""

    code = "channel-refused"
    zh = "无法向该地址发送通知。"
    help_en = "Give a mail address, or an https address on a public network or in BROKER_WEBHOOK_NETWORKS, without user name and fragment."
    help_zh = "请填写邮箱地址，或公网及 BROKER_WEBHOOK_NETWORKS 所列网络内的 https 地址，不含用户名与片段。"


class NoSuchNotification(errors.NotFound):
    """There is no such notification, or it is not yours."""

    code = "notification-unknown"
    zh = "没有该通知，或不属于您。"


class UndeliverableKind(ValueError):
    """A part of the broker tells of something in a way that the table of kinds doesn't know: a mistake of ours, never a caller's."""


class NotDelivered(Exception):
    """A delivery did not arrive. ``code`` says why in a word; ``final``: trying again is of no use."""

    def __init__(self, code: str, *, final: bool = False) -> None:
        super().__init__(code)
        self.code = code
        self.final = final
