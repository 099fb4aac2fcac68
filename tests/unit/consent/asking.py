"""Asking what consents say about a resource, as the command line does."""

from __future__ import annotations

from broker.consent import times
from broker.consent.offline import Offline
from broker.consent.related import Related
from broker.consent.values import Use

NOW = "2026-11-01T12:00:00Z"


def said(consents, resource, *, actor="Organization/shengli", purpose="TREAT", at=NOW, related=(), aliases=None):
    """The verdict."""
    second = times.read(at).start
    actors = frozenset([actor] if isinstance(actor, str) else actor)
    given = [consents] if isinstance(consents, dict) else consents
    return Offline(given, Use(actors, purpose, second), Related([*related, resource], aliases, at=second)).verdict(resource)


def effect(*args, **more):
    """``permit``, ``deny`` or ``silent``."""
    return said(*args, **more).effect.value
