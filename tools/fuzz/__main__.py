"""``make fuzz``: Atheris on one target, or on each for a while. ``python -m tools.fuzz [TARGET] [SECONDS]``."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path


def main(name: str, seconds: str) -> None:
    """Fuzz one target until the time is over or it breaks."""
    import atheris

    with atheris.instrument_imports(include=["broker", "json", "urllib", "tools"]):
        from tools.fuzz import targets as fuzz

    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(fuzz.SEEDS[name]):
            (Path(folder) / str(number)).write_bytes(seed)
        atheris.Setup([sys.argv[0], folder, f"-max_total_time={seconds}", "-max_len=8192", "-timeout=20"], lambda data: fuzz.run(name, data))
        atheris.Fuzz()


if __name__ == "__main__":
    chosen, given = [*sys.argv[1:], "", ""][:2]
    if chosen and not chosen.isdigit():
        main(chosen, given or "60")
    else:
        from tools.fuzz.targets import TARGETS

        for target in TARGETS:
            sys.stdout.write(f"== {target}\n")
            sys.stdout.flush()
            subprocess.run([sys.executable, "-m", "tools.fuzz", target, chosen or "60"], check=True)  # noqa: S603  (itself)
