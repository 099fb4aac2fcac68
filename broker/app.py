"""Builds the web app: the one file that knows every slice and hands each what it needs from its neighbours."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
from fastapi import FastAPI

from broker import __version__, clock, edge, jobs, openapi
from broker.applications import service as applications
from broker.applications.routes import build_router as applications_router
from broker.applications.service import GrantRegister, Means
from broker.audit import service as audit
from broker.audit.routes import build_router as log_router
from broker.audit.sealing import Sealing
from broker.consent import service as consent
from broker.consent.routes import build_router as consent_router
from broker.console import routes as console
from broker.console import vocabulary
from broker.console.desk import Desk
from broker.crypto import Keys, KeyUnusable, load_keys
from broker.database import Database, server_url
from broker.feedback import service as feedback
from broker.feedback.routes import build_router as feedback_router
from broker.governance.routes import build_router as governance_router
from broker.identity import service as identity
from broker.identity.access import Action, require
from broker.identity.routes import build_router as identity_router
from broker.incidents import service as incidents
from broker.incidents.routes import build_case_router as cases_router
from broker.incidents.routes import build_router as incidents_router
from broker.keyring import service as keyring
from broker.notifications import service as notifications
from broker.notifications.routes import build_router as notifications_router
from broker.obligations import service as obligations
from broker.obligations.routes import build_router as obligations_router
from broker.operations import Check, check_gate, database_check, jobs_check, log_check, operations, policy_check
from broker.policy import service as policy
from broker.policy.facts import ConsentFacts
from broker.policy.routes import build_router as opa_router
from broker.records import service as records
from broker.release.accounting import accounting
from broker.release.accounting_file import written
from broker.release.ahead import background as prepared_releases
from broker.release.beside import beside
from broker.release.bulk import writing as bulk_exports
from broker.release.bulk.routes import build_router as bulk_router
from broker.release.delivery import deliver
from broker.release.log_views import build_router as log_views_router
from broker.release.preview import preview_of
from broker.release.reconciliation import Asked, read_file, reconcile
from broker.release.reconciliation import build_router as reconciliation_router
from broker.release.routes import build_router as release_router
from broker.release.routes import everything_router
from broker.release.service import Parts
from broker.release.transmissions import build_router as transmissions_router
from broker.requests import service as requests
from broker.requests.routes import build_router as requests_router
from broker.retention import service as retention
from broker.retention.routes import build_router as retention_router
from broker.review import service as review
from broker.review.routes import build_router as review_router
from broker.settings import Settings, settings
from broker.telemedicine import service as telemedicine
from broker.telemedicine.routes import build_router as telemedicine_router
from broker.transfers.routes import build_router as transfers_router
from broker.workdays import service as workdays
from broker.workdays.routes import build_router as workdays_router
from broker.workforce import service as workforce
from broker.workforce.routes import build_router as workforce_router

log = logging.getLogger("broker")


@dataclass(frozen=True)
class Installation:
    """What one process holds: settings, keys, connections in each role, the policy engine."""

    settings: Settings
    keys: Keys
    database: Database
    intents: Database
    log_database: Database
    engine: policy.LiveEngine


def open_installation(chosen: Settings, *, seals: bool = True) -> Installation:
    """Open everything, and refuse a key-encryption key other than the one the database was filled with.

    ``seals``: whether this process signs the log; one that does not never holds the log's key.
    """
    keys = load_keys(chosen, seals=seals)
    public = [(str(one["kid"]), one) for one in identity.public_jwks(keys)["keys"]]
    holds = keyring.shown(keys, [kid for kid, _ in public])
    database = Database(server_url(chosen, "web"), "broker_web", pool=chosen.database_pool, holds=holds)
    with database.transaction() as session:
        records.check_keys(session, keys)
        keyring.tell_signing_keys(session, public)
    engine = policy.live_engine(chosen)
    with database.transaction() as session:
        engine.refresh(session)
        retention.forget_again(session, keys, chosen, destruction())  # A restored backup may have brought back who was destroyed.
    return Installation(
        settings=chosen,
        keys=keys,
        database=database,
        intents=Database(server_url(chosen, "web"), "broker_web", pool=2, holds=holds),
        log_database=Database(server_url(chosen, "log"), "broker_log", pool=0),
        engine=engine,
    )


def destruction() -> retention.Means:
    """What else than a patient's own key must go when it is destroyed: words that lie under other keys."""
    return retention.Means(
        forget=(
            incidents.destroy_texts,
            obligations.destroy_texts,
            feedback.concerns.destroy_texts,
            lambda session, _keys, patient_key: feedback.destroy_comments(session, patient_key),
            applications.destroy_texts,
        )
    )


