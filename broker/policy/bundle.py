"""The policies as OPA's bundle: the same bytes for the same policies, under the revision that every answer must carry.

Format: OPA documentation, "Bundles": a gzipped tar with ``.manifest`` ``{revision, roots, rego_version}``, Rego modules and ``data.json``;
where there is a key, ``.signatures.json`` with a JWT over the SHA-256 of each file (ES256). OPA hashes JSON files as canonical JSON, which
is what is written here.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from hashlib import sha256
from pathlib import Path

from joserfc import jwt
from joserfc.jwk import ECKey

from broker.policy.policy_set import PolicySet

#: The names under ``data`` that belong to the bundle, and the version of Rego.
ROOTS, REGO_VERSION = ["broker", "system/log"], 1
#: By which name OPA's configuration knows the key of the signature.
KEY_ID = "broker"
#: Keeps questions and plans out of OPA's own decision log; what is left is enough to find the broker's record of the decision.
_MASK = """package system.log

mask contains path if some path in ["/input/facts", "/result/plan", "/result/necessity"]
"""


def files(policies: PolicySet, *, with_tests: bool = False) -> dict[str, bytes]:
    """Path within the bundle → content."""
    manifest = {"revision": policies.revision, "roots": ROOTS, "rego_version": REGO_VERSION}
    sources = {**policies.modules, **(policies.tests if with_tests else {})}
    return {
        ".manifest": _json(manifest),
        "data.json": _json(policies.documents),
        "system/log/mask.rego": _MASK.encode(),
        **{path: source.encode() for path, source in sorted(sources.items())},
    }


def archive(policies: PolicySet, key: str | None = None) -> bytes:
    """``broker.tar.gz``: without times, owners or anything else that would differ between two machines.

    Signed with ``key``, a private P-256 key in PEM, if there is one. Raises ValueError for a key that is none.
    """
    content = files(policies)
    if key is not None:
        content = {**content, ".signatures.json": _signatures(content, key)}
    packed = io.BytesIO()
    with (
        gzip.GzipFile(filename="", fileobj=packed, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for path, each in content.items():
            entry = tarfile.TarInfo(f"/{path}")
            entry.size = len(each)
            entry.mode = 0o644
            tar.addfile(entry, io.BytesIO(each))
    return packed.getvalue()


def _signatures(content: dict[str, bytes], key: str) -> bytes:
    listed = [{"name": path, "hash": sha256(each).hexdigest(), "algorithm": "SHA-256"} for path, each in content.items()]
    token = jwt.encode({"alg": "ES256", "kid": KEY_ID}, {"files": listed}, ECKey.import_key(key))
    return _json({"signatures": [token]})


def unpack(policies: PolicySet, folder: Path) -> None:
    """Write the bundle with the Rego tests into an empty folder, for ``opa test --bundle``."""
    for path, content in files(policies, with_tests=True).items():
        if path.startswith("system/"):
            continue  # What OPA logs is no rule of ours to be covered by their tests.
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def _json(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
