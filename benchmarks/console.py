"""Server time of each page of the console with many applications: best, median and worst of several visits, in this process, in milliseconds.

On a machine that does much else at the same time the best says what the page costs, and the median what the machine does.

    .venv/bin/python -m benchmarks console [--applications=100000] [--people=10000]

Beside the pages that are named below every page of each role's menu is visited. As many organisations as people are there.

The floor is the login page, which asks the database nothing.
"""

from __future__ import annotations

import json
import re
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from starlette.testclient import TestClient

from broker import clock
from broker.app import create_app, open_installation
from broker.console.reviewing import quarters
from broker.database import Database, EmbeddedServer
from broker.demo.seed import seed
from broker.demo.story import Story
from broker.demo.waiting import leave_waiting
from broker.migrate import migrate
from broker.review import service as review
from broker.settings import Settings

HERE = Path(__file__).resolve().parent
VISITS = 7
BASE = "http://127.0.0.1:8000"
#: Copies of the story's applications, in every state, spread over two years.
_COPIES = """
INSERT INTO application SELECT (jsonb_populate_record(a, jsonb_build_object(
  'id', gen_random_uuid(), 'number', 'SA-2025-' || lpad(g::text, 6, '0'),
  'status', (ARRAY['submitted', 'endorsed', 'approved', 'refused'])[1 + g %% 4],
  'created_at', now() - g * interval '10 minutes', 'changed_at', now() - g * interval '10 minutes',
  'submitted_at', now() - g * interval '10 minutes'
))).* FROM application a, generate_series(1, %s) g WHERE a.number = %s
"""
#: Their steps: submitted, endorsed a day later, decided after two, as far as each state says.
_STEPS = """
INSERT INTO application_decision SELECT (jsonb_populate_record(d, jsonb_build_object(
  'id', gen_random_uuid(), 'application_id', c.id, 'action', s.action, 'at', c.submitted_at + s.days * interval '1 day', 'version', 2 + s.days,
  'round', 1, 'assessment_id', NULL, 'person_id', NULL, 'natural_person', NULL, 'on_behalf_of', NULL, 'place', NULL,
  'reason_code', CASE s.action WHEN 'refuse' THEN 'not-necessary' END
))).*
FROM application c, application_decision d, (VALUES ('submit', 0), ('endorse', 1), ('approve', 2), ('refuse', 2)) s (action, days)
WHERE d.id = (SELECT id FROM application_decision LIMIT 1) AND c.number LIKE 'SA-2025-%%'
  AND c.submitted_at + s.days * interval '1 day' <= now() AND s.action = ANY (CASE c.status
  WHEN 'submitted' THEN ARRAY['submit'] WHEN 'endorsed' THEN ARRAY['submit', 'endorse']
  WHEN 'approved' THEN ARRAY['submit', 'endorse', 'approve'] ELSE ARRAY['submit', 'endorse', 'refuse'] END)
"""
#: People and the organisations that they belong to.
_REGISTERS = """
INSERT INTO organization (id, kind, relationship, jurisdiction, status, name_zh, name_en, created_at)
SELECT 'town-' || g, 'hospital', 'external', 'CN', 'active', '第' || g || '镇卫生院', 'Town clinic ' || g, now() FROM generate_series(1, %(many)s) g;
INSERT INTO person (id, username, name, organization_id, natural_person, status, language, created_at, must_change_password)
SELECT gen_random_uuid(), 'clerk' || g, '文员' || g, 'town-' || g, 'clerk-' || g, 'active', 'zh', now(), false FROM generate_series(1, %(many)s) g
"""
_PAGES = {
    "gao.min": (
        "/console/applications", "/console/applications?status=approved&sort=number", "/console/applications?status=to-finish",
        "/console/applications/new",
        "/console/applications/{first}", "/console/inbox", "/console/account", "/console/credentials", "/console/channels",
    ),
    "song.yi": ("/console/endorse", "/console/exchanges", "/console/standing-in", "/console/access"),
    "deng.li": (
        "/console/decide", "/console/decide?page=40", "/console/exchanges", "/console/exchanges?number=012345",
        "/console/applications/{waiting}/decide", "/console/transmissions", "/console/patient-code",
        "/console/exchanges?urgency=emergency", "/console/exchanges?sort=-status&page=40", "/console/qualifications", "/console/training",
        "/console/agreements",
    ),
    "cao.yan": (
        "/console/exchanges?purpose=TREAT&sort=-submitted", "/console/transmissions?application={first}", "/console/events",
        "/console/reviews",
    ),
    "peng.bo": (
        "/console/people", "/console/people?q=0123&sort=name", "/console/people?status=locked", "/console/organizations",
        "/console/organizations?q=0123&sort=-name", "/console/clients", "/console/keys",
    ),
}  # fmt: skip


