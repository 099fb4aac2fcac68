"""What can go wrong with a review; the docstring is the English message."""

from __future__ import annotations

from broker import errors


class NoSuchQuarter(errors.Invalid):
    """A quarter is written like 2026Q4."""

    code = "quarter"
    zh = "季度应写作 2026Q4 的形式。"
    help_en = "Give the year and the quarter, such as 2026Q4."
    help_zh = "请写明年份和季度，例如 2026Q4。"
