"""Taking in what hospital systems export. The good resources go in, each bad one is refused with its place and reasons.

One transaction for each Bundle, and for each part of an NDJSON file: whoever is killed in the middle starts again and finds the rest.
Running it again changes nothing. Every transaction that stores something records it in the log.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.database import Database
from broker.errors import Invalid, Problem
from broker.records.labelling import Label
from broker.records.lookup import ids_by_identifier, labels_of
from broker.records.patients import check_keys
from broker.records.preparing import Prepared, Refusal, Surroundings, Unchanged, prepare, survey
from broker.records.relabelling import hand_on, look_again
from broker.records.rewriting import Condition
from broker.records.sources import Entry, Part, Unreadable, bundle_part, files_of, parts
from broker.records.storing import Collision, Stored, store

#: Resources prepared and sealed at a time: what bounds the memory of a large Bundle.
BATCH = 500

#: Refusals that are kept with their reasons; more are counted.
KEPT_REFUSALS = 10_000

#: What may name a source system: it stands in the log, which takes no names of people.
SOURCE = re.compile(r"[A-Za-z0-9._:/\-]{1,64}", re.ASCII)

#: Tries of a part that collides with somebody else's.
TRIES = 6


class Refused(NamedTuple):
    """One entry that was refused: the file, the place in it, and every reason."""

    file: Path
    where: str
    problems: tuple[Problem, ...]


class Progress(NamedTuple):
    """How far it is, for a progress bar."""

    file: Path
    bytes_done: int
    bytes_total: int
    accepted: int
    unchanged: int
    refused: int


class Origin(Protocol):
    """What speaks for the resources of one upstream server while they are taken in (``records.upstream``)."""

    def local(self, reference: str) -> str | None:
        """``Type/id`` of an absolute reference to the server itself."""
        ...

    def admitted(self, session: Session, ready: Sequence[Prepared]) -> tuple[list[Prepared], list[Refusal]]:
        """Those that the server may bring, and why not the others."""
        ...

    def keep(self, session: Session, stored: Sequence[Prepared]) -> None:
        """Note that the server has these."""
        ...


class _Links(dict[str, str | None]):
    """Full URLs of a Bundle's entries, and every address below the server that it is from."""

    def __init__(self, origin: Origin) -> None:
        super().__init__()
        self._origin = origin

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or (isinstance(key, str) and self._origin.local(key) is not None)

    def __getitem__(self, key: str) -> str | None:
        return super().__getitem__(key) if super().__contains__(key) else self._origin.local(key)


@dataclass
class Report:
    """What became of everything that was given."""

    files: int = 0
    accepted: int = 0
    unchanged: int = 0
    refused: int = 0
    refusals: list[Refused] = field(default_factory=list)  #: the first KEPT_REFUSALS


@dataclass
class _Outcome:
    """What became of one file."""

    stored: Stored = field(default_factory=Stored)
    waiting: bool = False


@dataclass
class _Run:
    """One run of ingest: what stays the same for all its files."""

    database: Database
    keys: Keys
    source: str
    actor: str
    max_depth: int
    matched: dict[Condition, list[str]] = field(default_factory=dict)
    medications: dict[str, tuple[Label, ...]] = field(default_factory=dict)
    origin: Origin | None = None

    def surroundings(self, session: Session) -> Surroundings:
        """What entries may refer to outside their file. What was found once is remembered; what wasn't may come yet."""

        def stored(condition: Condition) -> Sequence[str]:
            if condition not in self.matched:
                found = ids_by_identifier(session, self.keys, condition.type, condition.system, condition.value)
                if not found:
                    return ()
                self.matched[condition] = found
            return self.matched[condition]

        def medication(reference: str) -> tuple[Label, ...] | None:
            if reference not in self.medications:
                labels = labels_of(session, self.keys, "Medication", reference.removeprefix("Medication/"))
                if labels is None:
                    return None
                self.medications[reference] = labels
            return self.medications[reference]

        def unnamed(data: bytes) -> str:
            return self.keys.blind("unnamed", data.hex()).hex()[:32]

        links = {} if self.origin is None else _Links(self.origin)
        return Surroundings(links=links, stored=stored, medication=medication, unnamed=unnamed, max_depth=self.max_depth)


