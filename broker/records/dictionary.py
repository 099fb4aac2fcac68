"""Train the zstd dictionary that stored bodies are compressed with.

Run by a developer when a new one is wanted, never by the service::

    python -m broker.records.dictionary broker/records/dictionary-2.zdict

A dictionary holds pieces of what it was trained on, so that it is trained on resources this script makes up from templates, never on
a patient's. It is versioned as code: stored bodies name the one they need, and a published file never changes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import zstandard

from broker.records.samples import Maker

SIZE = 64 * 1024
SAMPLES = 6000


def main(path: str) -> None:
    """Write a dictionary; the same script and library give the same bytes."""
    samples: list[bytes | bytearray | memoryview[int]] = list(Maker(20261123).samples(SAMPLES))
    Path(path).write_bytes(zstandard.train_dictionary(SIZE, samples, k=1024, d=8).as_bytes())


if __name__ == "__main__":
    main(sys.argv[1])
