"""A second verifier of an exported log, written from RFC 6962 and the C2SP texts alone: it shares no line with ``broker.audit``.

Where the broker folds entries into a growing edge, this one follows the recursive definition of the tree; where the broker
reads tiles as it goes, this one computes every tile from the entries and compares whole files. Slow, and easy to read beside
the standards. Kept for tests: two programs that were written apart seldom make the same mistake.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class NotVerified(Exception):
    """The log does not hold."""


@dataclass(frozen=True)
class Tree:
    """What the checkpoint says, once its signature holds."""

    size: int
    root: bytes
    cosigned: dict[str, int]  #: witness name → POSIX time of its cosignature


def exact_base64(text: str) -> bytes:
    data = base64.b64decode(text.encode("ascii"), validate=True)
    if base64.b64encode(data).decode() != text:
        raise NotVerified("Base64 is not canonical")
    return data


def public_key(vkey: str) -> tuple[str, bytes, int, bytes]:
    """Name, key id, algorithm and key bytes of a verifier key (signed-note, "Verifier keys")."""
    name, identifier, encoded = vkey.strip().split("+", 2)
    key = exact_base64(encoded)
    if hashlib.sha256(name.encode() + b"\n" + key).digest()[:4].hex() != identifier:
        raise NotVerified("the key id is wrong")
    return name, bytes.fromhex(identifier), key[0], key[1:]


def checkpoint(data: bytes, vkey: str, witnesses: tuple[str, ...] = ()) -> Tree:
    """signed-note "Format" and tlog-checkpoint "Note text"; cosignatures by tlog-cosignature "Format"."""
    text = data.decode("utf-8")
    if any(ord(character) < 32 and character != "\n" for character in text):
        raise NotVerified("control characters")
    cut = text.rindex("\n\n")
    body, tail = text[: cut + 1], text[cut + 2 :]
    if not tail.endswith("\n"):
        raise NotVerified("the last line has no end")
    lines = [re.fullmatch(r"— ([^ +\n]+) (\S+)", line) for line in tail[:-1].split("\n")]
    if not all(lines):
        raise NotVerified("a signature line of another form")
    signatures = [(line[1], exact_base64(line[2])) for line in lines if line]
    cosigned: dict[str, int] = {}
    signed = False
    for wanted in (vkey, *witnesses):
        name, identifier, algorithm, key = public_key(wanted)
        for signer, signature in signatures:
            if signer != name or signature[:4] != identifier:
                continue
            try:
                if algorithm == 0x01:
                    Ed25519PublicKey.from_public_bytes(key).verify(signature[4:], body.encode())
                    signed = True
                elif algorithm == 0x04:
                    time = int.from_bytes(signature[4:12], "big")
                    Ed25519PublicKey.from_public_bytes(key).verify(signature[12:], f"cosignature/v1\ntime {time}\n{body}".encode())
                    cosigned[name] = time
            except InvalidSignature as error:
                raise NotVerified(f"the signature of {name} is wrong") from error
        if name not in cosigned and not (algorithm == 0x01 and signed):
            raise NotVerified(f"{name} did not sign")
    first, second, third, *more = body.split("\n")
    if first != public_key(vkey)[0] or not re.fullmatch(r"0|[1-9][0-9]*", second) or more != [""]:
        raise NotVerified("not a checkpoint of this log")
    root = exact_base64(third)
    if len(root) != 32:
        raise NotVerified("the root is not 32 bytes")
    return Tree(int(second), root, cosigned)


def mth(leaves: list[bytes]) -> bytes:
    """Merkle Tree Hash over leaf hashes, by the recursive definition of RFC 6962 section 2.1."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def tile_path(level: int | str, number: int, width: int) -> str:
    """tlog-tiles "Merkle Tree": <N> in groups of three digits, all but the last behind an x."""
    digits = str(number)
    digits = "0" * (-len(digits) % 3) + digits
    groups = re.findall("...", digits)
    path = "/".join(["x" + group for group in groups[:-1]] + [groups[-1]])
    return f"tile/{level}/{path}" + (f".p/{width}" if width < 256 else "")


def read_entries(folder: Path, size: int) -> list[bytes]:
    """tlog-tiles "Log Entries": each entry behind its length as a big-endian uint16."""
    entries: list[bytes] = []
    while len(entries) < size:
        width = min(256, size - len(entries))
        data = (folder / tile_path("entries", len(entries) // 256, width)).read_bytes()
        found = []
        while data:
            length = int.from_bytes(data[:2], "big")
            if len(data) < 2 + length:
                raise NotVerified(f"entry {len(entries) + len(found)}: cut off")
            found.append(data[2 : 2 + length])
            data = data[2 + length :]
        if len(found) != width:
            raise NotVerified(f"bundle {len(entries) // 256} holds {len(found)} entries instead of {width}")
        entries += found
    return entries


def verify(folder: Path, vkey: str, older: tuple[bytes, ...] = (), witnesses: tuple[str, ...] = ()) -> Tree:
    """Read everything, compute everything anew, compare. Raises NotVerified, or OSError for a file that is not there."""
    tree = checkpoint((folder / "checkpoint").read_bytes(), vkey, witnesses)
    leaves = [hashlib.sha256(b"\x00" + entry).digest() for entry in read_entries(folder, tree.size)]
    if mth(leaves) != tree.root:
        raise NotVerified("the entries give another root")
    for note in older:
        old = checkpoint(note, vkey)
        if old.size > tree.size or mth(leaves[: old.size]) != old.root:
            raise NotVerified("the log does not continue a checkpoint that was saved")
    level, row = 0, leaves
    while row:
        for number in range(-(-len(row) // 256)):
            part = row[number * 256 : number * 256 + 256]
            if (folder / tile_path(level, number, len(part))).read_bytes() != b"".join(part):
                raise NotVerified(f"{tile_path(level, number, len(part))} is not what the entries give")
        row = [mth(row[at : at + 256]) for at in range(0, len(row) - len(row) % 256, 256)]
        level += 1
    return tree


def inclusion_root(index: int, size: int, leaf: bytes, path: list[bytes]) -> bytes:
    """The root that an audit path leads to, by the recursive definition of RFC 6962 section 2.1.1."""
    if size == 1:
        if path:
            raise NotVerified("the path is too long")
        return leaf
    if not path:
        raise NotVerified("the path is too short")
    k = 1
    while k * 2 < size:
        k *= 2
    if index < k:
        return hashlib.sha256(b"\x01" + inclusion_root(index, k, leaf, path[:-1]) + path[-1]).digest()
    return hashlib.sha256(b"\x01" + path[-1] + inclusion_root(index - k, size - k, leaf, path[:-1])).digest()


def check_receipt(text: str, entry: bytes, vkey: str) -> Tree:
    """tlog-proof: header, index, path, blank line, checkpoint."""
    head, _, note = text.partition("\n\n")
    header, index, *path = head.split("\n")
    if header != "c2sp.org/tlog-proof@v1" or not re.fullmatch(r"index (0|[1-9][0-9]*)", index):
        raise NotVerified("not a receipt")
    tree = checkpoint(note.encode(), vkey)
    at = int(index.removeprefix("index "))
    if at >= tree.size:
        raise NotVerified("the entry is beyond the tree")
    leaf = hashlib.sha256(b"\x00" + entry).digest()
    if inclusion_root(at, tree.size, leaf, [exact_base64(line) for line in path]) != tree.root:
        raise NotVerified("the path leads to another root")
    return tree
