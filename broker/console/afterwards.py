"""What the pages about incidents, duties, destruction and requests share: reading forms, naming who acted, a list cut into pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import Request
from fastapi.responses import Response
from sqlmodel import Session

from broker.console import tables, words
from broker.console.door import Form
from broker.console.language import N_, said
from broker.console.lists import SPAN
from broker.console.pages import Pages
from broker.console.tables import Ask, Cell, Column, Filter, Table
from broker.errors import BrokerError, Invalid, Problem
from broker.identity import service as identity

LONGEST = 4000

#: Shows a page again, with what was wrong.
Again = Callable[[BrokerError | None], Response]


def text_of(form: Form, name: str = "text", *, required: bool = True) -> str:
    """What somebody wrote. Raises Invalid where it is nothing, too long, or not text."""
    given = form.one(name)
    if (required and not given) or len(given) > LONGEST or any(ord(letter) < 32 and letter not in "\n\t" for letter in given):
        raise Invalid(problems=(Problem(f"/{name}", "required", "This field must be filled in."),))
    return given


def choice_of(form: Form, name: str, known: Any) -> str:
    """One of the choices that a form offers. Raises Invalid."""
    given = form.one(name)
    if given not in known:
        raise Invalid(problems=(Problem(f"/{name}", "unknown", "There is no such choice."),))
    return given


def day_of(form: Form, name: str) -> date:
    """A day. Raises Invalid."""
    try:
        return date.fromisoformat(form.one(name))
    except ValueError:
        raise Invalid(problems=(Problem(f"/{name}", "day", "This is not a day."),)) from None


def moment_of(form: Form, name: str, zone: str) -> datetime | None:
    """A moment in the hospital's time; None where none is given. Raises Invalid."""
    given = form.one(name)
    if not given:
        return None
    try:
        at = datetime.fromisoformat(given)
    except ValueError:
        raise Invalid(problems=(Problem(f"/{name}", "day", "This is not a day."),)) from None
    return at.replace(tzinfo=ZoneInfo(zone)) if at.tzinfo is None else at


def number_of(form: Form, name: str, most: int) -> int:
    """A whole number from 1. Raises Invalid."""
    given = form.one(name)
    if not (given.isascii() and given.isdigit() and len(given) < 7 and 1 <= int(given) <= most):
        raise Invalid(problems=(Problem(f"/{name}", "unknown", "There is no such choice."),))
    return int(given)


def id_of(form: Form, name: str) -> UUID:
    """An identifier of a choice. Raises Invalid."""
    try:
        return UUID(form.one(name))
    except ValueError:
        raise Invalid(problems=(Problem(f"/{name}", "unknown", "There is no such choice."),)) from None


def several(form: Form, name: str) -> tuple[str, ...]:
    """Several words of one field, apart by spaces or commas."""
    return tuple(dict.fromkeys(form.one(name).replace("，", " ").replace("、", " ").replace(",", " ").replace("\n", " ").split()))[:200]


def offered(spoken: str, kind: str, codes: Sequence[str] | None = None) -> list[tuple[str, str]]:
    """The choices of a kind of code, with their words."""
    return [(code, words.word(spoken, kind, code)) for code in (words.TABLES[kind] if codes is None else codes)]


def actor_name(session: Session, spoken: str, actor: str | None) -> str:
    """Who acted, as pages say it."""
    kind, _, key = (actor or "").partition(":")
    if kind == "person":
        try:
            return identity.person(session, UUID(key)).name
        except (BrokerError, ValueError):
            return key
    if kind in ("client", "organization"):
        return key
    return said(spoken, {"system": N_("the clock"), "patient": N_("the patient")}.get(kind, "")) or kind or "–"


def listed(request: Request, pages: Pages, titles: Sequence[str], rows: Sequence[Sequence[Cell]], filters: Sequence[Filter] = ()) -> Table:
    """A list of which all rows are at hand, cut into pages."""
    spoken, ask = pages.language(request), Ask.of(request)
    limit, offset = ask.window
    columns = [Column(said(spoken, title)) for title in titles]
    return tables.made(ask, columns, rows[offset : offset + limit], len(rows), span=said(spoken, SPAN), filters=filters)


def show(pages: Pages, request: Request, template: str, *, table: Table, status: int = 200, **context: Any) -> Response:
    """The page of a list, or the list as the file that was asked for."""
    kind = Ask.of(request).format
    if kind:
        return tables.exported(table, kind, request.url.path.rpartition("/")[2])
    return pages.show(request, template, status=status, table=table, **context)


def tried(session: Session, act: Callable[[], Any], again: Again, onwards: Callable[[], Response]) -> Response:
    """Do something; if it is refused, show the page again with the reason, and undo what was begun."""
    try:
        with session.begin_nested():
            act()
    except BrokerError as error:
        return again(error)
    return onwards()
