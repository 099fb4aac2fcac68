"""Reading records for a release: raw asynchronous psycopg, binary, prepared, a constant number of queries.

Types, dates and denied labels are decided in SQL, so that an excluded body is neither fetched nor decrypted. Nothing here asks
whether the caller may read: that is decided before (``release``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import psycopg

from broker.crypto import Keys
from broker.fhir import definitions
from broker.fhir.ages import Age, age_class
from broker.records.labelling import IN_TEXT
from broker.records.models import SHARED
from broker.records.tokens import id_token, label_tokens
from broker.records.vault import Unsealed, Vault, labels_of, unwrap
from broker.wire import Statement, run

Cursor = psycopg.AsyncCursor[Any]


class Window(NamedTuple):
    """Clinical dates a release may reach, both ends included; None is open.

    A resource whose period overlaps the window is in it. One without a readable date is in no bounded window, except of types that
    have no clinical date at all, such as Patient (``fhir.definitions.clinical_dates``).
    """

    start: datetime | None = None
    end: datetime | None = None


class _Born(msgspec.Struct):
    """What is read of a Patient to tell an age."""

    birthDate: str | None = None  # noqa: N815  (FHIR's name)


_DECODE_BORN = msgspec.json.Decoder(_Born).decode


class Row(NamedTuple):
    """A stored resource, still sealed."""

    patient_key: UUID
    type: str
    id_token: UUID
    version: int
    last_updated: datetime
    body: bytes

    @property
    def place(self) -> tuple[str, UUID]:
        """Where it stands in the order of :func:`read`; give the last row's as ``after`` for the next page."""
        return self.type, self.id_token


class Opened(NamedTuple):
    """A stored resource, opened."""

    id: str
    type: str
    version: int
    last_updated: datetime
    labels: tuple[str, ...]  #: codes; always one of N, R, V, or ``unclassified``
    body: bytes  #: as it was given, byte for byte
    in_text: tuple[str, ...] = ()  #: ``text:`` codes: what free text alone speaks of


_COLUMNS = "r.patient_key, r.type, r.id_token, r.version, r.last_updated, r.body"

#: No row for a patient who is frozen: whatever reads for a release then finds nobody (PI-7).
#: Nor for one of whom something is from an upstream server whose last whole round is older than was stated for it (decision 0027).
VAULT_SQL = """
SELECT p.wrapped_key, p.fhir_id_sealed, p.epoch, coalesce((SELECT c.changes FROM record_changes c WHERE c.patient_key = p.patient_key), 0)
FROM patient p WHERE p.patient_key = %s AND p.frozen_at IS NULL
AND NOT EXISTS (SELECT FROM upstream_server s WHERE s.stale_after < statement_timestamp() AND EXISTS (
  SELECT FROM upstream_resource u WHERE u.patient_key = p.patient_key AND u.server = s.name AND NOT u.gone))
"""

#: The Patient resource of a patient, as :func:`age_from_rows` wants it. A range of the primary key.
PATIENT_SQL = "SELECT r.type, r.id_token, r.version, r.body FROM resource r WHERE r.patient_key = %s AND r.type = 'Patient'"

_VAULT = Statement(VAULT_SQL)

_ALL = Statement(f"""
SELECT {_COLUMNS} FROM resource r
WHERE r.patient_key = %(patient_key)s AND r.type = ANY(%(types)s) AND NOT (r.labels && %(deny)s::bigint[])
  AND (r.type, r.id_token) > (%(after_type)s, %(after_token)s)
ORDER BY r.type, r.id_token LIMIT %(limit)s
""")

_FROM_WITHIN = """
FROM resource r
JOIN unnest(%(types)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS w(type, start_at, end_at) ON w.type = r.type
WHERE r.patient_key = %(patient_key)s AND r.type = ANY(%(types)s) AND NOT (r.labels && %(deny)s::bigint[])
  AND ((w.start_at IS NULL AND w.end_at IS NULL) OR (r.clinical_from IS NOT NULL
       AND (w.end_at IS NULL OR r.clinical_from <= w.end_at) AND (w.start_at IS NULL OR coalesce(r.clinical_until, 'infinity') >= w.start_at)))
"""
_WITHIN = f"SELECT {_COLUMNS} {_FROM_WITHIN}"

_WINDOWED = Statement(f"""{_WITHIN}
  AND (r.type, r.id_token) > (%(after_type)s, %(after_token)s)
ORDER BY r.type, r.id_token LIMIT %(limit)s
""")

_NAMED = Statement(f"{_WITHIN} AND r.id_token = ANY(%(named)s::uuid[])")

_EXTENTS = Statement(f"""
SELECT r.type, max(r.clinical_from), min(r.clinical_until), bool_and(r.clinical_from IS NOT NULL) {_FROM_WITHIN} GROUP BY r.type
""")

