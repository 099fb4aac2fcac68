"""Every table of the broker, declared: what migrations are compared with."""

from importlib import import_module
from importlib.util import find_spec

from sqlmodel import SQLModel

#: Slices that keep something. Each has ``models``.
SLICES = (
    "audit",
    "keyring",
    "policy",
    "identity",
    "notifications",
    "workdays",
    "workforce",
    "transfers",
    "records",
    "consent",
    "applications",
    "release",
    "feedback",
    "telemedicine",
    "incidents",
    "obligations",
    "retention",
    "requests",
    "review",
)

for _slice in SLICES:
    if find_spec(f"broker.{_slice}.models"):
        import_module(f"broker.{_slice}.models")

metadata = SQLModel.metadata


def ours(_object: object, name: str | None, kind: str, _reflected: bool, _compared: object) -> bool:
    """Whether a comparison of the database with the models looks at this: not at Procrastinate's tables, which come from its package."""
    return not (kind == "table" and name is not None and name.startswith("procrastinate_"))
