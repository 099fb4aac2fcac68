"""Files of FHIR resources, as hospitals hand them over: Bundles, NDJSON, single resources, plain or gzip.

NDJSON is streamed, so that memory does not grow with a file; a Bundle is held whole, since its references point into it. What can't
be read is a :class:`Unreadable` entry with its reason, and the rest goes on.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec

from broker.errors import Malformed, Problem, TooLarge
from broker.fhir.parse import read_json

#: Bundles larger than this are refused with the advice to give NDJSON; so are longer lines.
MAX_BUNDLE_BYTES = 256_000_000
MAX_LINE_BYTES = 16_000_000

#: One part of an NDJSON file is stored in one transaction.
PART_LINES = 2000
PART_BYTES = 8_000_000

SUFFIXES = (".json", ".ndjson", ".jsonl", ".json.gz", ".ndjson.gz", ".jsonl.gz")
BUNDLE_TYPES = ("transaction", "batch", "collection", "searchset")

_BOM = b"\xef\xbb\xbf"
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{},]', re.DOTALL)


class Entry(NamedTuple):
    """One entry of a Bundle, or one line of NDJSON, as bytes that nobody has read yet."""

    where: str  #: ``entry[3]`` or ``line 12``
    data: bytes | msgspec.Raw  #: a Raw is a view into the file's bytes, copied when its turn comes
    wrapped: bool  #: a Bundle's entry, with the resource inside


class Unreadable(NamedTuple):
    """A place in a file that can't be read, and why."""

    where: str
    problems: tuple[Problem, ...]


@dataclass
class Part:
    """What is stored together: a whole Bundle, or some lines of NDJSON."""

    entries: list[Entry | Unreadable] = field(default_factory=list)
    whole: bool = True  #: references may point to other entries
    bytes_done: int = 0  #: of the file as it lies on disk, up to here
    digest: str = ""  #: SHA-256 of the bytes of this part, hex


class _Bundle(msgspec.Struct):
    entry: msgspec.Raw = msgspec.Raw(b"[]")
    resourceType: str | None = None  # noqa: N815 - FHIR's name
    type: str | None = None


_decode_bundle = msgspec.json.Decoder(_Bundle).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The files to read: those named, and those with a known suffix below the folders named, each once, in a steady order.

    Files of staff, organisations and products come first, since others refer to them.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found.update((file, None) for file in sorted(path.rglob("*")) if file.is_file() and file.name.lower().endswith(SUFFIXES))
        else:
            found[path] = None
    return sorted(found, key=lambda file: not _is_basic(file.name))


def _is_basic(name: str) -> bool:
    return bool(re.match(r"(?:\d+\.)?(?:hospital|practitioner|organization|location|medication[.\d]|substance|device[.\d])", name.lower()))


def _read_all(file: BinaryIO, limit: int) -> bytes:
    data = file.read(limit + 1)
    if len(data) > limit:
        raise TooLarge(f"more than {limit} bytes", problems=(Problem("$", "too-large", f"More than {limit} bytes. Give NDJSON instead."),))
    return data


def _unreadable(code: str, message: str, where: str = "$") -> Part:
    return Part([Unreadable(where, (Problem(where, code, message),))])


def parts(file: Path) -> Iterator[Part]:
    """The parts of a file. Never raises for what is wrong with the file: that is an Unreadable entry."""
    try:
        with file.open("rb") as plain:
            zipped = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            opened: Any = gzip.GzipFile(fileobj=plain) if zipped else plain
            if ".ndjson" in file.name.lower() or ".jsonl" in file.name.lower():
                yield from _lines(opened, plain)
            else:
                part = bundle_part(_read_all(opened, MAX_BUNDLE_BYTES))
                part.bytes_done = plain.tell()
                yield part
    except TooLarge as error:
        yield Part([Unreadable("$", error.problems)])
    except (EOFError, zlib.error, gzip.BadGzipFile):
        yield _unreadable("bad-gzip", "The gzip file is damaged or ends too early. What came before has been read.")
    except OSError as error:
        yield _unreadable("unreadable-file", f"The file can't be read: {type(error).__name__}.")


