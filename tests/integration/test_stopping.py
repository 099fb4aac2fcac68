"""A broker that is told to stop stops, and its embedded database with it, whichever way it is told."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest


@pytest.fixture
def var():
    """A folder that PostgreSQL's own user may enter; pytest closes its folders to everybody else whenever a run starts."""
    folder = Path(tempfile.mkdtemp(prefix="broker-test-stopping-"))
    yield folder / "var"
    shutil.rmtree(folder, ignore_errors=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, seconds, what):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.1)


def answers(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def database_runs(var):
    try:
        os.kill(int((var / "postgres" / "postmaster.pid").read_text().splitlines()[0]), 0)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return True


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", [1, 2])
def test_the_server_stops_with_its_database(var, told, workers):
    port = free_port()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("BROKER_")} | {"BROKER_VAR": str(var)}
    command = [sys.executable, "-W", "ignore", "-m", "broker.cli", "serve", "--port", str(port), "--workers", str(workers)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: answers(port) or process.poll() is not None, 180, "it never answered")
        assert process.poll() is None, process.stderr.read()
        assert database_runs(var)
        process.send_signal(told)
        errors = process.communicate(timeout=30)[1]
    finally:
        if process.poll() is None:
            process.kill()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    wait_until(lambda: not database_runs(var), 60, "the database still runs")
