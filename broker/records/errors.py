"""What can go wrong with records, in both languages."""

from __future__ import annotations

from broker.errors import BrokerError, NotFound, Unavailable


class UnknownPatient(NotFound):
    """There is no such patient, or you may not see them."""

    zh = "没有该患者，或您无权查看。"


class OtherKey(BrokerError):
    """This database was filled under another blinding key (or, where that was never a key of its own, key-encryption key)."""

    status = 503
    code = "other-key"
    zh = "数据库是用另一把主密钥或盲化密钥写入的。"
    help_en = "Give BROKER_BLINDING_KEY and BROKER_KEY_ENCRYPTION_KEY the keys of this database (a backup, or BROKER_VAR/keys). Nothing was changed."
    help_zh = "请将 BROKER_BLINDING_KEY 与 BROKER_KEY_ENCRYPTION_KEY 设为该数据库的密钥（备份，或 BROKER_VAR/keys 下的文件）。未改动任何数据。"


class RecordUnreadable(Unavailable):
    """A stored record does not open: its bytes or its place were changed."""

    code = "record-unreadable"
    zh = "存储的记录无法打开：内容或位置已被改动。"
    help_en = "Nothing of it was released. Tell the administrator: restore the record from a backup and look into who wrote to the database."
    help_zh = "未发送其任何内容。请通知管理员：从备份恢复该记录，并查明是谁写入了数据库。"
