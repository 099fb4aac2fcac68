"""Documents on paper: a Typst template and the data that it says. Words of people are data and never source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typst

#: Fonts of which one must be there, so that Chinese is not a row of boxes.
FONTS = ("Noto Sans CJK SC", "Noto Sans CJK", "Source Han Sans SC")


def fonts_there() -> bool:
    """Whether a font with Chinese is installed (Debian: fonts-noto-cjk)."""
    return not set(FONTS).isdisjoint(typst.Fonts().families())


def pdf(template: Path, data: Mapping[str, Any], at: datetime) -> bytes:
    """PDF/A-2b, dated ``at``; the same template, data and time give the same bytes."""
    given = json.dumps(data, ensure_ascii=False, sort_keys=True)
    when = at.astimezone(UTC).replace(microsecond=0)
    made = typst.compile(template.read_bytes(), format="pdf", sys_inputs={"data": given}, pdf_standards="a-2b", timestamp=when)
    return b"".join(made) if isinstance(made, list) else made
