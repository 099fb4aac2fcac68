"""The registers of qualifications and training: found, entered, imported with each bad line named, suspended; and one's own (PI-4, TM-5.1, QA-1)."""

from __future__ import annotations

import csv
import io
from datetime import date, timedelta, tzinfo
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker.console import language, pickers, tables, words
from broker.console.desk import Desk
from broker.console.door import Form, Posted, PostedFile, Sending, SignedIn, Visitor, require
from broker.console.language import N_, said
from broker.console.lists import SPAN
from broker.console.pages import HEADERS, Pages, filled, named, to
from broker.console.tables import Ask, Cell, Column, Filter
from broker.database import SessionDep
from broker.errors import BrokerError, Forbidden, Invalid, Problem
from broker.identity import service as identity
from broker.identity.access import Action
from broker.paging import COUNTED
from broker.workforce import service as workforce
from broker.workforce.models import Credential
from broker.workforce.service import Register, Step

Reader = Annotated[Visitor, Depends(require(Action.WORKFORCE_READ))]
Writer = Annotated[Visitor, Depends(require(Action.WORKFORCE_WRITE))]

#: The address of each register.
PATHS = {Register.QUALIFICATION: "/console/qualifications", Register.TRAINING: "/console/training"}
TITLES = {Register.QUALIFICATION: N_("Qualifications"), Register.TRAINING: N_("Training")}
LEADS = {
    Register.QUALIFICATION: N_("Licences of people and institutions. Asked when somebody applies, endorses and decides, and at every release."),
    Register.TRAINING: N_("Training that was passed. Once given it is to be kept up: when it runs out, applying and approving stop."),
}
TITLE_OF = (N_("Holder"), N_("Organisation"), N_("Certificate"), N_("Number"), N_("Issued"), N_("Valid until"), N_("State"))

