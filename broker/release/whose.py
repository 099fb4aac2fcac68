"""Whose data a call is about, found in one statement that costs the same whatever it finds (attacks B13, B15).

A resource of a patient of the grant is asked for under that patient. One that is nobody's here, that belongs to a patient outside the grant, or that
two have, is asked for under a patient of the grant who stands in: gate, decision, record and search are then those of a resource that is withheld,
and spend what those spend. Nothing of it can leave: :attr:`Whose.instead` says so to whoever sends.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import psycopg

from broker.crypto import Keys
from broker.records import service as records
from broker.release.answers import Refusal
from broker.release.query import Wanted
from broker.wire import Statement, run


@dataclass(frozen=True)
class Whose:
    """Under which patient a call is judged; None where nobody can be named, as for a query that can't be read."""

    patient_key: UUID | None
    instead: str = ""  #: where the patient only stands in: why, in the record's words


#: All columns are worked out whatever the others are. A resource of no patient belongs to a patient of the grant whose resources refer to it; the
#: aggregate looks at all of them, so that the first hit is not told from none.
_WHOSE = """
WITH owner AS MATERIALIZED (SELECT o.patient_key FROM resource o WHERE o.id_token = %(token)s AND o.type = %(type)s LIMIT 2),
     member AS NOT MATERIALIZED (SELECT m.patient_key FROM grant_patient m WHERE m.grant_id = %(grant)s)
SELECT (SELECT array_agg(owner.patient_key) FROM owner),
       EXISTS (SELECT FROM member WHERE member.patient_key = (SELECT owner.patient_key FROM owner LIMIT 1)),
       {referring},
       coalesce((SELECT patient_key FROM member WHERE patient_key >= %(token)s ORDER BY patient_key LIMIT 1),
                (SELECT patient_key FROM member ORDER BY patient_key LIMIT 1))
"""
_OWNED = Statement(_WHOSE.format(referring="NULL::uuid"))
_SHARED = Statement(
    _WHOSE.format(
        referring="""(SELECT (array_agg(m.patient_key ORDER BY m.patient_key))[1] FROM grant_patient m
        JOIN resource r ON r.patient_key = m.patient_key WHERE m.grant_id = %(grant)s AND r.links @> ARRAY[%(token)s]::uuid[])"""
    )
)


async def asked_about(connection: psycopg.AsyncConnection, keys: Keys, wanted: Wanted | Refusal, grant_id: UUID) -> Whose:
    """The patient whom the call names, or whom the one resource it names leads to."""
    if isinstance(wanted, Refusal):
        return Whose(None)
    if wanted.patient is not None:
        return Whose(keys.patient_key(wanted.patient))
    assert wanted.id is not None  # noqa: S101  (query.read gives one or the other)
    kind = wanted.types[0]
    parameters = {"token": records.id_token(keys, kind, wanted.id), "type": kind, "grant": grant_id}
    statement = _SHARED if kind in records.SHARED_TYPES else _OWNED
    (((owners, member, referring, stand_in),),) = await run(connection, (statement, parameters))
    if owners is not None and len(owners) == 1:
        if member:
            return Whose(owners[0])
        if owners[0] == records.SHARED and referring is not None:
            return Whose(referring)
        return Whose(stand_in, "resource.not-in-grant")
    return Whose(stand_in, "resource.withheld-or-unknown")
