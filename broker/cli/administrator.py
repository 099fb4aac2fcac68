"""``broker administrator``: the first person of a new installation, who enters all others."""

from __future__ import annotations

import secrets
from typing import Annotated

import typer

from broker.database import Database, server_url, stop_embedded
from broker.identity import service as identity
from broker.identity.access import Role
from broker.identity.models import Organization
from broker.settings import settings


def administrator(
    username: Annotated[str, typer.Argument(help="User name to sign in with.")],
    name: Annotated[str, typer.Option(help="The person's name.")],
    hospital_name: Annotated[str, typer.Option(help="The hospital's name, where it isn't entered yet.")] = "",
) -> None:
    """Enter the hospital (BROKER_HOSPITAL) where it is missing, and a person who administers it; print the password once."""
    chosen = settings()
    password = secrets.token_urlsafe(15)
    database = Database(server_url(chosen), "broker_web", pool=0)
    try:
        with database.transaction() as session:
            if session.get(Organization, chosen.hospital) is None:
                shown = hospital_name or chosen.hospital
                identity.add_organization(
                    session, "system", id=chosen.hospital, kind="hospital", relationship="internal", name_zh=shown, name_en=shown
                )
            identity.add_person(
                session, "system", username=username, name=name, organization_id=chosen.hospital, password=password, temporary=True,
                roles=[(Role.ADMINISTRATOR, chosen.hospital)],
            )  # fmt: skip
    finally:
        database.dispose()
        stop_embedded()
    print(password)
    typer.echo(
        "这是唯一一次显示该密码，首次登录时须更改。 This is the one time that the password is shown; it is changed at the first login.",
        err=True,
    )


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(administrator)
