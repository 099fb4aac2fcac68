"""Choosing one of very many: somebody types part of a name, sends the form, and chooses among what was found. Without a script.

While there are few, all of them are offered at once. Nothing that was only typed is ever taken for a choice unless it is exactly one
name or identifier: a wrong recipient is a wrong release.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from sqlmodel import Session

from broker.console.door import Form
from broker.console.pages import named
from broker.console.tables import Ask, Filter
from broker.errors import Invalid, Problem
from broker.identity import service as identity

#: What a field is called in which somebody types what to look for, beside the field of the choice.
WORDS = "-words"
#: The value of a filter that matches nothing: what was typed is nobody.
NOBODY = "-"

#: What a kind of choice needs: its rows by words, then value, words and exact names of a row.
Rows = Callable[[str], Sequence[Any]]
Said = Callable[[Any], tuple[str, str, frozenset[str]]]


class ChooseOne(Invalid):
    """Choose among what was found, then send the form again."""

    code: ClassVar[str] = "choose-one"
    zh: ClassVar[str] = "请从查到的结果中选择，再提交。"
    help_en: ClassVar[str] = "Nothing has been done yet."
    help_zh: ClassVar[str] = "目前尚未执行任何操作。"


@dataclass(frozen=True)
class Picker:
    """What a field offers. ``search``: there are too many to offer, so that ``options`` are those found for ``words``."""

    options: tuple[tuple[str, str], ...]
    search: bool = False
    words: str = ""

    def without(self, value: str) -> Picker:
        """The same without one that may not be chosen."""
        return replace(self, options=tuple(one for one in self.options if one[0] != value))


@dataclass(frozen=True)
class Choice:
    """A kind of thing that is chosen: how it is found, and how it is said."""

    rows: Rows
    said: Said

    def picker(self, form: Form | None, name: str) -> Picker:
        """What the field offers, after what was typed in it."""
        everything = self.rows("")
        if len(everything) <= identity.FEW:
            return Picker(_plainly([self.said(one)[:2] for one in everything]))
        words = form.one(name + WORDS) if form else ""
        chosen = form.all(name)[: identity.FEW] if form else []
        found = [self.said(one)[:2] for text in (*chosen, words) if text for one in self.rows(text)[: 1 if text in chosen else identity.FEW]]
        return Picker(tuple(dict(found).items()), search=True, words=words)

    def read(self, form: Form, name: str) -> str:
        """What was chosen, or typed exactly; "" where the field was left empty. Raises ChooseOne."""
        looking(form, name)
        words, given = form.one(name + WORDS), form.one(name)
        if words and given and given not in {self.said(one)[0] for one in self.rows(words)}:
            raise _choose(name)  # Something else was typed after the choice: which of the two is meant, nobody knows.
        if words and not given and self._exactly(words) is None:
            raise _choose(name)
        return given or (self._exactly(words) if words else "") or ""

    def settled(self, form: Form, name: str) -> Form:
        """The form with what was chosen in the field's place. Raises ChooseOne."""
        chosen = self.read(form, name)
        return Form((*(one for one in form.fields if one[0] != name), *([(name, chosen)] if chosen else [])))

    def _exactly(self, words: str) -> str | None:
        found = [value for value, _, names in map(self.said, self.rows(words)) if words.lower() in names]
        return found[0] if len(found) == 1 else None

    def filter(self, ask: Ask, key: str, title: str) -> tuple[Filter, str]:
        """The field of a search, and the value that is meant: "" for all, :data:`NOBODY` where what was typed is nobody or several."""
        everything, typed = self.rows(""), ask.text(key)
        if len(everything) <= identity.FEW:
            options = _plainly([self.said(one)[:2] for one in everything])
            return Filter(key, title, options), typed if typed in dict(options) else ""
        if not typed:
            return Filter(key, title), ""
        found = [self.said(one) for one in self.rows(typed)[: identity.FEW]]
        exact = [one for one in found if one[0] == typed or typed.lower() in one[2]] or (found if len(found) == 1 else [])
        if len(exact) == 1:
            return Filter(key, title, [exact[0][:2]]), exact[0][0]
        return Filter(key, title, [one[:2] for one in found]), NOBODY


def _plainly(options: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Without the identifiers that stand behind the names in brackets, where every name is somebody's own."""
    names = [words.rpartition(" (")[0] or words for _, words in options]
    alone = len(set(names)) == len(names)
    return tuple((value, name if alone else words) for (value, words), name in zip(options, names, strict=True))


def looking(form: Form, name: str) -> None:
    """Raises ChooseOne where somebody is still looking for what to choose: nothing is done then, however complete the form is."""
    if form.one("find") == name:
        raise _choose(name)


def _choose(name: str) -> ChooseOne:
    return ChooseOne(problems=(Problem(f"/{name}", "choose-one", "Choose among what was found."),))


def organizations(session: Session, spoken: str, wanted: identity.Wanted = identity.USABLE) -> Choice:
    """Organisations, by identifier."""

    def row_said(row: Any) -> tuple[str, str, frozenset[str]]:
        return row.id, f"{named(row, spoken)} ({row.id})", frozenset(one.lower() for one in (row.id, row.name_zh, row.name_en))

    return Choice(lambda words: identity.organizations_like(session, words, wanted, limit=identity.FEW + 1), row_said)


def among(session: Session, spoken: str, ids: Sequence[str]) -> Choice:
    """Those of these organisations; of few, in the order in which they are given."""
    choice = organizations(session, spoken)
    few = [row for row in map(identity.Directory(session).get, ids) if row] if len(ids) <= identity.FEW else None

    def rows(words: str) -> Sequence[Any]:
        if few is not None and not words:
            return few
        return identity.organizations_like(session, words, limit=identity.FEW + 1, within=ids)

    return Choice(rows, choice.said)


def people(session: Session, wanted: identity.Wanted = identity.USABLE, *, by: str = "username") -> Choice:
    """Accounts, by user name or, where ``by`` says so, by id."""

    def row_said(row: Any) -> tuple[str, str, frozenset[str]]:
        return str(getattr(row, by)), f"{row.name} ({row.username})", frozenset((row.username, row.name.lower()))

    return Choice(lambda words: identity.people_like(session, words, wanted, limit=identity.FEW + 1), row_said)


def clients(session: Session, wanted: identity.Wanted = identity.USABLE) -> Choice:
    """Systems, by identifier."""

    def row_said(row: Any) -> tuple[str, str, frozenset[str]]:
        return row.id, f"{row.name} ({row.id})", frozenset((row.id, row.name.lower()))

    return Choice(lambda words: identity.clients_like(session, words, wanted, limit=identity.FEW + 1), row_said)