_LINKS = Statement("""
SELECT DISTINCT unnest(r.links) FROM resource r
WHERE r.patient_key = %(patient_key)s AND r.type = ANY(%(source_types)s) AND r.id_token = ANY(%(sources)s)
""")

#: The state of those of the shared resources ``s.watched`` that have one of ``%(shared_types)s`` and none of the labels ``%(shared_deny)s``:
#: what :func:`state_of` says of the same rows. One who exchanges a row, its labels or its bytes makes another state.
SHARED_STATE_SQL = f"""
SELECT sha256(coalesce(string_agg(convert_to(r.type, 'UTF8') || uuid_send(r.id_token) || int8send(r.version::int8) || sha256(r.body), ''::bytea
                                  ORDER BY r.type COLLATE "C", r.id_token), ''::bytea))
FROM resource r
WHERE r.patient_key = '{SHARED}' AND r.id_token = ANY(s.watched) AND r.type = ANY(%(shared_types)s::text[])
  AND NOT (r.labels && %(shared_deny)s::bigint[])
"""

_ONE = Statement(f"SELECT {_COLUMNS} FROM resource r WHERE r.id_token = %s AND r.type = %s LIMIT 2")

_LINKED = Statement(f"""
SELECT {_COLUMNS} FROM resource r
WHERE r.patient_key = %(shared)s AND r.type = ANY(%(types)s) AND NOT (r.labels && %(deny)s::bigint[])
  AND r.id_token IN (SELECT unnest(s.links) FROM resource s WHERE s.patient_key = %(patient_key)s AND s.type = ANY(%(source_types)s)
                     AND s.id_token = ANY(%(sources)s))
ORDER BY r.type, r.id_token
""")


async def vault(cursor: Cursor, keys: Keys, patient_key: UUID) -> Vault | None:
    """The patient's opened data key with the epoch of the consents, or None if there is no such patient."""
    (rows,) = await run(cursor.connection, (_VAULT, (patient_key,)))
    return unwrap(keys, patient_key, *rows[0]) if rows else None


def age_from_rows(vault: Vault, rows: Iterable[tuple[str, UUID, int, bytes]], today: date) -> Age:
    """The patient's class of age on a day by the rows of :data:`PATIENT_SQL`; unknown where they say none, or more than one.

    Raises RecordUnreadable.
    """
    said = {birth_date(body) for _, _, body in vault.unseal(rows)}
    return age_class(said.pop() if len(said) == 1 else None, today)


def birth_date(patient: bytes) -> str | None:
    """``Patient.birthDate`` as it stands; None where it is not said."""
    try:
        return _DECODE_BORN(patient).birthDate
    except (msgspec.ValidationError, msgspec.DecodeError):
        return None


def _reading(
    patient_key: UUID, types: Mapping[str, Window], deny_tokens: Sequence[int], after: tuple[str, UUID] | None, limit: int | None
) -> tuple[Statement, dict[str, Any]]:
    """The statement of :func:`read`."""
    names = sorted(types)
    parameters = {
        "patient_key": patient_key,
        "types": names,
        "deny": list(deny_tokens),
        "after_type": after[0] if after else "",
        "after_token": after[1] if after else SHARED,
        "limit": limit,
    }
    windows = [types[name] if definitions.clinical_dates(name) else Window() for name in names]
    if any(window != Window() for window in windows):
        parameters |= {"starts": [window.start for window in windows], "ends": [window.end for window in windows]}
        statement = _WINDOWED
    else:
        statement = _ALL
    return statement, parameters


async def read(
    cursor: Cursor,
    *,
    patient_key: UUID,
    types: Mapping[str, Window],
    deny_tokens: Sequence[int],
    after: tuple[str, UUID] | None = None,
    limit: int | None = None,
) -> list[Row]:
    """The patient's resources of these types and dates that carry none of the denied labels, ordered by type and blinded id.

    ``deny_tokens`` come from :func:`broker.records.tokens.label_tokens`; deny ``unclassified`` always. No types: no rows.
    """
    (rows,) = await run(cursor.connection, _reading(patient_key, types, deny_tokens, after, limit))
    return [*map(Row._make, rows)]


async def read_with_extents(
    cursor: Cursor, *, patient_key: UUID, types: Mapping[str, Window], deny_tokens: Sequence[int], limit: int
) -> tuple[list[Row], dict[str, Extent]]:
    """The first rows of :func:`read`, and of all that it gives the extent of each type, in one round trip."""
    names = sorted(types)
    windows = [types[name] if definitions.clinical_dates(name) else Window() for name in names]
    parameters = {
        "patient_key": patient_key,
        "types": names,
        "deny": list(deny_tokens),
        "starts": [window.start for window in windows],
        "ends": [window.end for window in windows],
    }
    rows, found = await run(cursor.connection, _reading(patient_key, types, deny_tokens, None, limit), (_EXTENTS, parameters))
    return [*map(Row._make, rows)], {name: Extent(*rest) for name, *rest in found}


