"""What can be wrong with a set of policies."""

from __future__ import annotations

from broker.errors import BrokerError


class PolicyUnusable(BrokerError):
    """The policies cannot be used."""

    status = 500
    code = "policy-unusable"
    zh = "策略无法使用。"
    help_en = "Run `broker policy check` and mend what it names; nothing is released until then."
    help_zh = "请运行 broker policy check 并按提示修正；在此之前不会释放任何数据。"
