"""What the pages need from the rest of the house, put together once by ``broker/app.py``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlmodel import Session

from broker import clock
from broker.applications.models import Application
from broker.applications.service import Means, Preview
from broker.consent.service import Wording
from broker.crypto import Keys
from broker.database import Database
from broker.incidents.service import SecondFactor
from broker.policy.service import Catalogue, PolicySet, Text
from broker.requests.service import Deliver
from broker.retention.service import Means as Destruction
from broker.settings import Settings


@dataclass(frozen=True)
class Desk:
    """Handed to every page.

    ``means``, ``preview``: as applications' own routes have them. ``beside``: a preview with what
    stays (``release.beside.Beside``). ``accounting``: what was sent of a patient
    (``release.accounting.Disclosure``), and the same as a file of a patient shown as this, in this
    language. ``reconcile``: a recipient's import log held against ours
    (``release.reconciling.Reconciled``). ``catalogue``, ``purposes``, ``lawful_bases``, ``reasons``:
    policy's names in both languages; ``wording``: the same as notices use them.
    ``destruction``: what else goes with a patient's key; ``second_factor``: whether somebody proves theirs.
    ``kept_by_recipients``: days after which recipients delete, by the names of policy's least-necessary profiles.
    """

    settings: Settings
    keys: Keys
    database: Database
    means: Means
    preview: Preview
    beside: Callable[[Session, Application, Mapping[str, Any]], Sequence[Any]]
    accounting: Callable[[Session, UUID], Sequence[Any]]
    accounting_file: Callable[[Session, UUID, str, str], bytes]
    reconcile: Callable[[Session, str, str, datetime, datetime, bytes], Any]
    catalogue: Catalogue
    purposes: Mapping[str, Text]
    lawful_bases: Mapping[str, Text]
    reasons: Mapping[str, Text]
    wording: Wording
    policies: Callable[[], PolicySet]  #: the policies that decide now
    destruction: Destruction
    second_factor: SecondFactor
    deliver: Deliver  #: sends a body and says whether every byte was taken
    kept_by_recipients: Sequence[tuple[Text, int]]

    @property
    def today(self) -> date:
        """The present day at the hospital, which begins eight hours before that of UTC in Shanghai."""
        return clock.now().astimezone(ZoneInfo(self.settings.time_zone)).date()
