"""`broker demo --once` tells its story to the end, as a new user would see it, and leaves credentials any client can use."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys


def test_the_demo_comes_out_as_told_twice(tmp_path):
    environment = {**os.environ, "BROKER_VAR": str(tmp_path / "var"), "NO_COLOR": "1"}
    environment.pop("BROKER_DATABASE_URL", None)
    for number in (1, 2):
        told = subprocess.run(
            [sys.executable, "-m", "broker.cli", "demo", "--once", "--port", "0"], env=environment, capture_output=True, text=True, timeout=240
        )
        assert told.returncode == 0, f"run {number}: {told.stdout[-3000:]}\n{told.stderr[-3000:]}"
        assert "Every step came out as told" in told.stdout
    path = tmp_path / "var" / "demo" / "credentials.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    credentials = json.loads(path.read_text())
    assert {client["client_id"] for client in credentials["clients"]} == {"shengli-his", "renhe-finance-system"}
    assert all(client["grants"] and client["private_jwk"]["kid"] for client in credentials["clients"])
    for key in (tmp_path / "var" / "keys").iterdir():
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
