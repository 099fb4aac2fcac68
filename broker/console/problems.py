"""Errors in the words of a page: what went wrong, what to do next, and which field is meant."""

from __future__ import annotations

import re
from types import MappingProxyType

from broker.console.language import N_, said
from broker.errors import BrokerError, Problem
from broker.fhir.errors import sentence as fhir_sentence

#: What is wrong with a field, by the code of the problem. A code that is not here is said in the problem's own words.
SENTENCES = MappingProxyType(
    {
        "present": N_("The present password is wrong."),
        "again": N_("The two new passwords differ."),
        "password": N_("It does not meet the rules: at least 12 characters, without the user name, not a few characters repeated."),
    }
)

#: What the fields of forms are called, by the last name in the problem's path.
FIELDS = MappingProxyType(
    {
        "present": N_("Present password"),
        "password": N_("New password"),
        "again": N_("New password once more"),
    }
)

_NUMBERED = MappingProxyType({"patients": N_("Patient %(number)s"), "data": N_("Data line %(number)s")})


def title(language: str, error: BrokerError) -> str:
    """What went wrong."""
    return error.title(language)


def help_(language: str, error: BrokerError) -> str:
    """What to do next."""
    return error.help(language)


def sentence(language: str, found: Problem) -> str:
    """What is wrong with one field."""
    if found.code in SENTENCES:
        return said(language, SENTENCES[found.code])
    return said(language, fhir_sentence(found, language))


def place(language: str, found: Problem) -> str:
    """Which field is meant, or ""."""
    numbered = re.match(r"/(patients|data)/([0-9]+)", found.path)
    if numbered:
        return said(language, _NUMBERED[numbered[1]]) % {"number": int(numbered[2]) + 1}
    name = found.path.rsplit("/", 1)[-1]
    return said(language, FIELDS[name]) if name in FIELDS else ""
