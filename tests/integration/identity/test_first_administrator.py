"""A new installation has nobody in it: the command enters the first person, who can then sign in and enter the others."""

from __future__ import annotations

from typer.testing import CliRunner

from broker.cli import app
from broker.crypto import load_keys
from broker.database import Database
from broker.identity import service as identity
from broker.identity.access import Action, PersonCaller
from broker.settings import Settings, settings


def test_the_first_administrator_signs_in(database_url, tmp_path, monkeypatch):
    monkeypatch.setenv("BROKER_DATABASE_URL", database_url)
    monkeypatch.setenv("BROKER_VAR", str(tmp_path))
    monkeypatch.setenv("BROKER_HOSPITAL", "first-hospital")
    settings.cache_clear()
    try:
        told = CliRunner().invoke(app, ["administrator", "peng.bo", "--name", "彭博", "--hospital-name", "第一医院"])
        assert told.exit_code == 0, told.output
        password = told.stdout.splitlines()[0]
        database = Database(database_url, pool=2)
        caller = identity.authenticate(database, load_keys(Settings(var=tmp_path)), "peng.bo", password)
        database.dispose()
        assert isinstance(caller, PersonCaller)
        assert caller.may(Action.PERSON_WRITE)
        again = CliRunner().invoke(app, ["administrator", "peng.bo", "--name", "彭博"])
        assert again.exit_code != 0
    finally:
        settings.cache_clear()
