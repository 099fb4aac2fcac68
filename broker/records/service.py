"""The front door of the records: patients, their sealed resources, ingest, and reading for a release."""

from __future__ import annotations

from broker import jobs
from broker.records.compartment import SHARED_TYPES
from broker.records.dates import clinical_dates
from broker.records.errors import RecordUnreadable, UnknownPatient
from broker.records.ingest import Progress, Refused, Report, ingest, ingest_bundle
from broker.records.labelling import FREE_TEXT, IN_TEXT, LEVELS, UNCLASSIFIED, Label, denied, labels_for
from broker.records.lookup import all_of, born, called, match, resource_of
from broker.records.matching import Match
from broker.records.models import SHARED
from broker.records.nobody import NOBODY, nobody
from broker.records.patients import all_patients, bump_epoch, check_keys, find_patient, freeze, is_frozen, open_vault
from broker.records.preparing import spoken
from broker.records.relabelling import background as relabelling_background
from broker.records.relabelling import relabel, relabel_all
from broker.records.release_reads import (
    PATIENT_SQL,
    SHARED_STATE_SQL,
    VAULT_SQL,
    Extent,
    Opened,
    Row,
    Window,
    age_from_rows,
    codes_of,
    open_row,
    open_rows,
    read,
    read_linked,
    read_named,
    read_one,
    read_with_extents,
    state_of,
    unseal_rows,
    vault,
)
from broker.records.rewrapping import FIRST as FIRST_PATIENT
from broker.records.rewrapping import rewrap, wrapped_in, wrapped_with
from broker.records.shredding import is_shredded, shred, shred_again
from broker.records.spoken_of import open_words, seal_words, under_patient
from broker.records.tokens import id_token, label_tokens
from broker.records.upstream import Given as Upstream
from broker.records.upstream import add as add_upstream
from broker.records.upstream import ask as ask_pull
from broker.records.upstream import background as upstream_background
from broker.records.upstream import listed as upstreams
from broker.records.upstream import public_jwks, pull
from broker.records.upstream_http import UpstreamFailed
from broker.records.vault import Vault, unwrap
from broker.records.whole import whole

__all__ = [
    "FIRST_PATIENT",
    "FREE_TEXT",
    "IN_TEXT",
    "LEVELS",
    "NOBODY",
    "PATIENT_SQL",
    "SHARED",
    "SHARED_STATE_SQL",
    "SHARED_TYPES",
    "UNCLASSIFIED",
    "VAULT_SQL",
    "Extent",
    "Label",
    "Match",
    "Opened",
    "Progress",
    "RecordUnreadable",
    "Refused",
    "Report",
    "Row",
    "UnknownPatient",
    "Upstream",
    "UpstreamFailed",
    "Vault",
    "Window",
    "add_upstream",
    "age_from_rows",
    "all_of",
    "all_patients",
    "ask_pull",
    "background",
    "born",
    "bump_epoch",
    "called",
    "check_keys",
    "clinical_dates",
    "codes_of",
    "denied",
    "find_patient",
    "freeze",
    "id_token",
    "ingest",
    "ingest_bundle",
    "is_frozen",
    "is_shredded",
    "label_tokens",
    "labels_for",
    "match",
    "nobody",
    "open_row",
    "open_rows",
    "open_vault",
    "open_words",
    "public_jwks",
    "pull",
    "read",
    "read_linked",
    "read_named",
    "read_one",
    "read_with_extents",
    "relabel",
    "relabel_all",
    "resource_of",
    "rewrap",
    "seal_words",
    "shred",
    "shred_again",
    "spoken",
    "state_of",
    "under_patient",
    "unseal_rows",
    "unwrap",
    "upstreams",
    "vault",
    "whole",
    "wrapped_in",
    "wrapped_with",
]


def background() -> list[jobs.Job]:
    """What the records do by themselves."""
    return [*relabelling_background(), *upstream_background()]
