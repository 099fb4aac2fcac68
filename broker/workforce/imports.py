"""CSV files of the registers, as personnel departments keep them: good lines go in, each bad one is named with what is wrong."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from datetime import date, tzinfo
from typing import Any
from uuid import UUID

from sqlmodel import Session, select

from broker.errors import BrokerError, Problem
from broker.identity.models import Organization, Person
from broker.workforce.codes import CODES, Register
from broker.workforce.entering import add
from broker.workforce.errors import CredentialInvalid, TableUnreadable

#: Columns of the file; those without which a line says nothing come first.
NEEDED = ("holder", "code", "number", "issued_on")
COLUMNS = (*NEEDED, "valid_until", "scope", "issuer")

#: What the columns may be called in Chinese; certificates may be named by their code or in either language.
HEADINGS = {
    "持有人": "holder", "证书类别": "code", "证书编号": "number", "发证日期": "issued_on", "有效期至": "valid_until", "执业范围": "scope",
    "发证机关": "issuer",
}  # fmt: skip
_CODES = {name: code for code, names in CODES.items() for name in names}

#: Lines of one file; more are several files.
LINES = 5000

#: As ISO 8601 writes a day, and as spreadsheets write it in China.
_DAY = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})", re.ASCII)


@dataclass(frozen=True)
class Line:
    """What became of one line: ``number`` counts from 1, the heading being line 1."""

    number: int
    outcome: str  #: entered, unchanged or refused
    problems: tuple[Problem, ...] = ()


def read(session: Session, actor: str, register: Register, content: bytes, *, zone: tzinfo, dry_run: bool = False) -> list[Line]:
    """Enter every good line. Raises TableUnreadable where it isn't a table with these columns; never repeats what a line says.

    ``holder`` is a user name, or ``organization:<id>``; ``scope`` is separated by semicolons; days are written YYYY-MM-DD or
    YYYY/M/D. Columns and certificates may be named in Chinese.
    ``zone``: whose days the last days are. ``dry_run``: say what would become of each line and keep nothing.
    """
    rows = _rows(content)
    outcomes = []
    outer = session.begin_nested()
    for number, row in enumerate(rows, start=2):
        before = session.begin_nested()
        try:
            entered = _enter(session, actor, register, row, zone)
        except BrokerError as error:
            before.rollback()
            problems = error.problems or (Problem("/holder", error.code, error.title("en")),)
            outcomes.append(Line(number, "refused", problems))
        else:
            before.commit()
            outcomes.append(Line(number, "entered" if entered else "unchanged"))
    if dry_run:
        outer.rollback()
    else:
        outer.commit()
    return outcomes


def _rows(content: bytes) -> list[dict[str, Any]]:
    for encoding in ("utf-8-sig", "gb18030"):  # Spreadsheets in China save CSV as the latter.
        try:
            text = content.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        raise TableUnreadable("It is neither UTF-8 nor GB18030.")
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        names = [HEADINGS.get(name.strip(), name.strip()) for name in reader.fieldnames or ()]
        reader.fieldnames = names
        if not set(NEEDED) <= set(names) or not set(names) <= set(COLUMNS) or len(names) != len(set(names)):
            raise TableUnreadable(f"The first line names these columns: {', '.join(COLUMNS)}.")
        rows = [row for row in reader if any(value for value in row.values() if isinstance(value, str) and value.strip())]
    except csv.Error:
        raise TableUnreadable("It is not CSV as RFC 4180 writes it.") from None
    if len(rows) > LINES:
        raise TableUnreadable(f"A file has at most {LINES} lines.")
    return rows


def _enter(session: Session, actor: str, register: Register, row: dict[str, Any], zone: tzinfo) -> bool:
    """Whether the line was new."""
    problems: list[Problem] = []
    if None in row or any(value is None for value in row.values()):
        raise CredentialInvalid(problems=(Problem("/", "columns", "The line has more or fewer cells than the heading."),))
    cells = {name: str(value).strip() for name, value in row.items()}
    for name, value in cells.items():
        if len(value) > 500 or any(ord(one) < 32 or ord(one) == 127 for one in value):
            problems.append(Problem(f"/{name}", "text", "It is too long or holds control characters."))
    problems += [Problem(f"/{name}", "required", "This must be filled in.") for name in NEEDED if not cells[name]]
    issued, until = (_day(cells.get(name, ""), name, problems) for name in ("issued_on", "valid_until"))
    person, organization = _holder(session, cells["holder"], problems)
    if problems or issued is None:
        raise CredentialInvalid(problems=tuple(problems))
    scope = [one.strip() for one in re.split("[;；]", cells.get("scope", "")) if one.strip()]
    _, new = add(
        session, actor, register, person=person, organization=organization, code=_CODES.get(cells["code"], cells["code"]), number=cells["number"],
        issued_on=issued, zone=zone,
        valid_until=until, scope=scope, issuer=cells.get("issuer") or None,
    )  # fmt: skip
    return new


def _day(text: str, name: str, problems: list[Problem]) -> date | None:
    if not text:
        return None
    try:
        parts = _DAY.fullmatch(text)
        found = date(*map(int, parts.groups())) if parts else None
    except ValueError:
        found = None
    if found is None or not 1900 <= found.year <= 2200:
        problems.append(Problem(f"/{name}", "day", "A day is written YYYY-MM-DD."))
        return None
    return found


def _holder(session: Session, text: str, problems: list[Problem]) -> tuple[UUID | None, str | None]:
    if not text:
        return None, None
    if text.startswith("organization:"):
        found = session.exec(select(Organization.id).where(Organization.id == text.removeprefix("organization:"))).one_or_none()
        if found is not None:
            return None, found
    else:
        person = session.exec(select(Person.id).where(Person.username == text.lower())).one_or_none()
        if person is not None:
            return person, None
    problems.append(Problem("/holder", "unknown", "There is no such person or institution."))
    return None, None
