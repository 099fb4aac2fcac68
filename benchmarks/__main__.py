"""``benchmarks [bulk | consents | console | ingest | log | minimise | policy | refusals | release]``: one or all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ALL = ("bulk", "consents", "console", "ingest", "log", "minimise", "policy", "refusals", "release")

chosen = [name for name in sys.argv[1:] if name in ALL] or list(ALL)
for name in chosen:
    print(f"== {name}", flush=True)
    subprocess.run([sys.executable, str(HERE / f"{name}.py"), *[one for one in sys.argv[1:] if one.startswith("-")]], check=True, cwd=HERE.parent)