async def read_named(
    cursor: Cursor, *, patient_key: UUID, types: Mapping[str, Window], deny_tokens: Sequence[int], named: Sequence[UUID]
) -> list[Row]:
    """Of what :func:`read` would give, the resources with these blinded ids (:func:`broker.records.tokens.id_token`)."""
    names = sorted(types)
    windows = [types[name] if definitions.clinical_dates(name) else Window() for name in names]
    parameters = {
        "patient_key": patient_key,
        "types": names,
        "deny": list(deny_tokens),
        "named": list(named),
        "starts": [window.start for window in windows],
        "ends": [window.end for window in windows],
    }
    (rows,) = await run(cursor.connection, (_NAMED, parameters))
    return [*map(Row._make, rows)]


class Extent(NamedTuple):
    """Between which clinical dates the resources of one type lie that a read gave."""

    since: datetime | None  #: the latest beginning
    until: datetime | None  #: the earliest end; None: none has ended
    dated: bool  #: whether each has a beginning


def state_of(rows: Iterable[Row]) -> bytes:
    """SHA-256 over type, blinded id, version and bytes of shared resources, each once: as long as it is the same, so are they."""
    found = sorted((row.type.encode(), row.id_token.bytes, row.version.to_bytes(8, "big"), sha256(row.body).digest()) for row in rows)
    return sha256(b"".join(b"".join(one) for one in found)).digest()


async def read_one(cursor: Cursor, keys: Keys, resource_type: str, resource_id: str) -> Row | None:
    """One resource by type and id, whosever it is; compare ``patient_key`` and labels before opening it."""
    (rows,) = await run(cursor.connection, (_ONE, (id_token(keys, resource_type, resource_id), resource_type)))
    return Row(*rows[0]) if len(rows) == 1 else None  # Two patients with one id can't be told apart: nobody gets either.


class Linked(NamedTuple):
    """Shared resources that resources of a patient refer to."""

    rows: list[Row]
    asked: list[UUID]  #: the blinded ids of all that are referred to, whether there are such or not
    vault: Vault | None  #: opens the rows


async def read_linked(
    cursor: Cursor, keys: Keys, *, patient_key: UUID, types: Sequence[str], sources: Sequence[tuple[str, UUID]], deny: Sequence[str] = ()
) -> Linked:
    """Shared resources (staff, organisations, products …) of these types that the given resources of a patient refer to, in one round trip.

    ``sources`` are the places (:attr:`Row.place`) of what is really released: a psychiatrist that only a withheld encounter names
    must not appear. ``deny`` are label codes.
    """
    parameters = {
        "shared": SHARED,
        "patient_key": patient_key,
        "types": sorted(types),
        "deny": label_tokens(keys, SHARED, deny),
        "source_types": sorted({source[0] for source in sources}),
        "sources": [source[1] for source in sources],
    }
    rows, asked, vaults = await run(cursor.connection, (_LINKED, parameters), (_LINKS, parameters), (_VAULT, (SHARED,)))
    opened = unwrap(keys, SHARED, *vaults[0]) if rows and vaults else None
    return Linked([*map(Row._make, rows)], [link for (link,) in asked], opened)


def open_row(vault: Vault, row: Row) -> Opened:
    """Decrypt and unpack a row. Raises RecordUnreadable when its bytes or place were changed."""
    return open_rows(vault, (row,))[0]


def unseal_rows(vault: Vault, rows: Sequence[Row]) -> list[Unsealed]:
    """Id, labels (:func:`codes_of`) and body of each row, in their order. Raises RecordUnreadable when the bytes or place of one were changed."""
    return vault.unseal([(row[1], row[2], row[3], row[5]) for row in rows])


def open_rows(vault: Vault, rows: Sequence[Row]) -> list[Opened]:
    """Decrypt and unpack rows, in their order. Raises RecordUnreadable when the bytes or place of one were changed."""
    opened = []
    for row, (resource_id, labels, body) in zip(rows, unseal_rows(vault, rows), strict=True):
        codes, in_text = codes_of(labels)
        opened.append(Opened(resource_id, row[1], row[3], row[4], codes, body, in_text))
    return opened


@lru_cache(maxsize=4096)
def codes_of(labels: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The codes of stored labels that count for the whole resource, and those that count where its free text is kept."""
    codes = [label.code for label in labels_of(labels)]
    return tuple(code for code in codes if not code.startswith(IN_TEXT)), tuple(code for code in codes if code.startswith(IN_TEXT))
