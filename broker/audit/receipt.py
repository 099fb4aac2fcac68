"""A receipt: proof that one entry is in the log, checked offline with nothing but the log's public key (C2SP tlog-proof). Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from broker.audit.note import Checkpoint, NoteInvalid, Verifier, from_base64, to_base64
from broker.audit.tree import HASH_BYTES, check_inclusion, leaf_hash

HEADER = "c2sp.org/tlog-proof@v1"
MEDIA_TYPE = "text/plain; charset=utf-8"

#: No tree has a longer path.
MAX_HASHES = 64

_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True)
class Receipt:
    """Where an entry stands, the hashes from its sibling up to the root's child, and the signed checkpoint of that tree."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint_note: str


def write(index: int, hashes: Sequence[bytes], checkpoint_note: str) -> str:
    """The text of a receipt, for a file named ``.tlog-proof``."""
    return "".join([f"{HEADER}\nindex {index}\n", *(f"{to_base64(item)}\n" for item in hashes), "\n", checkpoint_note])


def parse(text: str) -> Receipt:
    """Read a receipt. An ``extra`` line is not authenticated and is passed over. Raises NoteInvalid."""
    head, found, checkpoint_note = text.partition("\n\n")
    lines = head.split("\n")
    if not found or lines[0] != HEADER:
        raise NoteInvalid("not a receipt of the first version")
    if len(lines) > 1 and lines[1].startswith("extra "):
        from_base64(lines.pop(1).removeprefix("extra "))
    match = _INDEX.fullmatch(lines[1]) if len(lines) > 1 else None
    if match is None:
        raise NoteInvalid("the index is a decimal number without leading zeros")
    hashes = tuple(from_base64(line) for line in lines[2:])
    if len(hashes) > MAX_HASHES or any(len(item) != HASH_BYTES for item in hashes):
        raise NoteInvalid("a proof is at most 64 hashes of 32 bytes")
    return Receipt(int(match[1]), hashes, checkpoint_note)


def check(text: str, entry: bytes, verifier: Verifier) -> Checkpoint:
    """The checkpoint that the receipt stands on, when it shows that ``entry`` is in this log."""
    return check_hash(text, leaf_hash(entry), verifier)


def check_hash(text: str, leaf: bytes, verifier: Verifier) -> Checkpoint:
    """The same for an entry of which only the leaf hash is known.

    Steps: 1 read the receipt, 2 open its checkpoint with the log's key, 3 follow the proof from the entry to the root.
    Raises NoteInvalid, SignatureInvalid or ProofInvalid.
    """
    receipt = parse(text)
    checkpoint = Checkpoint.opened(receipt.checkpoint_note, verifier)
    check_inclusion(receipt.index, checkpoint.size, leaf, receipt.hashes, checkpoint.root)
    return checkpoint
