"""The demo hospital: nine invented patients as FHIR R4 bundles, the staff around them, and who may ask for their data.

``tools/demo_data`` writes the bundles. Every person is invented; resident numbers carry a region code that no place has.
"""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from importlib.resources import files
from typing import Any

_FOLDER = files(__name__)

#: The day for which the bundles were written. A policy looks back so many days, and the story must not shrink as it grows old.
WRITTEN_FOR = date(2026, 11, 23)

#: A whole date, or the date of an instant. Days of birth stay, since the resident number holds them too.
_DAY = re.compile(rb'(?<!"birthDate": )"(20[0-9]{2}-[0-9]{2}-[0-9]{2})(?=["T])')


def moved(content: bytes, on: date) -> bytes:
    """The same with every day moved on by as many whole weeks as lie between the day it was written for and ``on``."""
    weeks = timedelta(weeks=(on - WRITTEN_FOR).days // 7)
    if not weeks:
        return content
    return _DAY.sub(lambda found: b'"' + (date.fromisoformat(found[1].decode()) + weeks).isoformat().encode(), content)


def management(on: date = WRITTEN_FOR) -> bytes:
    """The hospital's organisations, practitioners, roles, places and devices: one transaction Bundle, of no patient."""
    return moved(_FOLDER.joinpath("management.json").read_bytes(), on)


def patients(on: date = WRITTEN_FOR) -> list[bytes]:
    """One transaction Bundle for each patient, the patient of the story first, as their records stand on a day."""
    return [moved(file.read_bytes(), on) for file in sorted(_FOLDER.joinpath("patients").iterdir(), key=lambda file: file.name)]


def bundles(on: date = WRITTEN_FOR) -> list[bytes]:
    """Everything that is loaded into the records, in the order in which references resolve."""
    return [management(on), *patients(on)]


def hospital(on: date = WRITTEN_FOR) -> dict[str, Any]:
    """Who is there: ``organizations`` (parents first), ``people`` with their roles, ``clients``, and the cast of the ``story``.

    ``agreement_until`` is a day; ``certificates``: what of a person is entered in the register of qualifications; ``roles`` name a role of
    ``identity.roles`` and the organisation in which it is held.
    Passwords and keys are not here: the demo makes new ones each time.
    """
    content: dict[str, Any] = json.loads(moved(_FOLDER.joinpath("hospital.json").read_bytes(), on))
    return content
