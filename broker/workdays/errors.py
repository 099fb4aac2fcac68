"""What can go wrong with the calendar of working days; the docstring is the English message."""

from __future__ import annotations

from broker import errors


class YearNotTaken(errors.Invalid):
    """The year's holidays were not taken in."""

    code = "working-year-invalid"
    zh = "该年度放假安排未被接收。"
    help_en = "Compare with the notice of the State Council; what is wrong is named."
    help_zh = "请对照国务院办公厅的放假通知；有误之处已列出。"
