"""``broker ingest`` as an operator runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from broker.settings import Settings
from tests.factories.records import bundle, observation, patient


def _run(url: str, settings: Settings, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "BROKER_DATABASE_URL": url, "BROKER_VAR": str(settings.var), "BROKER_LANGUAGE": "zh"}
    command = [sys.executable, "-c", "from broker.cli import main; main()", "ingest", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_it_says_what_it_did_and_exits_by_it(database_url: str, test_settings: Settings, tmp_path: Path):
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_bytes(bundle(patient(), observation()))
    bad.write_bytes(bundle(observation("o2", status="zzz")))
    first = _run(database_url, test_settings, good, "--source", "HIS")
    assert (first.returncode, first.stdout) == (0, "已接收 2  无变化 0  已拒绝 0\n"), first.stderr
    second = _run(database_url, test_settings, tmp_path, "--json")
    assert second.returncode == 1
    report = json.loads(second.stdout)
    assert (report["accepted"], report["unchanged"], report["refused"]) == (0, 2, 1)
    assert report["refusals"][0]["problems"] == [{"path": "Observation.status", "code": "bad-code", "message": "编码不在该元素要求的值集内。"}]
    assert "zzz" not in second.stdout


def test_wrong_use_is_exit_code_two(database_url: str, test_settings: Settings, tmp_path: Path):
    assert _run(database_url, test_settings, tmp_path / "gone").returncode == 2
    assert _run(database_url, test_settings).returncode == 2