def background_jobs() -> list[jobs.Job]:
    """What is done later or by itself, of every slice."""
    return [
        *audit.background(),
        *applications.background(),
        *notifications.background(),
        *workforce.background(),
        *workdays.background(),
        *feedback.background(),
        *review.background(),
        *consent.background(),
        *records.background(),
        *incidents.background(),
        *telemedicine.background(),
        *obligations.background(),
        *retention.background(),
        *requests.background(),
        *bulk_exports.background(),
        *prepared_releases(),
    ]


def create_app(installation: Installation, *, sequencer: bool = True, work: bool | None = None) -> FastAPI:
    """The web app. ``sequencer``: whether this process, if it holds the log's key, also puts the log in order when no other does.

    ``work``: whether it also does jobs, as the try-out with its embedded database does; elsewhere `broker worker` does them.
    """
    chosen = installation.settings
    work = chosen.database_url is None if work is None else work
    check_gate(installation.engine)
    seals = sequencer and installation.keys.log_signing_pem is not None
    sealing = Sealing(installation.log_database, chosen, installation.keys) if seals else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.parts = Parts(
            settings=chosen,
            keys=installation.keys,
            database=installation.database,
            intents=installation.intents,
            engine=installation.engine,
            slots=asyncio.Semaphore(chosen.database_pool),
        )
        stop = threading.Event()
        threads = [threading.Thread(target=sealing.run, args=(stop,), name="sequencer", daemon=True)] if sealing else []
        threads.append(threading.Thread(target=installation.engine.run, args=(installation.database, stop), name="policies", daemon=True))
        if work:
            threads.append(threading.Thread(target=jobs.run, args=(background_jobs(), installation, stop), name="jobs", daemon=True))
        for thread in threads:
            thread.start()
        yield
        stop.set()
        for thread in threads:
            await asyncio.to_thread(thread.join, 5)
        await installation.database.close()
        await installation.intents.close()

    app = FastAPI(
        title="Data-sharing broker and consent registry",
        version=__version__,
        description="信息资源共享与知情同意登记 · applications, consent, release of permitted FHIR R4 data, and the log that proves it.",
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,  # A redirect would name whatever host the caller says this is.
    )
    app.state.settings, app.state.keys, app.state.database = chosen, installation.keys, installation.database
    edge.install(app, max_body_bytes=chosen.max_body_bytes)
    chosen_policies = policy.policies(chosen)
    catalogue = policy.catalogue(chosen_policies)
    for router in (
        everything_router(),
        identity_router(
            settings=chosen,
            keys=installation.keys,
            grants=GrantRegister(installation.keys, catalogue.types_of),
            residual=consent_residual(installation.keys),
        ),
        notifications_router(keys=installation.keys, settings=chosen),
        workforce_router(),
        transfers_router(),
        workdays_router(),
        log_router(require(Action.LOG_READ)),
        opa_router(lambda: installation.engine.policies, chosen),
        governance_router(keys=installation.keys, active=lambda: installation.engine.policies),
        consent_router(may_file=require(Action.CONSENT_WRITE), may_read=require(Action.CONSENT_READ), wording=consent_wording(catalogue)),
        applications_router(
            keys=installation.keys,
            engine=installation.engine,
            consent_facts=consent_facts(installation.keys),
            data_classes=catalogue.types_of,
            purposes=frozenset(policy.purposes(chosen_policies)),
            lawful_bases=frozenset(policy.lawful_bases(chosen_policies)),
            preview=preview_of(app),
            holds=feedback.holds(chosen.feedback_days),
            reviews=chosen.separate_reviews,
            quorum=chosen.quorum,
            deadlines=deadlines(chosen),
            zone=chosen.zone,
            attachment_bytes=chosen.attachment_bytes,
        ),
        feedback_router(keys=installation.keys, days=chosen.feedback_days, clocks=feedback.clocks_of(chosen)),
        incidents_router(settings=chosen, keys=installation.keys),
        cases_router(
            settings=chosen,
            keys=installation.keys,
            database=installation.database,
            means=applications.Means(
                keys=installation.keys,
                engine=installation.engine,
                consent_facts=consent_facts(installation.keys),
                data_classes=catalogue.types_of,
            ),
            second_factor=identity.proof_in_emergency(installation.database, installation.keys, chosen),
        ),
        telemedicine_router(settings=chosen, keys=installation.keys, database=installation.database),
        obligations_router(settings=chosen, keys=installation.keys),
        retention_router(settings=chosen, keys=installation.keys, database=installation.database, means=destruction()),
        requests_router(settings=chosen, keys=installation.keys, database=installation.database, deliver=deliver),
        bulk_router(),
        release_router(catalogue.types, policy.recognition(chosen_policies)),
        transmissions_router(installation.keys),
        log_views_router(chosen, installation.keys, vocabulary.kind),
        reconciliation_router(),
        review_router(settings=chosen, keys=installation.keys),
        operations(chosen, installation.database, installation.engine, sealing),
    ):
        app.include_router(router)
    pages = console.build(_desk(app, installation, catalogue))
    app.include_router(pages.router)
    app.state.error_pages = {console.PREFIX: pages.error}
    app.openapi = partial(openapi.document, app, app.openapi)  # type: ignore[method-assign]
    return app