def main() -> None:
    count, people = _asked("--applications=", 100_000), _asked("--people=", 10_000)
    folder = Path(tempfile.mkdtemp(prefix="broker-bench-"))
    server = EmbeddedServer(folder / "postgres")
    try:
        migrate(server.url)
        chosen = Settings(
            var=folder, database_url=server.url, base_url=BASE, hospital="renhe", quorum=2, second_factor_roles="none", step_up_minutes=120
        )
        installation = open_installation(chosen)
        cast = seed(installation)
        with TestClient(create_app(installation), base_url=BASE) as http:
            story = Story(installation, cast, BASE, Console(quiet=True))
            story.http = http
            story.play()
            story.standing_grants()
            leave_waiting(story)
            owner = Database(server.url, "owner", pool=2)
            with owner.transaction() as session:
                session.connection().exec_driver_sql(_COPIES, (count, f"SA-{clock.today().year}-000001"))
                session.connection().exec_driver_sql(_STEPS, ())
                for statement in _REGISTERS.split(";"):
                    session.connection().exec_driver_sql(statement, {"many": people})
            with owner.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("ANALYZE")
            owner.dispose()
            result = measured(http, installation.database, cast.passwords, count, people)
        (HERE / "results").mkdir(exist_ok=True)
        (HERE / "results" / "console.json").write_text(json.dumps(result, indent=1))
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def measured(http: TestClient, database: Database, passwords: dict[str, str], count: int, people: int) -> dict[str, object]:
    mark = {"Sec-Fetch-Site": "same-origin"}
    floor = [_visit(http, "/console/login") for _ in range(VISITS)]
    print(f"{count:,} applications, {people:,} people and as many organisations; the login page alone {statistics.median(floor):.0f} ms")
    found: dict[str, list[float]] = {}
    seen: set[str] = set()
    for person, paths in _PAGES.items():
        http.cookies.clear()
        http.post("/console/login", data={"username": person, "password": passwords[person]}, headers=mark, follow_redirects=False)
        first = f"SA-{clock.today().year}-000001"
        waiting = re.search(rf"/console/applications/({first[:8]}\d+)/decide", http.get("/console/decide?sort=-number").text)
        chosen = [one.format(first=first, waiting=waiting[1] if waiting else first) for one in paths]
        menu = re.findall(r'href="(/console/[a-z-]+)"', http.get("/console/account").text.partition('class="menu"')[2].partition("</nav>")[0])
        for path in dict.fromkeys((*chosen, *(one for one in menu if one not in found and one not in seen))):
            seen.add(path)
            _visit(http, path)  # The first visit fills what is kept: templates, plans, statements.
            found[path] = [_visit(http, path) for _ in range(VISITS)]
            best, median, worst = min(found[path]), statistics.median(found[path]), max(found[path])
            print(f"{person:>8} {path:<62} best {best:6.0f} ms, median {median:6.0f}, worst {worst:6.0f}", flush=True)
    reckoned = _reckoned(database)
    print(f"the quarter's figures, reckoned anew in the background or on demand: {reckoned:.0f} ms; the page shows them with their moment")
    worst = max(statistics.median(times) for times in found.values())
    least = max(min(times) for times in found.values())
    print(f"slowest page by its best visit: {least:.0f} ms")
    print(f"slowest page: {worst:.0f} ms at the median, {worst / statistics.median(floor):.0f} times the login page")
    return {
        "applications": count,
        "people": people,
        "floor_ms": statistics.median(floor),
        "figures_ms": reckoned,
        "pages_ms": {path: statistics.median(times) for path, times in found.items()},
    }


def _asked(name: str, otherwise: int) -> int:
    return next((int(one.partition("=")[2]) for one in sys.argv if one.startswith(name)), otherwise)


def _reckoned(database: Database) -> float:
    """Milliseconds to add up the present quarter."""
    with database.transaction() as session:
        start = time.perf_counter()
        review.compiled(session, review.Quarter.parse(quarters()[0]), feedback_days=30)
        return (time.perf_counter() - start) * 1000


def _visit(http: TestClient, path: str) -> float:
    start = time.perf_counter()
    answer = http.get(path)
    taken = (time.perf_counter() - start) * 1000
    if answer.status_code != 200:
        raise SystemExit(f"{path}: {answer.status_code}")
    return taken


if __name__ == "__main__":
    main()