#: Refused lines of a file that the page shows; the rest is told in a number.
SHOWN = 200


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """Both registers, what the steps demand, and one's own certificates."""
    router, zone = APIRouter(), desk.settings.zone

    def show(
        request: Request, who: Visitor, session: Session, register: Register, *, error: BrokerError | None = None,
        lines: list[workforce.Line] | None = None, dry: bool = False,
    ) -> Response:  # fmt: skip
        spoken, ask = pages.language(request), Ask.of(request)
        known = identity.Directory(session)
        sort = ask.sort(workforce.SORTS, "valid_until")
        anybody = pickers.organizations(session, spoken, identity.ANY)
        places, organization = anybody.filter(ask, "organization", said(spoken, N_("Organisation")))
        wanted = workforce.Wanted(
            register, words=ask.text("q"), code=ask.one_of("code", workforce.CODES), organization=organization,
            state=ask.one_of("state", workforce.STATES), sort=sort,
        )  # fmt: skip
        limit, offset = ask.window
        found = workforce.listing(session, wanted, limit=limit, offset=offset, counted=COUNTED)
        sorts = ("", "", "code", "number", "issued_on", "valid_until", "")
        table = tables.made(
            ask, [Column(said(spoken, title), key) for title, key in zip(TITLE_OF, sorts, strict=True)],
            [_line(spoken, register, one, known, zone) for one in found.items], found.total, span=said(spoken, SPAN), sort=sort,
            filters=_filters(spoken, register, places),
        )  # fmt: skip
        if ask.format:
            return tables.exported(table, ask.format, register.value)
        refused = [one for one in lines or () if one.outcome == "refused"]
        return pages.show(
            request, "credentials.html", status=error.status if error else 200, error=error, table=table, register=register.value,
            path_of=PATHS[register], title=TITLES[register], lead=LEADS[register], other=(PATHS[_other(register)], TITLES[_other(register)]),
            codes=_codes(spoken, register), may_write=who.caller.may(Action.WORKFORCE_WRITE),
            organizations=pickers.organizations(session, spoken, identity.ANY).picker(filled(request), "institution"),
            people=pickers.people(session).picker(filled(request), "person"),
            demands=[(step.value, list(codes)) for step, codes in workforce.demands(session).items()],
            every=[(code, _code(spoken, code)) for code in workforce.CODES],
            lines=refused[:SHOWN], more=max(len(refused) - SHOWN, 0), dry=dry, imported=lines is not None,
            counts={outcome: sum(one.outcome == outcome for one in lines or ()) for outcome in ("entered", "unchanged", "refused")},
        )  # fmt: skip

    def change(request: Request, credential: UUID, form: Form, who: Visitor, session: Session, register: Register) -> Response:
        try:
            with session.begin_nested():
                workforce.change(session, who.caller.actor, register, credential, _one_of(form, "status", words.CREDENTIAL_CHANGE))
        except BrokerError as error:
            return show(request, who, session, register, error=error)
        return to(PATHS[register], done="saved")

    def add(request: Request, form: Form, who: Visitor, session: Session, register: Register) -> Response:
        try:
            with session.begin_nested():
                settled = pickers.people(session).settled(form, "person")
                if register is Register.QUALIFICATION:
                    settled = pickers.organizations(session, pages.language(request), identity.ANY).settled(settled, "institution")
                given = _given(session, settled, register)
                workforce.add(session, who.caller.actor, register, zone=zone, **given)
        except BrokerError as error:
            return show(request, who, session, register, error=error)
        return to(PATHS[register], done="entered")

    def read(request: Request, given: Sending, who: Visitor, session: Session, register: Register) -> Response:
        dry = given.form.has("check")
        try:
            if not given.content:
                raise Invalid(problems=(Problem("/file", "required", "No file was sent."),))
            with session.begin_nested():
                lines = workforce.imported(session, who.caller.actor, register, given.content, zone=zone, dry_run=dry)
        except BrokerError as error:
            return show(request, who, session, register, error=error)
        return show(request, who, session, register, lines=lines, dry=dry)

    def template(request: Request) -> Response:
        """An empty file with the columns as they are called in this language."""
        out = io.StringIO()
        names = {column: name for name, column in workforce.HEADINGS.items()} if pages.language(request) == "zh" else {}
        csv.writer(out, lineterminator="\r\n").writerow([names.get(column, column) for column in workforce.COLUMNS])
        headers = {**HEADERS, "Content-Disposition": 'attachment; filename="register.csv"'}
        return Response(b"\xef\xbb\xbf" + out.getvalue().encode(), media_type="text/csv; charset=utf-8", headers=headers)

    def pages_of(register: Register) -> None:
        """The four addresses of a register."""
        path = PATHS[register]

        @router.get(path, name=f"{register}-list")
        def many(request: Request, who: Reader, session: SessionDep) -> Response:
            return show(request, who, session, register)

        @router.post(path, name=f"{register}-add")
        def add_one(request: Request, form: Posted, who: Writer, session: SessionDep) -> Response:
            return add(request, form, who, session, register)

        @router.post(f"{path}/import", name=f"{register}-import")
        def read_all(request: Request, given: PostedFile, who: Writer, session: SessionDep) -> Response:
            return read(request, given, who, session, register)

        @router.post(f"{path}/{{credential}}", name=f"{register}-change")
        def change_one(request: Request, credential: UUID, form: Posted, who: Writer, session: SessionDep) -> Response:
            return change(request, credential, form, who, session, register)

    for register in PATHS:
        pages_of(register)

    @router.get("/console/workforce/template")
    def empty_file(request: Request, _who: Reader) -> Response:
        return template(request)

    @router.post("/console/workforce/demands")
    def demand(request: Request, form: Posted, who: Writer, session: SessionDep) -> Response:
        try:
            with session.begin_nested():
                step = Step(_one_of(form, "step", [one.value for one in Step]))
                workforce.set_demands(session, who.caller.actor, step, [_known(code) for code in form.all("code")])
        except BrokerError as error:
            return show(request, who, session, Register.QUALIFICATION, error=error)
        return to("/console/qualifications#demands", done="saved")

    @router.get("/console/credentials")
    def own(request: Request, who: SignedIn, session: SessionDep) -> Response:
        spoken = pages.language(request)
        mine = workforce.of_caller(session, who.caller.natural_person)
        demands = workforce.demands(session)
        lacking = {}
        for step in (Step.APPLY, Step.ENDORSE, Step.DECIDE):
            try:
                workforce.check(session, who.caller.person_id, step)
            except Forbidden as error:
                lacking[step.value] = [
                    (_code(spoken, found.path.lstrip("/")), said(spoken, words.LACKING.get(found.code, found.code))) for found in error.problems
                ]
        shown = [
            {"name": _code(spoken, row.code), "number": row.number, "until": _until(spoken, row, zone), "state": workforce.state_of(row),
             "scope": row.scope, "training": row.book == Register.TRAINING} for row in mine
        ]  # fmt: skip
        steps = [step.value for step, action in _ASKED.items() if who.caller.may(action)]
        return pages.show(
            request, "my_credentials.html", rows=shown, lacking=lacking, steps=steps,
            demanded={step.value: [_code(spoken, code) for code in codes] for step, codes in demands.items()},
        )  # fmt: skip

    return router


