"""What can go wrong with retention and destruction; the docstring is the English message."""

from __future__ import annotations

from broker import errors


class NoSuchOrder(errors.NotFound):
    """There is no such destruction order or hold, or you may not see it."""

    code = "destruction-order-unknown"
    zh = "没有该销毁令或保全，或您无权查看。"


class OrderMoveNotAllowed(errors.Conflict):
    """This is not possible in the order's present state."""

    code = "destruction-move-not-allowed"
    zh = "销毁令的当前状态不允许此操作。"
    help_en = "Load the order again; what was carried out can't be undone."
    help_zh = "请刷新销毁令；已执行的销毁不可撤销。"


class TwoForDestruction(errors.Forbidden):
    """Two different people must order a destruction."""

    code = "destruction-two-people"
    zh = "销毁须由两人办理。"
    help_en = "Whoever proposed or first approved it can't approve it again; let a colleague do so."
    help_zh = "提出或先行同意者不得再次确认，请由同事办理。"


class OnHold(errors.Conflict):
    """A hold keeps these data: nothing was destroyed."""

    code = "destruction-on-hold"
    zh = "数据处于保全状态，未销毁任何内容。"
    help_en = "Release the hold, with its reason, before ordering the destruction again."
    help_zh = "请先说明理由解除保全，再行销毁。"


class WhatRequired(errors.Invalid):
    """Say what is to be destroyed, and how."""

    code = "destruction-what-required"
    zh = "请说明销毁的内容与方式。"
    help_en = "Name patients for a shredding; describe paper and media otherwise."
    help_zh = "密钥销毁须列明患者；纸质与介质请描述。"
