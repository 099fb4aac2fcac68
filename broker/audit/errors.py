"""What can go wrong with the log. Each of these stops the work at hand: nothing is done that could not be recorded."""

from __future__ import annotations

from broker.errors import BrokerError, NotFound


class NotRecordable(BrokerError):
    """The event could not be recorded, so nothing was done."""

    status = 500
    code = "not-recordable"
    zh = "该事件无法写入日志，因此未执行任何操作。"


class NotSealedYet(NotFound):
    """The event is recorded; its proof will be there within seconds."""

    code = "not-sealed-yet"
    zh = "事件已记录，证明将在数秒内生成。"
    help_en = "Ask again after the seconds named in Retry-After."
    help_zh = "请在 Retry-After 所示秒数后重试。"


class LogDamaged(BrokerError):
    """The log does not fit together any more; nothing is signed."""

    status = 500
    code = "log-damaged"
    zh = "日志不再自洽，已停止签署。"
    help_en = "Run `broker audit verify`, keep every copy of old checkpoints, tell the auditor. After a restore: `broker audit recover FOLDER`."
    help_zh = "请运行 broker audit verify，保留所有旧检查点副本，并通知审计员。若刚恢复过备份，请运行 broker audit recover FOLDER。"
