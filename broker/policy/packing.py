"""A folder of policies as one value: its files by path, packed for the database, and read back into a policy set."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import zstandard

from broker.errors import Problem
from broker.policy.errors import PolicyUnusable
from broker.policy.policy_set import PolicySet, load

#: Where a file may lie, and how many bytes all of them may have.
_PATH = re.compile(r"(?:[a-z][a-z0-9_-]*/){0,6}[a-z][a-z0-9_.-]*\.(?:rego|json)", re.ASCII)
MAX_BYTES = 4 * 1024 * 1024


def files_of(folder: Path) -> dict[str, str]:
    """Every policy file of a folder by its path within."""
    found = [path for pattern in ("broker/**/*.rego", "broker/**/*.json", "data/**/*.json", "*.json") for path in folder.glob(pattern)]
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in sorted(found)}


def policy_set_of(files: Mapping[str, str]) -> PolicySet:
    """The policies in these files. Raises PolicyUnusable with every problem of paths, files and schemas."""
    wrong = [Problem(path, "policy.path", "no policy file may lie there") for path in files if not _PATH.fullmatch(path)]
    if sum(len(content) for content in files.values()) > MAX_BYTES:
        wrong.append(Problem("", "policy.size", "the policies are too large"))
    if wrong:
        raise PolicyUnusable("the policies in this draft cannot be used", problems=tuple(wrong))
    with tempfile.TemporaryDirectory(prefix="broker-policies-") as name:
        for path, content in files.items():
            target = Path(name) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content, encoding="utf-8")
        # The folder is gone when this returns; whatever asks for it later must find nothing.
        return replace(load(Path(name)), folder=Path("/nonexistent"))


def packed(files: Mapping[str, str]) -> bytes:
    """The files as bytes; the same files give the same bytes."""
    canonical = json.dumps(files, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    return zstandard.ZstdCompressor(level=9).compress(canonical)


def unpacked(content: bytes) -> dict[str, str]:
    """The files again. Raises PolicyUnusable for bytes that are none of :func:`packed`."""
    try:
        files: dict[str, str] = json.loads(zstandard.ZstdDecompressor().decompress(content, max_output_size=2 * MAX_BYTES))
    except (zstandard.ZstdError, ValueError) as error:
        raise PolicyUnusable("a kept revision cannot be read") from error
    return files
