"""Every table of the broker, declared: what migrations are compared with."""

from importlib import import_module
from importlib.util import find_spec

from sqlmodel import SQLModel

#: Slices that keep something. Each has ``models``.
SLICES = ("audit", "identity", "notifications", "records", "consent", "applications", "release", "feedback")

for _slice in SLICES:
    if find_spec(f"broker.{_slice}.models"):
        import_module(f"broker.{_slice}.models")

metadata = SQLModel.metadata
