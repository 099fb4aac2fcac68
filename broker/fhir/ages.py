"""How old somebody is, so far as a FHIR date tells, and the class of age that the law asks about. Pure."""

from __future__ import annotations

from datetime import date
from typing import Literal

Age = Literal["under_14", "14_to_17", "adult", "unknown"]

#: Under this age a guardian decides (PIPL 31), and personal information is sensitive whatever it is about (PIPL 28).
CHILD = 14
#: From this age on somebody is an adult (Civil Code 17).
ADULT = 18


def full_years(born: str | None, today: date) -> int | None:
    """Full years, taking the youngest that an incomplete birth date allows; None if it can't be told."""
    if not born:
        return None
    parts = born.split("-")
    try:
        year, month, day = int(parts[0]), int(parts[1]) if len(parts) > 1 else 12, int(parts[2]) if len(parts) > 2 else 31
    except ValueError:
        return None
    return today.year - year - ((today.month, today.day) < (month, day))


def age_class(born: object, today: date) -> Age:
    """The class of age on a day; ``born`` is Patient.birthDate as it stands. A child is one until the fourteenth birthday begins."""
    years = full_years(born, today) if isinstance(born, str) else None
    if years is None:
        return "unknown"
    return "under_14" if years < CHILD else "14_to_17" if years < ADULT else "adult"
