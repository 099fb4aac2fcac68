"""SMART scopes (SMART App Launch 2.2, "Scopes for requesting FHIR resources") and the one that binds a token to its grant.

Pure. Both spellings are read and given back as they were asked: v1 ``system/Observation.read``, v2 ``system/Observation.rs``;
they begin with ``user/`` where the client acts for a person.
Only reading is ever granted, since a broker's client has nothing to write.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

#: RFC 6749 3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E ), separated by spaces.
_CHARACTERS = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]*")
MAX_SCOPE_CHARACTERS = 4096
_SMART = re.compile(
    r"(patient|user|system)/(\*|[A-Z][A-Za-z]{1,63})\.(?:(read|write|\*)|(c?r?u?d?s?))(?:\?category=((?:[A-Za-z][\w+.:/~%-]{0,200}\|)?[\w.-]{1,64}))?",
    re.ASCII,
)
#: Types that a granular scope may narrow by category: those whose category a search can look at (``release.filters``).
CATEGORISED = frozenset(
    {"CarePlan", "CareTeam", "Condition", "DiagnosticReport", "DocumentReference", "Goal", "MedicationStatement", "Observation", "Procedure",
     "ServiceRequest"}
)  # fmt: skip
_APPLICATION = re.compile(r"application:(SA-[0-9]{4}-[0-9]{6})")
#: What v1 words mean in v2 letters (SMART 2.2, "Scopes for requesting FHIR resources", table of v1 equivalents).
_V1 = {"read": "rs", "write": "cud", "*": "cruds"}
#: The letters that can be granted: read and search.
READING = "rs"


@dataclass(frozen=True)
class SmartScope:
    """One SMART scope. ``letters`` is an ordered subset of ``cruds``; ``v1`` remembers which spelling was asked."""

    context: str  #: patient, user or system
    resource_type: str  #: an R4 type, or ``*``
    letters: str
    v1: bool = False
    category: str = ""  #: ``system|code`` or ``code``: reaches resources of this category alone

    def __str__(self) -> str:
        if not self.v1:
            return f"{self.context}/{self.resource_type}.{self.letters}" + (f"?category={self.category}" if self.category else "")
        word = next(word for word, letters in _V1.items() if letters == self.letters)
        return f"{self.context}/{self.resource_type}.{word}"

    def covers(self, resource_type: str, letter: str) -> bool:
        """Whether this scope lets ``letter`` (``r`` read, ``s`` search) be done to resources of the type."""
        return letter in self.letters and self.resource_type in ("*", resource_type)


@dataclass(frozen=True)
class ScopeRefused:
    """The requested scope can't be understood or granted. ``reason`` is ASCII and repeats nothing that was sent."""

    reason: str


#: Said where none is named and none, or more than one, is in force; which of the two is not told.
ONE_APPLICATION = "The scope must name exactly one application:SA-YYYY-NNNNNN, unless exactly one is in force for you."


_OTHER_CONTEXT = {
    "system": "Only system/ scopes can be granted to a client without a user.",
    "user": "Only user/ scopes can be granted to a client that acts for a person.",
}


@dataclass(frozen=True)
class RequestedScope:
    """What a client asks: SMART scopes under one application."""

    application: str  #: SA-YYYY-NNNNNN; empty where none is named
    smart: tuple[SmartScope, ...]  #: each once, in the order asked


@lru_cache(maxsize=2048)
def parse_smart(text: str) -> SmartScope | None:
    """One SMART scope, or None where it isn't one. Letters out of order, none, or a filter other than ``?category=`` give None."""
    match = _SMART.fullmatch(text)
    if match is None:
        return None
    context, resource_type, word, letters, category = match.groups()
    if (not word and not letters) or (category and (word or resource_type not in CATEGORISED)):
        return None
    return SmartScope(context, resource_type, _V1[word] if word else letters, v1=bool(word), category=category or "")


def parse_request(text: str, application_elsewhere: str | None = None, *, context: str = "system") -> RequestedScope | ScopeRefused:
    """Read the ``scope`` parameter of a token request.

    ``application_elsewhere``: the one that authorization_details name, which the scope then need not name, and must not contradict.
    ``context``: ``system`` for a client by itself, ``user`` for one that acts for a person.
    """
    if len(text) > MAX_SCOPE_CHARACTERS or not _CHARACTERS.fullmatch(text):
        return ScopeRefused("The scope is too long or holds characters that RFC 6749 does not allow.")
    applications: dict[str, None] = {} if application_elsewhere is None else {application_elsewhere: None}
    smart: dict[SmartScope, None] = {}
    for token in text.split():
        if application := _APPLICATION.fullmatch(token):
            applications[application[1]] = None
        elif scope := parse_smart(token):
            if scope.context != context:
                return ScopeRefused(_OTHER_CONTEXT[context])
            smart[scope] = None
        elif "?" in token:
            return ScopeRefused("Of granular scopes, v2 scopes of one type with ?category=system|code are served.")
        else:
            return ScopeRefused("The scope holds a part that is neither a SMART scope nor application:SA-YYYY-NNNNNN.")
    if len(applications) > 1:
        return ScopeRefused(ONE_APPLICATION)
    if not smart:
        return ScopeRefused("The scope must name at least one SMART scope such as system/Observation.rs.")
    return RequestedScope(next(iter(applications), ""), tuple(smart))


def granted(requested: Iterable[SmartScope], types: Iterable[str]) -> tuple[SmartScope, ...]:
    """What of the request lies within the grant: its types, and reading alone. ``*`` becomes each type of the grant.

    Every scope in the answer is covered by one that was asked and by the grant; empty means that nothing is left.
    """
    allowed = sorted(set(types))
    found: dict[SmartScope, None] = {}
    for scope in requested:
        letters = "".join(letter for letter in scope.letters if letter in READING)
        if not letters:
            continue
        for resource_type in allowed if scope.resource_type == "*" else [scope.resource_type]:
            if resource_type in allowed:
                found[SmartScope(scope.context, resource_type, letters, scope.v1, scope.category)] = None
    return tuple(found)


def written(application: str, smart: Iterable[SmartScope]) -> str:
    """The ``scope`` of a token: the SMART scopes, then the application."""
    return " ".join([*(str(scope) for scope in smart), f"application:{application}"])


def parse_granted(text: str) -> tuple[SmartScope, ...]:
    """The SMART scopes of a token that we signed. A part that is not SMART is left out, so that it permits nothing."""
    return tuple(scope for token in text.split() if (scope := parse_smart(token)) is not None)
