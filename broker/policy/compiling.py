"""Compiling the policies to WebAssembly with the real OPA: the same Rego and the same OPA give the same bytes."""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from pathlib import Path

import orjson

from broker.policy.compiled import MODULE, NOTE, note_of
from broker.policy.errors import PolicyUnusable
from broker.policy.policy_set import DECISION, PolicySet


def compiled(policies: PolicySet, opa: str) -> dict[str, bytes]:
    """The module and its note, by their paths within the folder of policies. Raises PolicyUnusable with what OPA says."""
    with tempfile.TemporaryDirectory(prefix="broker-compile-") as name:
        # Paths go into the module, so they are the same wherever it is made.
        for path, source in policies.modules.items():
            target = Path(name) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(source, encoding="utf-8")
        _run([opa, "build", "--target", "wasm", "--entrypoint", DECISION, "--output", "bundle.tar.gz", "broker"], name)
        with tarfile.open(fileobj=io.BytesIO((Path(name) / "bundle.tar.gz").read_bytes()), mode="r:gz") as tar:
            member = tar.extractfile("/policy.wasm")
            module = b"" if member is None else member.read()
        version = _run([opa, "version"], name).splitlines()[0].removeprefix("Version: ")
    note = orjson.dumps(note_of(policies, module, f"OPA {version}"), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return {MODULE: module, NOTE: note}


def _run(command: list[str], folder: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603  (Arguments of our own.)
    if done.returncode:
        raise PolicyUnusable(f"OPA cannot compile the policies: {done.stderr.strip()[-2000:]}")
    return done.stdout