def _lines(opened: BinaryIO, plain: BinaryIO) -> Iterator[Part]:
    part, size, hashed = Part(whole=False), 0, sha256()
    number = 0
    while line := opened.readline(MAX_LINE_BYTES + 1):
        number += 1
        size += len(line)
        hashed.update(line)
        if len(line) > MAX_LINE_BYTES:
            part.entries.append(Unreadable(f"line {number}", (Problem("$", "too-large", f"More than {MAX_LINE_BYTES} bytes."),)))
            while not line.endswith(b"\n") and (line := opened.readline(MAX_LINE_BYTES)):
                hashed.update(line)
            continue
        text = line.removeprefix(_BOM).strip() if number == 1 else line.strip()
        if text:
            part.entries.append(Entry(f"line {number}", text, wrapped=False))
        if len(part.entries) >= PART_LINES or size >= PART_BYTES:
            part.bytes_done, part.digest = plain.tell(), hashed.hexdigest()
            yield part
            part, size, hashed = Part(whole=False), 0, sha256()
    if part.entries:
        part.bytes_done, part.digest = plain.tell(), hashed.hexdigest()
        yield part


def bundle_part(data: bytes) -> Part:
    """A Bundle's or single resource's bytes as a part; what is wrong with the whole of it is an Unreadable entry."""
    try:
        part = _bundle(data)
    except (TooLarge, Malformed) as error:
        part = Part([Unreadable("$", error.problems or (Problem("$", error.code, error.detail),))])
    part.digest = sha256(data).hexdigest()
    return part


def _bundle(data: bytes) -> Part:
    """A Bundle's entries, or the one resource that the file is. Raises Malformed when it is neither."""
    text = data.removeprefix(_BOM).strip()
    try:
        bundle = _decode_bundle(text)
        listed = _decode_list(bundle.entry) if bundle.resourceType == "Bundle" else []
        kind, name = bundle.type, bundle.resourceType
    except RecursionError:
        return _deep(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        read_json(text, max_bytes=MAX_BUNDLE_BYTES)  # Says what is wrong and where, if it is not JSON at all.
        raise Malformed("not a Bundle", problems=(Problem("Bundle", "not-a-bundle", "Not a FHIR Bundle or resource."),)) from None
    if name != "Bundle":
        return Part([Entry("$", text, wrapped=False)])
    _check_wrapper(text.replace(bytes(bundle.entry), b"[]", 1), kind)
    return Part([Entry(f"entry[{index}]", raw, wrapped=True) for index, raw in enumerate(listed)])


def _check_wrapper(wrapper: bytes, kind: str | None) -> None:
    """The Bundle without its entries: no key twice, and of a type that carries records."""
    read_json(wrapper, max_bytes=MAX_BUNDLE_BYTES)
    if kind not in BUNDLE_TYPES:
        raise Malformed("Bundle.type", problems=(Problem("Bundle.type", "bundle-type", f"Expected one of {', '.join(BUNDLE_TYPES)}."),))


def _deep(text: bytes) -> Part:
    """A Bundle in which some entry nests without end: its entries are cut out by their brackets, and each is judged alone."""
    level, start, found = 0, -1, []
    array_at = -1
    previous: bytes = b""
    for token in _TOKENS.finditer(text):
        char = text[token.start() : token.start() + 1]
        if char in b"{[":
            level += 1
            if level == 2 and char == b"[" and previous == b'"entry"' and array_at < 0:
                array_at = token.start()
            elif level == 3 and array_at >= 0 and start < 0:
                start = token.start()
        elif char in b"}]":
            if level == 3 and start >= 0:
                found.append(text[start : token.end()])
                start = -1
            level -= 1
            if level == 1 and array_at >= 0:
                wrapper = text[:array_at] + b"[]" + text[token.end() :]
                header = msgspec.json.decode(wrapper, type=_Bundle)
                _check_wrapper(wrapper, header.type)
                return Part([Entry(f"entry[{index}]", raw, wrapped=True) for index, raw in enumerate(found)])
        if char == b'"':
            previous = token.group()
    return Part([Entry("$", text, wrapped=False)])
