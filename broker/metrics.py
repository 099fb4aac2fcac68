"""What operators watch, for Prometheus: counts and times, never a person, a patient, an application or a reason.

With several processes behind one address (``broker serve --workers``) each writes into files of its own, which whoever is asked
adds up; the environment names their folder to them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, multiprocess
from prometheus_client.exposition import CONTENT_TYPE_LATEST

MEDIA_TYPE = CONTENT_TYPE_LATEST
_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  #: by which prometheus-client itself knows it

_registry = CollectorRegistry()
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

REQUESTS = Counter("broker_requests", "Requests answered.", ["route", "method", "status"], registry=_registry)
SECONDS = Histogram("broker_request_seconds", "Time from a request to the last byte of its answer.", ["route"], buckets=_SECONDS, registry=_registry)
RELEASES = Counter("broker_releases", "Calls for data: sent, partial, unavailable, or not given.", ["outcome"], registry=_registry)
RESOURCES = Counter("broker_released_resources", "Resources that left.", registry=_registry)
BYTES = Counter("broker_released_bytes", "Bytes of the bodies that left.", registry=_registry)


def request_done(route: str, method: str, status: int, seconds: float) -> None:
    """Count one answered request. ``route`` is the pattern of the route, never the address that was asked for."""
    REQUESTS.labels(route, method, str(status)).inc()
    SECONDS.labels(route).observe(seconds)


def release_done(outcome: str, *, resources: int = 0, body_bytes: int = 0) -> None:
    """Count one call for data."""
    RELEASES.labels(outcome).inc()
    RESOURCES.inc(resources)
    BYTES.inc(body_bytes)


def exposition() -> bytes:
    """Everything counted so far, by all processes that share this one's folder, in Prometheus' text format."""
    if _FOLDER not in os.environ:
        return generate_latest(_registry)
    together = CollectorRegistry()
    multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return generate_latest(together)


@contextmanager
def counting_together() -> Iterator[None]:
    """Have the processes that are started within this block count together."""
    folder = tempfile.mkdtemp(prefix="broker-metrics-")
    os.environ[_FOLDER] = folder
    try:
        yield
    finally:
        del os.environ[_FOLDER]
        shutil.rmtree(folder, ignore_errors=True)