_ASKED = {Step.APPLY: Action.APPLICATION_WRITE, Step.ENDORSE: Action.APPLICATION_ENDORSE, Step.DECIDE: Action.APPLICATION_DECIDE}


def _other(register: Register) -> Register:
    return Register.TRAINING if register is Register.QUALIFICATION else Register.QUALIFICATION


def _code(spoken: str, code: str) -> str:
    """What a certificate is called."""
    english, chinese = workforce.CODES.get(code, (code, code))
    return chinese if spoken == "zh" else english[:1].upper() + english[1:]


def _codes(spoken: str, register: Register) -> list[tuple[str, str]]:
    return [(code, _code(spoken, code)) for code in workforce.CODES if code in workforce.ENTERED[register]]


def _until(spoken: str, row: Credential, zone: tzinfo) -> str:
    """Its last day, where the hospital is."""
    if row.valid_until is None:
        return said(spoken, N_("without end"))
    return language.day(spoken, (row.valid_until - timedelta(microseconds=1)).astimezone(zone).date())


def _line(spoken: str, register: Register, one: Any, known: identity.Directory, zone: tzinfo) -> list[Cell]:
    row, state = one.row, workforce.state_of(one.row)
    holder = one.name or named(known.get(one.organization), spoken)
    return [
        Cell(
            holder,
            note=one.username or "",
            href=f"{PATHS[register]}?q={one.username}" if one.username else f"/console/organizations/{one.organization}",
        ),
        Cell(named(known.get(one.organization), spoken)),
        Cell(_code(spoken, row.code), note=said(spoken, N_(", ")).join(row.scope)),
        Cell(row.number, note=row.issuer or ""),
        Cell(language.day(spoken, row.issued_on)),
        Cell(_until(spoken, row, zone)),
        Cell(words.word(spoken, "credential", state), tone=words.TONES.get(state, "quiet"), key=str(row.id)),
    ]


def _filters(spoken: str, register: Register, places: Filter) -> list[Filter]:
    return [
        Filter("q", said(spoken, N_("Holder or number"))),
        Filter("code", said(spoken, N_("Certificate")), _codes(spoken, register)),
        places,
        Filter("state", said(spoken, N_("State")), [(code, words.word(spoken, "credential", code)) for code in workforce.STATES]),
    ]


def _one_of(form: Form, name: str, known: Any) -> str:
    given = form.one(name)
    if given not in known:
        raise Invalid(problems=(Problem(f"/{name}", "unknown", "There is no such choice."),))
    return given


def _known(code: str) -> str:
    if code not in workforce.CODES:
        raise Invalid(problems=(Problem("/code", "unknown", "There is no such choice."),))
    return code


def _given(session: Session, form: Form, register: Register) -> dict[str, Any]:
    """A form's certificate as the verb takes it. Raises Invalid with every field that is wrong."""
    problems: list[Problem] = []
    days: dict[str, date | None] = {}
    for name, needed in (("issued_on", True), ("valid_until", False)):
        days[name] = None
        try:
            days[name] = date.fromisoformat(form.one(name)) if form.one(name) else None
        except ValueError:
            problems.append(Problem(f"/{name}", "day", "This is not a day."))
        else:
            if needed and days[name] is None:
                problems.append(Problem(f"/{name}", "required", "This must be filled in."))
    number, issuer = form.one("number"), form.one("issuer")
    if not number or any(len(one) > 200 or not one.isprintable() for one in (number, issuer, form.one("scope"))):
        problems.append(Problem("/number", "required", "This must be filled in."))
    username, organization = form.one("person").lower(), form.one("institution") if register is Register.QUALIFICATION else ""
    found = identity.person_named(session, username) if username else None
    person = found.id if found else None
    if (username and person is None) or (organization and organization not in identity.Directory(session)):
        problems.append(Problem("/holder", "unknown", "There is no such choice."))
    elif bool(person) == bool(organization):
        problems.append(Problem("/holder", "holder", "A licence has one holder, a person or an institution; a training is a person's."))
    if problems:
        raise Invalid(problems=tuple(problems))
    scope = [one.strip() for one in form.one("scope").replace("；", ";").replace("、", ";").split(";") if one.strip()]
    return {
        "person": person, "organization": organization or None, "code": form.one("code"), "number": number, "issued_on": days["issued_on"],
        "valid_until": days["valid_until"], "scope": scope, "issuer": issuer or None,
    }  # fmt: skip
