"""Every setting of the broker: an environment variable ``BROKER_<NAME>``, its meaning and its default.

A secret may also be given as ``BROKER_<NAME>_FILE``, the path of a file that holds it. ``docs/settings.md`` repeats the
list for operators, and ``tests/documentation/test_settings.py`` compares the two.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

#: Settings that may be read from a file named by BROKER_<NAME>_FILE.
SECRETS = (
    "database_url",
    "database_admin_url",
    "database_log_url",
    "key_encryption_key",
    "blinding_key",
    "token_signing_key",
    "log_signing_key",
    "message_gateway_secret",
    "opa_token",
    "opa_control_token",
    "bundle_signing_key",
    "upstream_signing_key",
    "export_store_secret",
    "smtp_password",
    "metrics_token",
    "sso_client_secret",
    "key_provider_token",
)

#: The roles of ``identity.roles``, which lies above: a misspelt one must not leave a role without its second factor.
_ROLE = "(applicant|department_head|information_manager|auditor|administrator|regulator)"


class Settings(BaseSettings):
    """The settings, read once at start. Unknown BROKER_ variables are ignored by pydantic and named by ``broker check``."""

    model_config = SettingsConfigDict(env_prefix="BROKER_", frozen=True, extra="ignore")

    var: Path = Field(Path("var"), description="Folder for the embedded database, generated keys and the demo's credentials.")
    database_url: SecretStr | None = Field(
        None, description="PostgreSQL URL of the web process. Unset: an embedded PostgreSQL under BROKER_VAR is started."
    )
    database_admin_url: SecretStr | None = Field(
        None,
        description="PostgreSQL URL of the owner of the tables, used by `broker migrate`, and by the worker to scrub after a destruction. "
        "Default: BROKER_DATABASE_URL.",
    )
    database_log_url: SecretStr | None = Field(
        None, description="PostgreSQL URL of the log's sequencer. Default: BROKER_DATABASE_URL. `broker serve` seals the log only where this is set."
    )
    database_pool: int = Field(8, ge=2, le=200, description="Connections that one process keeps for requests, and as many for releases.")
    base_url: str = Field("http://127.0.0.1:8000", description="Address under which clients reach the broker; issuer and audience of its tokens.")
    key_encryption_key: SecretStr | None = Field(
        None,
        description="The key that wraps every patient's data key: 32 bytes as 64 hex digits. Several on a line each while one follows another: "
        "the first wraps, all open. Unset: created once under BROKER_VAR/keys, mode 0600.",
    )
    blinding_key: SecretStr | None = Field(
        None,
        description="The key behind the blinded names of patients and the seals of what people write: 64 hex digits. It stays for ever. "
        "Unset: created once under BROKER_VAR/keys with the key-encryption key; where that one is given, the first stands for both.",
    )
    token_signing_key: SecretStr | None = Field(
        None,
        description="Private P-256 key (PEM) that signs access tokens (ES256). Several one after the other while one follows another: "
        "the first signs, all are published. Unset: created once under BROKER_VAR/keys, mode 0600.",
    )
    log_signing_key: SecretStr | None = Field(
        None,
        description="Private Ed25519 key (PEM) that signs log checkpoints. Several one after the other while one follows another: each signs. "
        "Unset: created once under BROKER_VAR/keys, mode 0600.",
    )
    key_provider: str | None = Field(
        None,
        description="Who is asked at start for those of the four keys that are not given: `command:PROGRAM`, run with the key's name, or an https "
        "address under which it lies. Unset: files under BROKER_VAR/keys.",
    )
    key_provider_token: SecretStr | None = Field(None, description="Bearer token for the address of BROKER_KEY_PROVIDER.")
    hospital: str = Field(
        "hospital",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="Organisation id of the hospital that runs this broker: the sender in the transmission log.",
    )
    log_origin: str = Field(
        "broker.hospital.example/disclosure-log", description="Origin line of log checkpoints: a URL without scheme; no spaces, no plus sign."
    )
    witness_policy: Path | None = Field(
        None, description="File in the form of C2SP tlog-policy that names the witnesses of the log. Unset: the log has none."
    )
    policy_engine: Literal["embedded", "opa"] = Field(
        "embedded", description="Who evaluates the policies: `embedded` (in this process) or `opa` (a server)."
    )
    policies: Path | None = Field(None, description="Folder of the policies. Unset: the ones that the broker ships.")
    opa_url: str = Field("http://127.0.0.1:8181", description="Address of the OPA server when BROKER_POLICY_ENGINE is `opa`.")
    opa_token: SecretStr | None = Field(None, description="Bearer token for the OPA server, if it asks for one.")
    opa_control_token: SecretStr | None = Field(
        None,
        description="Bearer token by which OPA sends its decision log and status to /opa/logs and /opa/status. Unset: there are no such addresses.",
    )
    bundle_signing_key: SecretStr | None = Field(
        None, description="Private P-256 key (PEM) that signs the bundle for OPA (ES256). Unset: the bundle is not signed."
    )
    policy_timeout: float = Field(
        1.0, gt=0, le=30, description="Seconds after which a decision that has not come counts as UNAVAILABLE and is denied."
    )
    gate_timeout: float = Field(
        5.0, gt=0, le=60, description="Seconds a release may wait for its recipient to take the next chunk before it is cut off."
    )
    jwks_private_hosts: str | None = Field(
        None, description="Hosts, separated by commas, whose published client keys may be fetched although their addresses are not public."
    )
    jwks_ca_file: Path | None = Field(None, description="Certificates (PEM) that are believed when client keys are fetched. Unset: the system's.")
    upstream_hosts: str | None = Field(
        None,
        description="Hosts (`host` or `host:port`), separated by commas, of the FHIR servers from which records may be pulled. Unset: none.",
    )
    upstream_ca_file: Path | None = Field(None, description="Certificates (PEM) that are believed of upstream FHIR servers. Unset: the system's.")
    upstream_signing_key: SecretStr | None = Field(
        None, description="Private key (PEM, P-384) by which upstream FHIR servers know the broker; `broker upstream key` prints the public one."
    )
    refusal_step: float = Field(
        0.025,
        ge=0,
        le=1,
        description="Refusals are answered on a whole multiple of so many seconds, so that their moment tells nothing; 0 answers at once.",
    )
    max_body_bytes: int = Field(4_000_000, ge=1_000, description="Largest request body in bytes; a larger one is answered with 413.")
    max_json_depth: int = Field(64, ge=8, le=500, description="Deepest nesting of JSON that is read from outside.")
    separate_reviews: bool = Field(
        default=False, description="Whether legality and necessity are reviewed as steps of their own before an application can be approved."
    )
    quorum: int = Field(2, ge=2, le=9, description="How many people must have decided for an application, endorsement counted, its applicant not.")
    deadline_routine: int = Field(120, ge=1, le=8760, description="Hours until the decision on a routine application; half are for the endorsement.")
    deadline_urgent: int = Field(24, ge=1, le=8760, description="The same for an urgent one.")
    deadline_emergency: int = Field(2, ge=1, le=8760, description="The same for an emergency.")
    attachment_bytes: int = Field(3_000_000, ge=1_000, description="Largest document of an application in bytes; at most BROKER_MAX_BODY_BYTES.")
    feedback_days: int = Field(30, ge=1, description="Days after a grant's first release until feedback on its use is due.")
    complaint_days: int = Field(
        5,
        ge=1,
        le=60,
        description="Working days within which a complaint is answered (医疗机构投诉管理办法, order 3 of 2019).",
    )
    complaint_shared_days: int = Field(10, ge=1, le=60, description="The same where several departments must agree first, which somebody says.")
    suggestion_days: int = Field(30, ge=1, le=365, description="Days within which a suggestion is answered.")
    consent_reask_days: int = Field(
        90, ge=0, le=3650, description="Days after a patient's refusal for which the same is not asked again, unless the patient comes by themselves."
    )
    smtp_host: str | None = Field(None, description="Mail server that takes notifications. Unset: none are mailed.")
    smtp_port: int = Field(587, ge=1, le=65535, description="Port of the mail server.")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="How the way to the mail server is encrypted; `none` only for a server on the same machine."
    )
    smtp_user: str | None = Field(None, description="User name at the mail server, if it asks for one.")
    smtp_password: SecretStr | None = Field(None, description="Password at the mail server.")
    mail_from: str = Field("broker@hospital.example", description="Sender of mailed notifications.")
    webhook_networks: str = Field(
        "",
        description="Private networks to which webhooks may go, such as 10.20.0.0/16, separated by commas. Unset: public addresses by https alone.",
    )
    message_gateway: str | None = Field(
        None, description="URL of the hospital's message gateway: tells a patient's contact by telephone that data were opened in an emergency."
    )
    message_gateway_secret: SecretStr | None = Field(None, description="Secret with which messages to the gateway are signed (Standard Webhooks).")
    record_number_system: str = Field(
        "https://hospital.example/fhir/sid/mrn",
        description="System (URI) of the hospital's own record numbers, which applicants may name a patient by.",
    )
    time_zone: str = Field(
        "Asia/Shanghai",
        pattern=r"^[A-Za-z]+(/[A-Za-z_+0-9-]+){0,2}$",
        description="Time zone of the hospital (IANA name): of the times that pages and reports show, "
        "and of the days with which grants and consents begin and end.",
    )
    metrics_token: SecretStr | None = Field(None, description="Bearer token for GET /metrics (Prometheus). Unset: there is no such address.")
    obligation_grace_days: int = Field(
        7, ge=0, le=365, description="Days that an obligation or a recall may be overdue before the recipient's grant is suspended."
    )
    emergency_minutes: int = Field(60, ge=5, le=240, description="Minutes for which emergency access stays open.")
    emergency_review_hours: int = Field(72, ge=1, le=720, description="Hours after which emergency access that nobody reviewed becomes an incident.")
    unused_days: int = Field(90, ge=1, le=400, description="Days without use after which an access right is proposed to be revoked.")
    shred_list: Path | None = Field(
        None,
        description="File that names the patients whose keys were destroyed, kept apart from the database and its backups. "
        "Unset: shredded.ndjson under BROKER_VAR.",
    )
    recall_days: int = Field(15, ge=1, le=365, description="Days within which a recipient must say what it did about a recall.")
    export_hours: int = Field(24, ge=1, le=720, description="Hours for which the files of a bulk export can be fetched; then they are deleted.")
    export_store: str | None = Field(
        None,
        description="Where the sealed files of bulk exports lie: `file:///folder` or `s3://bucket/prefix`. Unset: in PostgreSQL.",
    )
    export_store_endpoint: str | None = Field(None, description="Address of an S3-compatible store that isn't Amazon's.")
    export_store_region: str | None = Field(None, description="Region of the S3 store.")
    export_store_key: str | None = Field(None, description="Access key id of the S3 store. Unset: what the machine's own role gives.")
    export_store_secret: SecretStr | None = Field(None, description="Secret access key of the S3 store.")
    second_factor_roles: str = Field(
        "information_manager,auditor,administrator",
        pattern=rf"^(none|{_ROLE}(,{_ROLE})*)$",
        description="Roles, separated by commas, that can do nothing without a second factor; `none` for none. "
        "Whoever has added one is asked for it in any case.",
    )
    step_up_minutes: int = Field(
        10,
        ge=1,
        le=120,
        description="Minutes after which somebody must prove again who they are before a dangerous act, such as changing keys, "
        "freezing, destroying or breaking the glass.",
    )
    session_idle_minutes: int = Field(30, ge=2, le=240, description="Minutes without use after which a person is signed out.")
    session_hours: int = Field(10, ge=1, le=24, description="Hours after which a person is signed out, used or not.")
    emergency_second_factor: bool = Field(default=True, description="Whether emergency access needs a second factor of whoever asks for it.")
    sso_issuer: str | None = Field(
        None, description="Issuer of the hospital's own login (OpenID Connect), exactly as its discovery document says. Unset: there is none."
    )
    sso_client_id: str | None = Field(None, description="What the broker is called at the hospital's login.")
    sso_client_secret: SecretStr | None = Field(
        None, description="The broker's secret at the hospital's login. Unset: it is a public client with PKCE."
    )
    sso_roles: Path | None = Field(
        None, description="JSON file that says which claims of the hospital's login give which roles. Unset: roles are given in the console."
    )
    sso_second_factor: str = Field(
        "", description="Values of `amr` or `acr`, separated by commas, by which the hospital's login says that a second factor was shown to it."
    )
    sso_ca_file: Path | None = Field(
        None, description="Certificates (PEM) that are believed when the hospital's login is asked. Unset: the system's."
    )
    language: Literal["zh", "en"] = Field("zh", description="Language of messages when a request does not say.")

    @property
    def seals_here(self) -> bool:
        """Whether `broker serve` also puts the log in order: in the try-out, and where it was given the log's own login."""
        return self.database_url is None or self.database_log_url is not None

    @property
    def zone(self) -> ZoneInfo:
        """``time_zone``: whose days are meant where a day names no zone."""
        return ZoneInfo(self.time_zone)

    @property
    def second_factor_needed_by(self) -> frozenset[str]:
        """The roles of ``second_factor_roles``."""
        return frozenset(self.second_factor_roles.split(",")) - {"none"}

    @property
    def sso_second_factor_values(self) -> frozenset[str]:
        """The values of ``sso_second_factor``."""
        return frozenset(self.sso_second_factor.replace(" ", "").split(",")) - {""}

    @property
    def allowed_upstream_hosts(self) -> frozenset[str]:
        """The hosts of ``upstream_hosts``."""
        return frozenset(host for host in (self.upstream_hosts or "").lower().replace(" ", "").split(",") if host)

    @property
    def allowed_jwks_hosts(self) -> frozenset[str]:
        """The hosts of ``jwks_private_hosts``."""
        return frozenset(host for host in (self.jwks_private_hosts or "").lower().replace(" ", "").split(",") if host)


def _with_secret_files(environment: dict[str, str]) -> dict[str, str]:
    """Values of BROKER_<NAME>_FILE variables, read; keys are field names."""
    read: dict[str, str] = {}
    for name in SECRETS:
        path = environment.get(f"BROKER_{name.upper()}_FILE")
        if path and f"BROKER_{name.upper()}" not in environment:
            read[name] = Path(path).read_text(encoding="utf-8").strip()
    return read


def load(environment: dict[str, str] | None = None) -> Settings:
    """Read the settings from the environment. Raises pydantic's ValidationError, which names each wrong variable."""
    return Settings(**_with_secret_files(dict(os.environ) if environment is None else environment))  # type: ignore[arg-type]


def came_from(name: str, environment: Mapping[str, str] | None = None) -> Path | Literal["environment", "nowhere"]:
    """Where a secret came from: the file that was named, the environment itself, or nowhere: it was not given."""
    given = os.environ if environment is None else environment
    variable = f"BROKER_{name.upper()}"
    if variable in given:
        return "environment"
    path = given.get(f"{variable}_FILE")
    return Path(path) if path else "nowhere"


@cache
def settings() -> Settings:
    """The settings of this process."""
    return load()
