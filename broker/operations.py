"""What those who run the broker ask it: is it alive, is it ready, how is the log, does the gate still deny."""

from __future__ import annotations

import hmac
from dataclasses import asdict, dataclass, replace
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from broker import __version__, clock, edge, jobs, metrics
from broker.audit import service as audit
from broker.audit.sealing import Sealing, policy_of
from broker.database import Database
from broker.policy import service as policy
from broker.policy.facts import CallerFacts, ConsentFacts, Facts, GrantFacts, PatientFacts, RecipientFacts, RequesterFacts, RequestFacts
from broker.settings import Settings


class GateBroken(RuntimeError):
    """The gate let a canary through, so this process must not serve."""


_CANARY = Facts(
    question="release",
    at=0,
    request=RequestFacts(purpose="TREAT", lawful_basis="consent", data=({"data_class": "clinical"},)),
    grant=GrantFacts(id="canary", application="canary", status="revoked", valid_from=0, valid_until=0),
    recipient=RecipientFacts(id="canary", kind="hospital", relationship="external", status="suspended"),
    requester=RequesterFacts(id="canary", active=False),
    patient=PatientFacts(key="canary", match="none"),
    consent=ConsentFacts(base="deny", refused=True),
    caller=CallerFacts(client="canary", organization="canary", status="suspended", token_grant="other", token_purpose="HMARKT", types=()),  # noqa: S106  (names)
)


def check_gate(engine: policy.LiveEngine) -> None:
    """Ask for what must be denied; raises GateBroken when it isn't (attack E09: a gate that is registered but never asked)."""
    if engine.decide(_CANARY).allow:
        raise GateBroken("policy permitted a request that everything speaks against")


@dataclass(frozen=True)
class Check:
    """One thing that must be right for the broker to serve."""

    name: str
    ok: bool
    detail: str
    help: str = ""


def operations(settings: Settings, database: Database, engine: policy.LiveEngine, sealing: Sealing | None = None) -> APIRouter:
    """``/livez`` (this process answers) and ``/readyz`` (and what it needs answers too; how the log is doing, which stops no release)."""
    witnesses = policy_of(settings)
    router = APIRouter(tags=["operations"])

    @router.get("/livez")
    def livez() -> dict[str, str]:
        return {"status": "ok", "version": __version__}

    @router.get("/readyz")
    def readyz(request: Request) -> Response:
        del request
        found = [database_check(database), policy_check(engine)]
        ready = all(one.ok for one in found)
        answer: dict[str, Any] = {"ready": ready, "checks": {one.name: one.ok for one in found}, "policy_revision": engine.revision}
        if found[0].ok:
            with database.transaction() as session:
                answer["log"] = audit.health(session, witnesses).to_json()
                answer["jobs"] = asdict(jobs.health(session))  # A backlog stops no release either.
            answer["log"]["sealing_stopped"] = sealing is not None and sealing.trouble is not None
        return JSONResponse(answer, 200 if ready else 503)

    @router.get("/metrics", include_in_schema=False)
    def counted(request: Request) -> Response:
        expected, given = settings.metrics_token, request.headers.get("authorization", "")
        if expected is None or not hmac.compare_digest(given.encode(), f"Bearer {expected.get_secret_value()}".encode()):
            raise edge.NotServed  # What happens how often is nobody's business but the operator's.
        return Response(metrics.exposition(), media_type=metrics.MEDIA_TYPE)

    return router


def database_check(database: Database) -> Check:
    """Whether the database answers and has the broker's tables."""
    try:
        with database.transaction() as session:
            session.connection().exec_driver_sql("SELECT count(*) FROM log_checkpoint")
    except Exception as error:  # noqa: BLE001  (whatever is wrong with it, it is not ready)
        return Check("database", ok=False, detail=type(error).__name__, help="Check BROKER_DATABASE_URL, then run `broker migrate`.")
    return Check("database", ok=True, detail="answers, and has the broker's tables")


def policy_check(engine: policy.LiveEngine) -> Check:
    """Whether policy answers, and denies what everything speaks against."""
    decision = engine.decide(replace(_CANARY, at=clock.epoch(clock.now())))
    usable = decision.effect.value == "deny"
    return Check(
        "policy", ok=usable, detail=f"revision {engine.revision[:12]}, canary {decision.effect.value}",
        help="Check BROKER_POLICY_ENGINE and BROKER_OPA_URL; `broker policy check` looks at the policies.",
    )  # fmt: skip


#: Seconds for which work that is due may wait before that is worth a look.
PATIENCE = 300


def jobs_check(database: Database) -> Check:
    """Whether somebody does the jobs that are due, and whether any has failed for good."""
    try:
        with database.transaction() as session:
            found = jobs.health(session)
    except Exception as error:  # noqa: BLE001  (a check says what is wrong, whatever it is)
        return Check("jobs", ok=False, detail=type(error).__name__, help="Run `broker migrate`.")
    told = (
        f"{found.waiting} waiting ({found.overdue_seconds:.0f} s overdue), {found.doing} begun, {found.failed} failed, {found.workers} queues served"
    )
    return Check(
        "jobs", ok=found.failed == 0 and found.overdue_seconds < PATIENCE, detail=told,
        help="Is `broker worker` running? Failed jobs stay in procrastinate_jobs; docs/operations.md says how to do them again.",
    )  # fmt: skip


def log_check(database: Database, settings: Settings) -> Check:
    """Whether the log is sealed, signed and witnessed."""
    try:
        with database.transaction() as session:
            health = audit.health(session, policy_of(settings))
    except Exception as error:  # noqa: BLE001  (a check says what is wrong, whatever it is)
        detail = str(error) if isinstance(error, ValueError) else type(error).__name__
        return Check("log", ok=False, detail=detail, help="Check BROKER_WITNESS_POLICY and the database.")
    return Check(
        "log", ok=not health.warnings, detail=", ".join(health.warnings) or f"{health.size} entries, {health.unsealed} waiting",
        help="Is `broker worker` running? Its output says why it does not seal the log, or which witness does not answer.",
    )  # fmt: skip