def deadlines(chosen: Settings) -> dict[str, int]:
    """Hours until a decision, by urgency."""
    return {"routine": chosen.deadline_routine, "urgent": chosen.deadline_urgent, "emergency": chosen.deadline_emergency}


def _desk(app: FastAPI, installation: Installation, catalogue: policy.Catalogue) -> Desk:
    """What the console's pages need."""
    purposes, bases = policy.purposes(), policy.lawful_bases()
    means = Means(
        keys=installation.keys,
        engine=installation.engine,
        consent_facts=consent_facts(installation.keys),
        data_classes=catalogue.types_of,
        holds=feedback.holds(installation.settings.feedback_days),
        purposes=frozenset(purposes),
        lawful_bases=frozenset(bases),
        reviews=installation.settings.separate_reviews,
        quorum=installation.settings.quorum,
        deadlines=deadlines(installation.settings),
        zone=installation.settings.zone,
    )
    return Desk(
        settings=installation.settings,
        keys=installation.keys,
        database=installation.database,
        deliver=deliver,
        means=means,
        preview=preview_of(app),
        beside=lambda session, application, preview: beside(session, installation.keys, application, preview),
        reconcile=lambda session, actor, recipient, since, until, data: reconcile(session, actor, Asked(recipient, since, until), read_file(data)),
        accounting=lambda session, patient_key: accounting(session, installation.keys, patient_key),
        accounting_file=lambda session, *asked: written(session, installation.settings, installation.keys, *asked, kind=vocabulary.kind),
        catalogue=catalogue,
        purposes=purposes,
        lawful_bases=bases,
        reasons=policy.reasons(),
        policies=lambda: installation.engine.policies,
        wording=consent_wording(catalogue),
        destruction=destruction(),
        second_factor=identity.proof_in_emergency(installation.database, installation.keys, installation.settings),
        kept_by_recipients=policy.kept_by_recipients(),
    )


