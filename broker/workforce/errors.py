"""What can go wrong with the registers of qualifications and training; the docstring is the English message."""

from __future__ import annotations

from broker import errors


class NotQualified(errors.Forbidden):
    """A qualification or training that this needs is missing or has run out."""

    code = "not-qualified"
    zh = "缺少所需的资质或培训，或其已过期。"
    help_en = "Renew what is named, and have it entered in the register of qualifications or training."
    help_zh = "请办理所列资质或培训，并在资质登记或培训登记中更新。"


class CredentialInvalid(errors.Invalid):
    """The entry of the register is not valid."""

    code = "credential-invalid"
    zh = "登记条目有误。"


class NoSuchCredential(errors.NotFound):
    """There is no such entry in the register."""

    code = "credential-unknown"
    zh = "登记中没有该条目。"


class TableUnreadable(errors.Malformed):
    """The CSV file could not be read."""

    code = "table-unreadable"
    zh = "无法读取 CSV 文件。"
    help_en = "Send CSV in UTF-8 or GB18030 whose first line names the columns: holder, code, number, scope, issuer, issued_on, valid_until."
    help_zh = "请提供 UTF-8 或 GB18030 编码的 CSV，首行为列名：holder、code、number、scope、issuer、issued_on、valid_until。"
