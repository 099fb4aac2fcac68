"""Pictures for the guides from those that the browser tests took: ``make test ARGS=tests/browser``, then ``python -m tools.guide_pictures``.

Each is cut to its upper part and written with at most 256 colours, which is plenty for a page and makes a small file.
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TAKEN = ROOT / "reports" / "console"
KEPT = ROOT / "docs" / "guide" / "pictures"

#: Which pictures the guides show: name, language, size.
SHOWN = (
    *((name, "zh", "desk") for name in ("apply", "exchange", "exchange-endorsing", "decide", "proof", "workbench", "people", "training", "access")),
    ("patient", "zh", "phone"),
    *((name, "en", "desk") for name in ("apply", "decide", "proof", "workbench", "training")),
)
#: Rows that are kept, and bytes that a file may have.
HEIGHT, LARGEST = 1000, 120_000
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def pixels(data: bytes) -> tuple[int, list[bytearray]]:
    """Width and rows of RGB of a PNG with eight bits a channel, colour type 2 or 6 (W3C PNG 9.2)."""
    width = height = channels = 0
    packed, place = b"", len(_SIGNATURE)
    while place < len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        body = data[place + 8 : place + 8 + length]
        if kind == b"IHDR":
            width, height, _, colour = struct.unpack(">IIBB", body[:10])
            channels = {2: 3, 6: 4}[colour]
        elif kind == b"IDAT":
            packed += body
        place += 12 + length
    raw, size = zlib.decompress(packed), width * channels
    rows, before = [], bytearray(size)
    for number in range(min(height, HEIGHT)):
        start = number * (size + 1)
        row = bytearray(raw[start + 1 : start + 1 + size])
        _unfilter(raw[start], row, before, channels)
        before = row
        rows.append(row if channels == 3 else bytearray(b"".join(row[at : at + 3] for at in range(0, size, 4))))
    return width, rows


def _unfilter(kind: int, row: bytearray, above: bytearray, step: int) -> None:
    for at in range(len(row)):
        left = row[at - step] if at >= step else 0
        up = above[at]
        corner = above[at - step] if at >= step else 0
        if kind == 4:
            guess = left + up - corner
            near = min((abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner))[2]
        else:
            near = (0, left, up, (left + up) // 2)[kind]
        row[at] = (row[at] + near) & 255


def small(width: int, rows: list[bytearray]) -> bytes:
    """The same picture with a palette."""
    coarse = [[tuple(value & 0xF8 | value >> 5 for value in row[at : at + 3]) for at in range(0, len(row), 3)] for row in rows]
    palette = [colour for colour, _ in Counter(colour for row in coarse for colour in row).most_common(128)]
    nearest = {colour: number for number, colour in enumerate(palette)}

    def number_of(colour: tuple[int, ...]) -> int:
        if colour not in nearest:
            nearest[colour] = min(range(len(palette)), key=lambda one: sum((a - b) ** 2 for a, b in zip(palette[one], colour, strict=True)))
        return nearest[colour]

    body = b"".join(b"\0" + bytes(number_of(colour) for colour in row) for row in coarse)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, len(rows), 8, 3, 0, 0, 0)),
        (b"PLTE", b"".join(bytes(colour) for colour in palette)),
        (b"IDAT", zlib.compress(body, 9)),
        (b"IEND", b""),
    ]
    return _SIGNATURE + b"".join(struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part)) for kind, part in chunks)


def main() -> int:
    """Write them all; 1 where one is missing or too large."""
    KEPT.mkdir(parents=True, exist_ok=True)
    wrong = []
    for name in (".".join(one) + ".png" for one in SHOWN):
        source = TAKEN / name
        if not source.exists():
            wrong.append(f"{name}: not taken yet")
            continue
        made = small(*pixels(source.read_bytes()))
        (KEPT / name).write_bytes(made)
        if len(made) > LARGEST:
            wrong.append(f"{name}: {len(made)} bytes")
    sys.stdout.write("".join(f"{line}\n" for line in wrong) or f"{len(SHOWN)} pictures\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
