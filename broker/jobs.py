"""Work that is done later, by any worker on any machine: Procrastinate over the broker's own PostgreSQL.

A verb defers a job in its own transaction, so the job exists exactly if what it belongs to was committed. Slices say what
they do later as :class:`Job` values, and ``broker/app.py`` puts them together. A job may run more than once (its worker was
killed, its end could not be recorded): every handler does nothing the second time, because it looks at what is stored first.

Payloads and names hold no patient data: they lie in clear in ``procrastinate_jobs`` and appear in logs.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

import procrastinate
import psycopg
import sqlalchemy as sa
from procrastinate import jobs as procrastinate_jobs
from sqlmodel import Session

from broker.crypto import Keys
from broker.database import Database
from broker.settings import Settings

logger = logging.getLogger(__name__)

#: ``default`` for short work; ``bulk`` for work of seconds to minutes, of which a worker does one piece at a time.
Queue = Literal["default", "bulk"]
AT_ONCE: Mapping[str, int] = {"default": 4, "bulk": 1}

#: How often a job is tried before it stays failed; the waits between add up to about two hours.
ATTEMPTS = 12
LONGEST_WAIT = 1800
#: Seconds between two signs of life of a worker, and without one after which its jobs are taken up by others.
HEARTBEAT = 5.0
SILENCE = 30.0
#: Seconds until a worker whose database went away looks again, and between two looks for work where no notice came.
PAUSE = 2.0
#: Hours for which a job that failed for good is kept to be looked at.
KEPT_HOURS = 30 * 24


class Tools(Protocol):
    """What a handler may use: the process's settings, keys, connections and policy engine."""

    @property
    def settings(self) -> Settings:
        """The settings of this process."""
        ...

    @property
    def keys(self) -> Keys:
        """The keys of this installation."""
        ...

    @property
    def database(self) -> Database:
        """Connections in the role of the web process; a handler opens its own transactions."""
        ...

    @property
    def engine(self) -> Any:
        """The policy engine."""
        ...


Handler = Callable[[Any, dict[str, Any]], None]


@dataclass(frozen=True)
class Job:
    """A kind of job: ``slice.verb``, who does it, and with ``cron`` (five fields, UTC) when it is due by itself.

    Of a periodic one never two run at a time, and its next turn is its second attempt.
    """

    name: str
    handler: Handler
    cron: str | None = None
    attempts: int = ATTEMPTS
    queue: Queue = "default"


class GiveUp(Exception):
    """Raised by a handler when trying again can't help."""


class JobFailed(Exception):
    """A job's handler raised; says only the kind of error, since its words may hold what a patient said."""


_deferring = procrastinate.App(connector=procrastinate.SyncPsycopgConnector())


def defer(
    session: Session, name: str, payload: dict[str, Any], *, at: datetime | None = None, once: str | None = None, queue: Queue = "default"
) -> bool:
    """Have ``name``'s handler called with ``payload`` after this session's transaction commits, not before ``at``.

    ``once``: while a job with this key waits for its first attempt, no second is added; False then. ``payload`` is JSON
    without patient data. A job whose name nobody handles stays failed.
    """
    try:
        with session.begin_nested():  # A key that is taken must not undo the caller's work.
            driver = session.connection().connection.driver_connection  # Asked for in here: that is what sets the savepoint.
            task = _deferring.configure_task(name, allow_unknown=True, schedule_at=at, queueing_lock=once, queue=queue, connection=driver)
            task.defer(payload=payload)
    except procrastinate.exceptions.AlreadyEnqueued:
        return False
    return True


class _Backoff(procrastinate.BaseRetryStrategy):
    """Two seconds, four, eight … at most half an hour, spread by chance so that many don't come back together."""

    def __init__(self, attempts: int) -> None:
        self._attempts = attempts

    def get_retry_decision(self, *, exception: BaseException, job: procrastinate_jobs.Job) -> procrastinate.RetryDecision | None:
        if isinstance(exception, GiveUp) or job.attempts + 1 >= self._attempts:
            return None
        wait = min(LONGEST_WAIT, 2 ** (job.attempts + 1)) * random.uniform(0.75, 1.25)  # noqa: S311  (no secret hangs on it)
        return procrastinate.RetryDecision(retry_in={"seconds": max(1, round(wait))})


