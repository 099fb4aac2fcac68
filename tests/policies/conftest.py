"""Every engine on the shipped policies; the real OPA as a server of its own, fed with our bundle."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import httpx2
import pytest

from broker.policy import bundle
from broker.policy.compiled import CompiledEvaluator, found
from broker.policy.embedded import EmbeddedEvaluator
from broker.policy.engine import PolicyEngine
from broker.policy.opa_server import OpaServerEvaluator
from broker.policy.policy_set import load

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / ".cache" / "bin" / "opa"


@pytest.fixture(scope="session")
def policies():
    """The shipped policies."""
    return load(ROOT / "policies")


@pytest.fixture(scope="session")
def opa():
    """The real OPA's binary."""
    found = os.environ.get("BROKER_TEST_OPA") or (str(BUILT) if BUILT.exists() else shutil.which("opa"))
    if not found:
        pytest.skip("no opa: install Go and run `make opa`, or name one in BROKER_TEST_OPA")
    return found


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def opa_url(opa, policies, tmp_path_factory):
    """A running OPA server that has our bundle."""
    file = tmp_path_factory.mktemp("opa") / "broker.tar.gz"
    file.write_bytes(bundle.archive(policies))
    url = f"http://127.0.0.1:{free_port()}"
    address = url.removeprefix("http://")
    server = subprocess.Popen(
        [opa, "run", "--server", "--addr", address, "--log-level", "error", "--skip-version-check", "--bundle", str(file)],
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait(url, server)
        yield url
    finally:
        server.terminate()
        server.wait(10)


def _wait(url, server):
    for _ in range(200):
        if server.poll() is not None:
            pytest.fail("OPA ended as soon as it started: the bundle is not one that it takes")
        try:
            if httpx2.get(f"{url}/health?bundles", timeout=1).status_code == 200:
                return
        except httpx2.HTTPError:
            time.sleep(0.05)
    pytest.fail("OPA did not become ready within ten seconds")


@pytest.fixture(scope="session")
def embedded(policies):
    return PolicyEngine(EmbeddedEvaluator(policies), policies)


@pytest.fixture(scope="session")
def opa_server(opa_url, policies):
    return PolicyEngine(OpaServerEvaluator(opa_url, token=None, timeout=5), policies)


@pytest.fixture(scope="session")
def compiled(policies):
    """The policies as OPA compiled them, which the broker ships."""
    module = found(policies, policies.folder)
    assert module is not None, "run `broker policy compile`"
    return PolicyEngine(CompiledEvaluator(policies, module), policies)


@pytest.fixture(params=["embedded", "compiled", pytest.param("opa_server", marks=pytest.mark.opa)])
def engine(request):
    """Each engine in turn."""
    return request.getfixturevalue(request.param)
