"""Which language a page speaks, and the catalogue of its sentences.

The catalogues are gettext ``.po`` files and are compiled in memory when a process starts: there is no compiled file that could be
older than its source, and nothing to build. English is the language of the source.
"""

from __future__ import annotations

import io
from datetime import date, datetime
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_datetime
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations
from fastapi import Request

from broker import edge
from broker.identity.access import PersonCaller

LANGUAGES = ("zh", "en")
COOKIE = "broker-language"

#: BCP 47 tags, for ``<html lang>``.
TAGS = {"zh": "zh-Hans-CN", "en": "en"}
_FOLDERS = {"zh": "zh_Hans"}
_LOCALES = {"zh": "zh_Hans_CN", "en": "en_GB"}
_DAYS = {"zh": "yyyy-MM-dd", "en": "d MMM yyyy"}
_MOMENTS = {"zh": "yyyy-MM-dd HH:mm", "en": "d MMM yyyy, HH:mm"}


def N_(sentence: str) -> str:  # noqa: N802  (The name that gettext's tools know.)
    """Marks a sentence for the catalogue where it stands, to be translated where it is shown."""
    return sentence


@cache
def translations(language: str) -> Translations:
    """The sentences of a language, of every catalogue in its folder."""
    merged = Translations()
    if language in _FOLDERS:
        for file in sorted(files(__package__).joinpath("locale", _FOLDERS[language]).iterdir(), key=lambda file: file.name):
            if file.name.endswith(".po"):
                compiled = io.BytesIO()
                write_mo(compiled, catalogue(file.read_bytes()))
                compiled.seek(0)
                merged.add(Translations(compiled))
    return merged


def catalogue(content: bytes) -> Catalog:
    """A ``.po`` file, read. Raises PoFileError."""
    return read_po(io.BytesIO(content), abort_invalid=True)


def said(language: str, sentence: str) -> str:
    """A sentence in a language."""
    return str(translations(language).gettext(sentence)) if sentence else ""


def chosen(request: Request, caller: PersonCaller | None) -> str:
    """The language of a page: as it was switched to, else the account's, else what the browser prefers."""
    switched = request.cookies.get(COOKIE)
    if switched in LANGUAGES:
        return switched
    return edge.language(request) if caller is None else caller.language


def moment(language: str, zone: str, at: datetime | None) -> str:
    """A moment in the hospital's time, as the language writes it."""
    return "–" if at is None else format_datetime(at.astimezone(ZoneInfo(zone)), _MOMENTS[language], locale=_LOCALES[language])


def country(language: str, code: str) -> str:
    """What a country is called (ISO 3166-1 alpha-2); the code where nobody knows it."""
    return str(Locale.parse(_LOCALES[language]).territories.get(code, code))


def day(language: str, at: date | str | None) -> str:
    """A day as the language writes it."""
    if not at:
        return "–"
    return format_date(date.fromisoformat(at) if isinstance(at, str) else at, _DAYS[language], locale=_LOCALES[language])