def build(registry: Iterable[Job], tools: Tools) -> procrastinate.App:
    """Procrastinate's app with every handler of the registry. Raises ValueError for a name that comes twice."""
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=tools.database.conninfo, min_size=1, max_size=6))
    seen: set[str] = set()
    for job in (*registry, Job("jobs.forget", _forget, cron="17 3 * * *")):
        if job.name in seen:
            raise ValueError(f"two handlers for {job.name}")
        seen.add(job.name)
        if job.cron is None:
            app.task(name=job.name, queue=job.queue, retry=_Backoff(job.attempts), pass_context=True)(_run(job, tools))
        else:
            # ``lock``: in turn, never two at a time. ``queueing_lock``: at most one waits.
            task = app.task(name=job.name, queue=job.queue, pass_context=True, lock=job.name, queueing_lock=job.name)(_run(job, tools))
            app.periodic(cron=job.cron)(task)
    return app


#: From its first attempt on a job's key is free: a retry that met a newer one under the same key could not be stored.
_FREE_THE_KEY = sa.text("UPDATE procrastinate_jobs SET queueing_lock = NULL WHERE id = :id AND queueing_lock IS NOT NULL")


def _run(job: Job, tools: Tools) -> Callable[..., None]:
    def run(context: procrastinate.JobContext, payload: dict[str, Any] | None = None, timestamp: int | None = None) -> None:
        del timestamp  # Procrastinate's, of a periodic job: when it was due.
        try:
            with tools.database.transaction() as session:
                session.execute(_FREE_THE_KEY, {"id": context.job.id})
            job.handler(tools, payload or {})
        except GiveUp as error:
            raise GiveUp(f"{job.name} gave up") from error.__cause__
        except Exception as error:
            logger.warning("job %s failed: %s", job.name, type(error).__name__)
            logger.debug("job %s failed", job.name, exc_info=True)
            raise JobFailed(f"{job.name}: {type(error).__name__}") from None

    return run


#: Jobs whose worker gave no sign of life, or is gone from the list. Ids only: what they are for is nobody's business here.
_STALLED = sa.text(
    """
    SELECT j.id, j.attempts FROM procrastinate_jobs j LEFT JOIN procrastinate_workers w ON w.id = j.worker_id
    WHERE j.status = 'doing' AND (w.id IS NULL OR w.last_heartbeat < now() - make_interval(secs => :silence))
    ORDER BY j.id FOR UPDATE OF j SKIP LOCKED
    """
)
_AGAIN = sa.text("SELECT procrastinate_retry_job_v2(:id, now(), NULL, NULL, NULL)")
_NO_MORE = sa.text("SELECT procrastinate_finish_job_v1(:id, 'failed', false)")


def take_up_stalled(session: Session, *, silence: float = SILENCE, attempts: int = ATTEMPTS) -> int:
    """Put back the jobs of workers that were killed; how many. One that has killed ``attempts`` workers stays failed."""
    stalled = session.execute(_STALLED, {"silence": silence}).all()
    for row in stalled:
        session.execute(_AGAIN if row.attempts + 1 < attempts else _NO_MORE, {"id": row.id})
    return len(stalled)


async def _look_for_stalled(tools: Tools) -> None:
    """Every worker looks, all the time: a job that did this would itself be stalled when its worker is killed."""

    def look() -> int:
        with tools.database.transaction() as session:
            return take_up_stalled(session)

    while True:
        if number := await asyncio.to_thread(look):
            logger.warning("%s jobs of workers that fell silent were taken up again", number)
        await asyncio.sleep(HEARTBEAT)


_OLD = sa.text(
    """
    DELETE FROM procrastinate_jobs j WHERE j.status NOT IN ('todo', 'doing')
    AND NOT EXISTS (SELECT FROM procrastinate_events e WHERE e.job_id = j.id AND e.at > now() - make_interval(hours => :hours))
    """
)


