"""What is remembered of keys: never a secret, only by which name each goes, its public half, and from when to when it was good."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

#: Kinds of keys. Those of the log are in ``log_key``: what they signed is counted in entries, not in days.
KEY_ENCRYPTION, TOKEN_SIGNING = "key-encryption", "token-signing"


class InstallationKey(SQLModel, table=True):
    """A key of this installation. A retired one is never used again, and whoever starts with it alone is refused."""

    __tablename__ = "installation_key"

    kind: str = Field(primary_key=True, sa_type=sa.Text)
    kid: str = Field(primary_key=True, sa_type=sa.Text)
    public: str | None = Field(default=None, sa_type=sa.Text)  #: JWK of a signing key
    since: datetime = Field(sa_type=sa.DateTime(timezone=True))
    retired_at: datetime | None = Field(default=None, sa_type=sa.DateTime(timezone=True))
