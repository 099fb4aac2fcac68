"""The policies as OPA's bundle: the same bytes for the same policies, under the revision that every answer must carry.

Format: OPA documentation, "Bundles": a gzipped tar with ``.manifest`` ``{revision, roots, rego_version}``, Rego modules and ``data.json``.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

from broker.policy.policy_set import PolicySet

#: The names under ``data`` that belong to the bundle, and the version of Rego.
ROOTS, REGO_VERSION = ["broker"], 1


def files(policies: PolicySet, *, with_tests: bool = False) -> dict[str, bytes]:
    """Path within the bundle → content."""
    manifest = {"revision": policies.revision, "roots": ROOTS, "rego_version": REGO_VERSION}
    sources = {**policies.modules, **(policies.tests if with_tests else {})}
    return {
        ".manifest": _json(manifest),
        "data.json": _json(policies.documents),
        **{path: source.encode() for path, source in sorted(sources.items())},
    }


def archive(policies: PolicySet) -> bytes:
    """``broker.tar.gz``: without times, owners or anything else that would differ between two machines."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(filename="", fileobj=packed, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for path, content in files(policies).items():
            entry = tarfile.TarInfo(f"/{path}")
            entry.size = len(content)
            entry.mode = 0o644
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def unpack(policies: PolicySet, folder: Path) -> None:
    """Write the bundle with the Rego tests into an empty folder, for ``opa test --bundle``."""
    for path, content in files(policies, with_tests=True).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def _json(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