def _forget(tools: Tools, payload: dict[str, Any]) -> None:
    del payload
    with tools.database.transaction() as session:
        session.execute(_OLD, {"hours": KEPT_HOURS})


@dataclass(frozen=True)
class Health:
    """How the jobs stand: waiting and overdue for how many seconds at most, being done, failed for good, workers alive."""

    waiting: int
    overdue_seconds: float
    doing: int
    failed: int
    workers: int


_HEALTH = sa.text(
    """
    SELECT count(*) FILTER (WHERE status = 'todo'), count(*) FILTER (WHERE status = 'doing'), count(*) FILTER (WHERE status = 'failed'),
      coalesce(extract(epoch FROM now() - min(coalesce(scheduled_at,
        (SELECT min(e.at) FROM procrastinate_events e WHERE e.job_id = j.id))) FILTER (WHERE status = 'todo')), 0)::float8,
      (SELECT count(*) FROM procrastinate_workers WHERE last_heartbeat > now() - make_interval(secs => :silence))
    FROM procrastinate_jobs j WHERE status IN ('todo', 'doing', 'failed')
    """
)


def health(session: Session) -> Health:
    """How the jobs of this installation stand, over all its workers."""
    waiting, doing, failed, overdue, workers = session.execute(_HEALTH, {"silence": SILENCE}).one()
    return Health(waiting, max(0.0, overdue), doing, failed, workers)


def run(registry: Sequence[Job], tools: Tools, stop: threading.Event) -> None:
    """Do jobs until ``stop`` is set; what is being done then is finished first. A database that goes away is waited for."""
    asyncio.run(_serve(registry, tools, stop))


def run_until_idle(registry: Sequence[Job], tools: Tools) -> None:
    """Do every job that is due now, and return; for tests and for commands that want their own work done."""
    asyncio.run(_once(registry, tools))


async def _once(registry: Sequence[Job], tools: Tools) -> None:
    app = build(registry, tools)
    async with app.open_async():
        await app.run_worker_async(wait=False, install_signal_handlers=False, listen_notify=False, delete_jobs="successful")


async def _serve(registry: Sequence[Job], tools: Tools, stop: threading.Event) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(sum(AT_ONCE.values()) + 4, thread_name_prefix="job"))
    stopped = asyncio.ensure_future(asyncio.to_thread(stop.wait))
    while not stop.is_set():
        working = asyncio.ensure_future(_work(registry, tools))
        await asyncio.wait({stopped, working}, return_when=asyncio.FIRST_COMPLETED)
        working.cancel()  # Procrastinate takes this as the wish to finish what is begun.
        try:
            await working
        except asyncio.CancelledError:
            pass
        except (procrastinate.exceptions.ConnectorException, psycopg.Error) as error:
            logger.warning("jobs stand still: %s", type(error).__name__)
        if not stop.is_set():
            await asyncio.wait({stopped}, timeout=PAUSE)


async def _work(registry: Sequence[Job], tools: Tools) -> None:
    """One worker for each queue, until one of them ends (its database went away) or this is cancelled."""
    app = build(registry, tools)
    async with app.open_async():
        workers = [
            asyncio.ensure_future(
                app.run_worker_async(
                    queues=[queue],
                    name=queue,
                    concurrency=at_once,
                    install_signal_handlers=False,
                    delete_jobs="successful",
                    fetch_job_polling_interval=PAUSE,
                    update_heartbeat_interval=HEARTBEAT,
                    stalled_worker_timeout=SILENCE,
                )
            )
            for queue, at_once in AT_ONCE.items()
        ]
        workers.append(asyncio.ensure_future(_look_for_stalled(tools)))
        try:
            await asyncio.wait(workers, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for worker in workers:
                worker.cancel()
            for ended in await asyncio.gather(*workers, return_exceptions=True):
                if isinstance(ended, Exception):
                    logger.warning("a worker ended: %s", type(ended).__name__)
