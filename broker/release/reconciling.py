"""A recipient's own import log held against what was sent to it: matched, changed on the way, missing here, missing there. Pure.

Two forms are read, alone, in a list, as lines, or in a Bundle: the receipts that ``broker receive --receipt`` writes, and FHIR AuditEvents of an
import (IHE BALP PrivacyDisclosure.Recipient, DCM 110107). A release is known by its number, or by the SHA-256 of its bytes where no number was kept.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

#: Kind of a receipt of ``release.receiving``.
RECEIPT = "broker.release.receipt/1"
#: DICOM: Import, by which a recipient's AuditEvent says that data came in.
IMPORT = "110107"
#: No import log of one request holds more.
MOST = 20_000


class LogUnreadable(ValueError):
    """The file is no import log in any of the forms that are read."""


@dataclass(frozen=True)
class Imported:
    """One line of a recipient's log. ``number``: its place, from 1."""

    number: int
    release: UUID | None
    digest: str | None  #: SHA-256 in hex
    at: str | None


@dataclass(frozen=True)
class Sent:
    """One release of ours; ``digest`` is None where nothing more than the intent is known."""

    release: UUID
    at: datetime
    application: str | None
    outcome: str
    digest: str | None
    within: bool  #: whether it lies in the period that is looked at, and not only near it


@dataclass(frozen=True)
class Reconciled:
    """What came of it. ``matched`` holds the releases that both have; ``repeated`` lines that name one a second time."""

    matched: tuple[Sent, ...]
    changed: tuple[tuple[Sent, Imported], ...]
    missing_there: tuple[Sent, ...]
    missing_here: tuple[Imported, ...]
    repeated: tuple[Imported, ...]
    unreadable: tuple[int, ...]

    @property
    def changed_ours(self) -> tuple[Sent, ...]:
        """Those of ours that arrived as other bytes."""
        return tuple(ours for ours, _ in self.changed)

    @property
    def agrees(self) -> bool:
        """Whether both sides tell the same."""
        return not (self.changed or self.missing_there or self.missing_here or self.unreadable)

    @property
    def counts(self) -> dict[str, int]:
        """How many of each."""
        return {name: len(getattr(self, name)) for name in ("matched", "changed", "missing_there", "missing_here", "repeated", "unreadable")}


def objects(data: bytes) -> list[Any]:
    """The entries of a file: a JSON object, list or Bundle, or one object a line. Raises LogUnreadable."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LogUnreadable("the file is not UTF-8") from error
    try:
        found = json.loads(text)
    except ValueError:
        try:
            found = [json.loads(line) for line in text.splitlines() if line.strip()]
        except (ValueError, RecursionError) as error:
            raise LogUnreadable("the file is neither JSON nor one JSON object a line") from error
    except RecursionError as error:
        raise LogUnreadable("the file is nested too deeply") from error
    return flattened(found if isinstance(found, list) else [found])


def flattened(found: Iterable[Any]) -> list[Any]:
    """Bundles opened. Raises LogUnreadable for more than anybody sends at once."""
    entries: list[Any] = []
    for one in found:
        if isinstance(one, Mapping) and one.get("resourceType") == "Bundle":
            inside = one.get("entry")
            entries += [entry.get("resource") if isinstance(entry, Mapping) else None for entry in inside] if isinstance(inside, list) else []
        else:
            entries.append(one)
    if len(entries) > MOST:
        raise LogUnreadable(f"more than {MOST} entries; divide the period")
    return entries


def imported(entries: Sequence[Any]) -> tuple[list[Imported], list[int]]:
    """What the entries say, and the places of those that are not understood: they are told, never passed over."""
    read, unreadable = [], []
    for number, entry in enumerate(entries, 1):
        said = _said(entry, number)
        if said is None:
            unreadable.append(number)
        else:
            read.append(said)
    return read, unreadable


def _said(entry: Any, number: int) -> Imported | None:
    if not isinstance(entry, Mapping):
        return None
    if entry.get("kind") == RECEIPT:
        found = Imported(number, _uuid(entry.get("release")), _digest(entry.get("digest")), _text(entry.get("received_at")))
    elif entry.get("resourceType") == "AuditEvent" and _code(entry.get("type")) == IMPORT:
        found = _of_event(entry, number)
    else:
        return None
    return found if found.release is not None or found.digest is not None else None


def _of_event(event: Mapping[str, Any], number: int) -> Imported:
    release, digest = None, None
    entities = event.get("entity")
    for entity in entities if isinstance(entities, list) else []:
        if not isinstance(entity, Mapping):
            continue
        what = entity.get("what")
        identifier = what.get("identifier") if isinstance(what, Mapping) else None
        release = release or _uuid(identifier.get("value") if isinstance(identifier, Mapping) else None)
        details = entity.get("detail")
        for detail in details if isinstance(details, list) else []:
            if isinstance(detail, Mapping) and detail.get("type") == "digest":
                digest = digest or _digest(detail.get("valueString"))
    return Imported(number, release, digest, _text(event.get("recorded")))


def _code(coding: Any) -> Any:
    return coding.get("code") if isinstance(coding, Mapping) else None


def _text(value: Any) -> str | None:
    return value[:40] if isinstance(value, str) else None


def _uuid(value: Any) -> UUID | None:
    try:
        return UUID(value.removeprefix("urn:uuid:")) if isinstance(value, str) else None
    except ValueError:
        return None


def _digest(value: Any) -> str | None:
    """SHA-256 in hex, of either spelling."""
    if not isinstance(value, str):
        return None
    plain = value.removeprefix("sha-256=").removeprefix("sha256:").lower()
    return plain if len(plain) == 64 and all(letter in "0123456789abcdef" for letter in plain) else None


def compare(sent: Sequence[Sent], read: Sequence[Imported], unreadable: Sequence[int]) -> Reconciled:
    """Hold one against the other. Each release is matched once; what lies outside the period is matched and never missed."""
    by_release = {one.release: one for one in sent}
    by_digest: dict[str, list[Sent]] = defaultdict(list)
    for one in sent:
        if one.digest is not None:
            by_digest[one.digest].append(one)
    matched: dict[UUID, Sent] = {}
    changed: list[tuple[Sent, Imported]] = []
    strange: list[Imported] = []
    repeated: list[Imported] = []
    # Those that say their number come first, so that a line without one can't take another's release.
    for line in sorted(read, key=lambda one: (one.release is None, one.number)):
        if line.release is not None:
            ours = by_release.get(line.release)
        else:
            same = by_digest.get(line.digest or "", [])
            ours = next((one for one in same if one.release not in matched), same[0] if same else None)
        if ours is None:
            strange.append(line)
        elif ours.release in matched:
            repeated.append(line)
        elif line.digest is not None and ours.digest is not None and line.digest != ours.digest:
            changed.append((ours, line))
        else:
            matched[ours.release] = ours
    told = matched.keys() | {ours.release for ours, _ in changed}
    missing = [one for one in sent if one.within and one.release not in told]
    return Reconciled(
        matched=tuple(one for one in sent if one.release in matched),
        changed=tuple((ours, line) for ours, line in changed if ours.release not in matched),
        missing_there=tuple(missing),
        missing_here=tuple(sorted(strange, key=lambda one: one.number)),
        repeated=tuple(repeated),
        unreadable=tuple(unreadable),
    )


def outcomes(found: Iterable[Sent]) -> dict[str, int]:
    """How many of which outcome, for a summary."""
    return dict(Counter(one.outcome for one in found))
