"""The values that consent rules work on: provisions as typed values, what is asked, what is known of a resource, verdicts. Pure.

A consent is a flat tuple of :class:`Provision` in document order, the root first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from broker.consent.times import Span

#: The label of a resource that could not be labelled; it is withheld (rule 6).
UNCLASSIFIED = "unclassified"
#: Stands before the code of a label that only free text gives.
IN_TEXT = "text:"


#: What a release does, in codes of consentaction; a permit must name one of them.
ACTIONS_OF_RELEASE = frozenset({"access", "disclose"})
#: What would be done with what was released; denying that denies the release too.
ACTIONS_AFTER_RELEASE = frozenset({"collect", "use"})
#: Every action that is understood. ``correct`` has nothing to do with a release.
ACTIONS = ACTIONS_OF_RELEASE | ACTIONS_AFTER_RELEASE | {"correct"}

#: Types whose coded type says which document they are.
DOCUMENT_TYPES = frozenset({"DocumentReference", "Composition", "DiagnosticReport"})

#: Bounded on no side.
OPEN = Span()


class Effect(StrEnum):
    """What a provision, a consent or all of them say about one resource for one use."""

    PERMIT = "permit"
    DENY = "deny"
    SILENT = "silent"


class Scope(StrEnum):
    """What a consent is about, so far as it matters here (Consent.scope)."""

    PRIVACY = "patient-privacy"
    RESEARCH = "research"
    OTHER = "other"  #: adr, treatment: not about sharing data


class Meaning(StrEnum):
    """How ``provision.data`` names resources: Consent.provision.data.meaning with the two readings of ``related`` told apart."""

    INSTANCE = "instance"
    REFERS_TO = "refers-to"  #: ``related`` as R4 defines it: the named resource and what it refers to
    BELONGS_TO = "belongs-to"  #: ``dependents``, and ``related`` as IHE PCF uses it: the named resource and what refers to it
    AUTHORED_BY = "authored-by"


@dataclass(frozen=True, slots=True)
class Datum:
    """One resource named by a provision."""

    meaning: Meaning
    reference: str  #: ``Type/id``


@dataclass(frozen=True, slots=True)
class Classes:
    """Kinds of resources: types, profile URLs, document types as ``system|code``. One of them suffices."""

    types: frozenset[str] = frozenset()
    profiles: frozenset[str] = frozenset()
    documents: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Conditions:
    """When a provision applies: all that is given must hold; None is no condition; within one, any of its values suffices."""

    period: Span | None = None
    actors: frozenset[str] | None = None
    actions: frozenset[str] | None = None
    purposes: frozenset[str] | None = None
    labels: frozenset[str] | None = None
    classes: tuple[Classes, ...] | None = None  #: each of them must hold
    codes: frozenset[str] | None = None  #: ``system|code``
    data_period: Span | None = None
    data: tuple[Datum, ...] | None = None

    @property
    def about_resources(self) -> bool:
        """Whether anything of the resource is asked."""
        return any(one is not None for one in (self.labels, self.classes, self.codes, self.data_period, self.data))


@dataclass(frozen=True, slots=True)
class Provision:
    """One rule. ``number`` is its place in document order, ``depth`` 0 for the root, ``parent`` the number it is nested in."""

    number: int
    parent: int | None
    depth: int
    path: str  #: FHIRPath, e.g. ``Consent.provision.provision[0]``
    effect: Effect
    when: Conditions


@dataclass(frozen=True, slots=True)
class Use:
    """What is asked: by whom (every reference the caller may be named by), for which purpose, at which second.

    ``near``: whom a denial means besides, since what is released is open to them, too.
    """

    actors: frozenset[str]
    purpose: str
    at: int
    near: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ResourceFacts:
    """What rules may ask of a resource. Dates are epoch seconds, both ends included; None: not known.

    ``labels`` are codes of v3-Confidentiality and of the sensitivity tree; anything else in them is a label not understood. A code
    after ``text:`` is what free text alone speaks of: it can deny and never permits. Leave it out where free text doesn't leave.
    """

    type: str
    id: str
    labels: tuple[str, ...]
    date_from: int | None = None
    date_until: int | None = None
    codes: frozenset[str] = frozenset()
    profiles: frozenset[str] = frozenset()
    references: frozenset[str] = frozenset()
    authors: frozenset[str] = frozenset()

    @property
    def reference(self) -> str:
        """``Type/id``."""
        return f"{self.type}/{self.id}"


#: What a named resource refers to: (its reference) → references, or None where it could not be looked up.
Anchors = Callable[[str], frozenset[str] | None]


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of a resource, told apart."""

    level: int | None = None  #: highest confidentiality: a label is a high-water mark
    level_missing: bool = False  #: there are labels, but no confidentiality among them; it may be any
    sensitive: frozenset[str] = frozenset()
    unknown: bool = False  #: at least one label is not understood
    in_text: frozenset[str] = frozenset()  #: topics that free text alone speaks of

    def single(self) -> Iterator[Labels]:
        """The labels as if the resource were about one sensitive topic alone, for each of them; its confidentiality stays."""
        for code in sorted(self.sensitive):
            yield Labels(self.level, self.level_missing, frozenset({code}))
        for code in sorted(self.in_text):
            yield Labels(self.level, self.level_missing, in_text=frozenset({code}))
        if self.unknown or not (self.sensitive or self.in_text):
            yield Labels(self.level, self.level_missing, unknown=self.unknown)


class Reason(StrEnum):
    """Why a verdict is what it is."""

    PROVISION = "provision"  #: a provision decided
    UNLABELLED = "unlabelled"  #: the resource has no label and could not be given one (rule 6)
    UNENFORCEABLE = "unenforceable"  #: a consent that speaks could not be understood (rules 2, 8)
    NOTHING_SAID = "nothing-said"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What all consents together say about one resource, and who decided."""

    effect: Effect
    reason: Reason
    consent: str = ""  #: id of the consent that decided
    provision: str = ""  #: path of its provision


@dataclass(frozen=True, slots=True)
class Statement:
    """One consent as it was understood. ``unenforceable``: some of it was not, so that it can only deny (rules 2, 8)."""

    consent: str
    active: bool
    scope: Scope
    span: Span
    provisions: tuple[Provision, ...]
    unenforceable: bool = False
    issued: Span = OPEN  #: Consent.dateTime: the seconds that it may mean; open where it is not given
    identifiers: frozenset[str] = frozenset()  #: ``system|value``
    replaces: frozenset[str] = frozenset()  #: ``Consent/id`` that it names as replaced
    giver: str = "unknown"  #: who gave it (``givers``)
    separate: frozenset[str] = frozenset()  #: the separate consents that it says (``givers``)
