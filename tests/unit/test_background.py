"""Whatever a slice does by itself is really done: none is forgotten where the parts are put together."""

from importlib import import_module
from pathlib import Path

from broker.app import background_jobs

BROKER = Path(__file__).resolve().parents[2] / "broker"


def test_every_slices_jobs_are_in_the_workers_list():
    slices = [path.parent.name for path in sorted(BROKER.glob("*/service.py"))]
    verbs = [getattr(import_module(f"broker.{name}.service"), "background", None) for name in slices]
    theirs = {job.name for verb in verbs if verb for job in verb()}
    assert len(theirs) >= 4
    assert theirs <= {job.name for job in background_jobs()}
