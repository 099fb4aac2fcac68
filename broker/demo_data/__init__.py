"""The demo hospital: nine invented patients as FHIR R4 bundles, the staff around them, and who may ask for their data.

``tools/demo_data`` writes the bundles. Every person is invented; resident numbers carry a region code that no place has.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

_FOLDER = files(__name__)


def management() -> bytes:
    """The hospital's organisations, practitioners, roles, places and devices: one transaction Bundle, of no patient."""
    return _FOLDER.joinpath("management.json").read_bytes()


def patients() -> list[bytes]:
    """One transaction Bundle for each patient, the patient of the story first."""
    return [file.read_bytes() for file in sorted(_FOLDER.joinpath("patients").iterdir(), key=lambda file: file.name)]


def bundles() -> list[bytes]:
    """Everything that is loaded into the records, in the order in which references resolve."""
    return [management(), *patients()]


def hospital() -> dict[str, Any]:
    """Who is there: ``organizations`` (parents first), ``people`` with their roles, ``clients``, and the cast of the ``story``.

    ``agreement_until`` is a day; ``roles`` name a role of ``identity.roles`` and the organisation in which it is held.
    Passwords and keys are not here: the demo makes new ones each time.
    """
    content: dict[str, Any] = json.loads(_FOLDER.joinpath("hospital.json").read_bytes())
    return content