def consent_wording(catalogue: policy.Catalogue) -> consent.Wording:
    """The words of purposes and data classes: policy's data, handed to the consent registry."""
    return consent.Wording(
        purposes={code: (text.zh, text.en) for code, text in policy.purposes().items()},
        classes={code: (one.name.zh, one.name.en) for code, one in catalogue.classes.items()},
        types=catalogue.types_of,
    )


def consent_residual(keys: Keys) -> Callable[[Any, str, Any, str], list[dict[str, Any]]]:
    """What a patient's consents leave to be enforced under a grant, as IHE PCF writes it: consent's answer, handed to introspection."""

    def of(session: Any, patient: str, grant_id: Any, purpose: str) -> list[dict[str, Any]]:
        recipient, requester = applications.parties_of(session, grant_id)
        return consent.residual_for(session, keys, patient, recipient, purpose, requester=requester)

    return of


def consent_facts(keys: Keys) -> Any:
    """What the patient's consents say to a recipient for a purpose: consent's answer, handed to applications."""

    def of(session: Any, patient_key: Any, recipient: str, purpose: str, at: Any, *, requester: Any) -> ConsentFacts:
        return consent.consent_facts(session, keys, patient_key, recipient, purpose, at, requester=requester)

    return of


def from_settings() -> FastAPI:
    """The app from this process's settings; what a server process calls."""
    chosen = settings()
    app = create_app(open_installation(chosen, seals=chosen.seals_here))
    # What is made at the start stays, so that the collector need not look through all of it again and again.
    gc.collect()
    gc.freeze()
    return app


def _sequence(installation: Installation, stop: threading.Event) -> None:
    Sealing(installation.log_database, installation.settings, installation.keys).run(stop)


def background(chosen: Settings, stop: threading.Event) -> None:
    """A worker's work until it is stopped: the log's order, tiles and checkpoints, and jobs."""
    installation = open_installation(chosen)
    thread = threading.Thread(target=_sequence, args=(installation, stop), name="sequencer", daemon=True)
    thread.start()
    threading.Thread(target=installation.engine.run, args=(installation.database, stop), name="policies", daemon=True).start()
    jobs.run(background_jobs(), installation, stop)
    thread.join(5)


async def checks(chosen: Settings) -> list[Check]:
    """What ``broker check`` prints."""
    found: list[Check] = []
    try:
        seals = chosen.seals_here or chosen.log_signing_key is not None
        load_keys(chosen, seals=seals)
        found.append(Check("keys", ok=True, detail="can be read" if seals else "can be read; the log's key is the worker's"))
    except (KeyUnusable, OSError) as error:
        found.append(Check("keys", ok=False, detail=str(error), help="Set BROKER_KEY_ENCRYPTION_KEY_FILE and the two signing keys."))
        return found
    try:
        installation = await asyncio.to_thread(open_installation, chosen, seals=seals)
    except Exception as error:  # noqa: BLE001  (a check says what is wrong, whatever it is)
        detail = str(error).splitlines()[0] if not isinstance(error, psycopg.Error) else type(error).__name__
        found.append(Check("database", ok=False, detail=detail, help="Check BROKER_DATABASE_URL, then run `broker migrate`."))
        return found
    found += [
        database_check(installation.database),
        policy_check(installation.engine),
        log_check(installation.database, chosen),
        jobs_check(installation.database),
    ]
    found.append(
        Check("fonts", ok=review.fonts_there(), detail="Chinese can be printed" if review.fonts_there() else "no font with Chinese",
              help="Install fonts-noto-cjk (Debian); without it the quarterly review has no PDF.")
    )  # fmt: skip
    found.append(Check("clock", ok=True, detail=clock.now().isoformat()))
    return found
