"""What can be wrong with an installation's keys."""

from __future__ import annotations

from broker.errors import BrokerError


class KeyMissing(BrokerError):
    """This process does not hold a key that the database's data need, or would use one that was retired."""

    status = 503
    code = "key-missing"
    zh = "本进程缺少数据库所需的密钥，或将使用已停用的密钥。"
    help_en = "Run `broker keys list`, and give every process all keys that are not retired, the newest first."
    help_zh = "请运行 broker keys list，并为每个进程提供全部未停用的密钥，最新者在前。"