def ingest(
    database: Database,
    keys: Keys,
    paths: Sequence[Path],
    *,
    source: str = "",
    actor: str = "system",
    max_depth: int = 64,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Read Bundles, NDJSON and single resources from files and folders into the records.

    ``source`` names the system they came from, in the log; Invalid if it isn't a plain name. Never raises for what stands in the
    files; raises OtherKey when the database was filled with another key, and database errors.
    """
    run = _run(database, keys, source, actor, max_depth)
    files = files_of(paths)
    sizes = {file: file.stat().st_size if file.is_file() else 0 for file in files}
    report, done = Report(files=len(files)), 0
    waiting: dict[Path, Stored] = {}  # Files of which something waits for what another file may bring.

    def told(file: Path, at: int, outcome: Stored) -> None:
        if progress is not None:
            counted = (report.accepted + outcome.accepted, report.unchanged + outcome.unchanged, report.refused + len(outcome.refused))
            progress(Progress(file, done + at, sum(sizes.values()), *counted))

    for file in files:
        outcome = _file(run, file, told)
        if outcome.waiting:
            waiting[file] = outcome.stored  # Counted when the second reading is over.
        else:
            _add(report, file, outcome.stored)
        done += sizes[file]
        told(file, 0, Stored())
    for file, first in waiting.items():
        second = _file(run, file, None, final=True).stored
        # What the first reading took in or knew is unchanged in the second.
        known = first.accepted + first.unchanged
        _add(report, file, Stored(first.accepted + second.accepted, first.unchanged + max(0, second.unchanged - known), second.refused))
        told(file, 0, Stored())
    return report


def ingest_bundle(database: Database, keys: Keys, data: bytes, *, source: str = "", actor: str = "system", max_depth: int = 64) -> Report:
    """One Bundle, or one resource, that is at hand as bytes; like :func:`ingest` of a file that holds it."""
    stored, _ = _part(_run(database, keys, source, actor, max_depth), bundle_part(data), 1, final=True)
    report = Report(files=1)
    _add(report, Path("-"), stored)
    return report


def ingest_parts(database: Database, keys: Keys, batch: Iterable[Part], *, source: str, origin: Origin, actor: str = "system") -> Report:
    """Parts of what an upstream server gave, each in a transaction of its own, through the same door as files."""
    run = _run(database, keys, source, actor, 64)
    run.origin = origin
    report = Report()
    for number, part in enumerate(batch, 1):
        stored, _ = _part(run, part, number, final=True)
        _add(report, Path("-"), stored)
    return report


def _run(database: Database, keys: Keys, source: str, actor: str, max_depth: int) -> _Run:
    if source and not SOURCE.fullmatch(source):
        raise Invalid("source: letters, digits and . _ : / - only, at most 64.")
    with database.transaction() as session:
        check_keys(session, keys)
    return _Run(database, keys, source, actor, max_depth)


def _add(report: Report, file: Path, stored: Stored) -> None:
    report.accepted += stored.accepted
    report.unchanged += stored.unchanged
    report.refused += len(stored.refused)
    room = KEPT_REFUSALS - len(report.refusals)
    report.refusals += [Refused(file, refusal.where, refusal.problems) for refusal in stored.refused[:room]]


def _file(run: _Run, file: Path, told: Callable[[Path, int, Stored], None] | None, *, final: bool = False) -> _Outcome:
    """One file. What waits for another file is left out, unless this reading is the final one."""
    outcome = _Outcome()
    for number, part in enumerate(parts(file), 1):
        stored, waiting = _part(run, part, number, final=final)
        outcome.stored.accepted += stored.accepted
        outcome.stored.unchanged += stored.unchanged
        outcome.stored.refused += stored.refused
        outcome.waiting = outcome.waiting or waiting
        if told is not None:
            told(file, part.bytes_done, outcome.stored)
    return outcome


def _part(run: _Run, part: Part, number: int, *, final: bool) -> tuple[Stored, bool]:
    """Store one part in one transaction, again if somebody else got in between."""
    for attempt in range(TRIES):
        try:
            with run.database.transaction() as session:
                return _stored(run, session, part, number, final=final)
        except Collision:
            if attempt == TRIES - 1:
                raise
            time.sleep(0.05 * 2**attempt)
        except OperationalError as error:
            if attempt == TRIES - 1 or getattr(error.orig, "sqlstate", None) not in ("40P01", "40001"):
                raise
            time.sleep(0.05 * 2**attempt)
    raise AssertionError("unreachable")  # pragma: no cover


def _stored(run: _Run, session: Session, part: Part, number: int, *, final: bool) -> tuple[Stored, bool]:
    stored = Stored(refused=[Refusal(entry.where, entry.problems) for entry in part.entries if isinstance(entry, Unreadable)])
    entries = [entry for entry in part.entries if isinstance(entry, Entry)]
    around = run.surroundings(session)
    if part.whole:
        survey(entries, around)
    waiting = False
    for start in range(0, len(entries), BATCH):
        ready: list[Prepared] = []
        for entry in entries[start : start + BATCH]:
            result = prepare(entry, around)
            if isinstance(result, Unchanged):
                stored.unchanged += 1
            elif result.waiting and not final:
                waiting = True
            elif isinstance(result, Prepared):
                ready.append(result)
            else:
                stored.refused.append(result)
        if run.origin is not None:
            ready, refused = run.origin.admitted(session, ready)
            stored.refused += refused
        hand_on(session, run.keys, ready)
        done = store(session, run.keys, ready)
        if run.origin is not None:
            run.origin.keep(session, ready)
        look_again(session, run.keys, ready)
        stored.accepted += done.accepted
        stored.unchanged += done.unchanged
        stored.refused += done.refused
    _record(run, session, part, number, stored)
    return stored, waiting


def _record(run: _Run, session: Session, part: Part, number: int, stored: Stored) -> None:
    """One event for each part that changed something or held something bad. File names may name patients, so that they stay out."""
    if not stored.accepted and not stored.refused:
        return
    facts: dict[str, str | int | bool | list[str]] = {
        "part": number,
        "accepted": stored.accepted,
        "unchanged": stored.unchanged,
        "refused": len(stored.refused),
        "sha256": part.digest,
    }
    if run.source:
        facts["source"] = run.source
    if not part.digest:
        del facts["sha256"]  # Nothing of the file could be read.
    audit.record(session, Event("records.ingested", run.actor, facts=facts))
