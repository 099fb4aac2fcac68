"""Errors in the words of a page: what went wrong, what to do next, and which field is meant."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from broker.console.language import N_, said
from broker.errors import BrokerError, Invalid, Problem, field_sentence
from broker.fhir.errors import sentence as fhir_sentence

#: What is wrong with a field, by the code of the problem. A code that is not here is said in the problem's own words.
SENTENCES = MappingProxyType(
    {
        "present": N_("The present password is wrong."),
        "again": N_("The two new passwords differ."),
        "required": N_("This must be filled in."),
        "unknown": N_("There is no such choice."),
        "country": N_("Two letters, such as CN, HK or DE."),
        "at-home": N_("The recipient is in the mainland, where no route is needed."),
        "order": N_("The end lies before the beginning."),
        "past": N_("This day has passed."),
        "duplicate": N_("The same patient is named twice."),
        "not-matched": N_("No patient of this hospital matches number, name and birth date with certainty."),
        "recipient-not-yours": N_("You may not apply for this recipient."),
        "overdue": N_("Feedback on this exchange is overdue."),
        "wider": N_("This is more than was applied for."),
        "changed": N_("A decision can't change this; return the application instead."),
        "id": N_("Lower-case words and digits, joined by hyphens."),
        "username": N_("A user name has 2 to 64 of a-z, 0-9, dot, hyphen and underscore."),
        "parent-missing": N_("A department belongs to a hospital."),
        "relationship": N_("It is inside or outside as the one it belongs to."),
        "depth": N_("The tree has too many levels."),
        "roles-apart": N_("These roles are held by different people: who administers, who decides and who audits."),
        "role-internal-only": N_("This role can't be held in an outside organisation."),
        "other-tree": N_("A role is held in the person's own organisation, or one above or beside it."),
        "not-json": N_("This is not JSON."),
        "keys-or-address": N_("Paste the public keys, or name the address where they are published."),
        "jwks-uri": N_("An address that begins with https, without user name."),
        "redirect-uri": N_("An address that begins with https, to the letter: no wildcard, no #, no user name."),
        "redirect-uris": N_("At most ten addresses."),
        "day": N_("This is not a day."),
        "guardian-needed": N_("For a child under 14 a guardian answers (PIPL 31)."),
        "guardian-not-needed": N_("Who is 14 or older answers alone, unless without capacity."),
        "authority-missing": N_("A guardian's authority must be shown by a document."),
        "age-unknown": N_("The patient's age is not known, so it can't be told whether a guardian must answer."),
        "notice-does-not-say": N_("This notice does not speak of everything that is needed here; choose another."),
        "notice-retired": N_("A newer version of this notice is in use."),
        "separate-consent-missing": N_("A separate consent is needed: tick it with the patient."),
        "evidence-missing": N_("A signed form or a witness must prove the answer."),
        "media-type": N_("A signed form is a PDF, PNG or JPEG."),
        "missing": N_("This must be filled in."),
        "over": N_("It must lie in the future."),
        "unknown-purpose": N_("There is no such choice."),
        "unknown-class": N_("There is no such choice."),
        "holder": N_("It has one holder: a person or, for a licence, an institution."),
        "future": N_("It can't be entered before it is issued."),
        "columns": N_("The line has more or fewer cells than the heading."),
        "not-yours": N_("An office is lent by whoever holds it, or by the administrator."),
        "not-held": N_("This office is not held."),
        "unusable": N_("Somebody else with an active account stands in."),
        "other-house": N_("A colleague of the same house stands in."),
        "address": N_("Nothing can be sent to this address."),
        "scheme": N_("The address of a system begins with https."),
        "host": N_("This is not the address of a system."),
        "choose-one": N_("Choose among what was found; where nothing was, type less of the name."),
        "none-chosen": N_("Choose at least one."),
        "evidence-none": N_("Tick at least one sending."),
        "too-many-ticked": N_("A case takes 100 pieces of evidence at most."),
        "one_of": N_("Name either a person or an organisation."),
        "number": N_("This is not a number."),
        "unchanged": N_("Nothing in it differs from what is kept."),
        "days": N_("One day or one span on each line, as year-month-day."),
        "not-of-the-year": N_("A day of another year."),
        "no-weekend": N_("A day that is worked in place of another lies on a weekend."),
        "both": N_("The same day is named as off and as worked."),
        "public-holiday": N_("1 January, 1 and 2 May and 1 to 3 October are off by law; one of them is missing."),
        "too-many": N_("More days than any notice has had."),
        "password-common": N_("It is common or easily guessed. Choose another, such as four words that have nothing to do with each other."),
        "password": N_("It does not meet the rules: at least 12 characters, without the user name, not a few characters repeated."),
    }
)

#: What is wrong where a whole part of a form is empty, by the part.
EMPTY = MappingProxyType({"/data": N_("Tick at least one kind of data."), "/patients": N_("Name at least one patient.")})

#: What the fields of forms are called, by the last name in the problem's path.
FIELDS = MappingProxyType(
    {
        "purpose": N_("Purpose of use"),
        "lawful_basis": N_("Lawful basis (PIPL 13)"),
        "recipient": N_("Recipient"),
        "urgency": N_("Urgency"),
        "justification": N_("Why it is needed"),
        "patients": N_("Patients"),
        "data": N_("Data"),
        "period": N_("Period"),
        "client": N_("Systems"),
        "grant": N_("Grants"),
        "token": N_("Tokens"),
        "evidence": N_("Evidence"),
        "off": N_("Days off"),
        "worked": N_("Weekends that are worked"),
        "published_on": N_("Notice of"),
        "source": N_("Title and number of the notice"),
        "year": N_("Year"),
        "start": N_("Data from"),
        "end": N_("Data until"),
        "valid_until": N_("Valid until"),
        "retention_days": N_("Days the recipient keeps it"),
        "channel": N_("Way"),
        "reason": N_("Reason"),
        "releases_limit": N_("Number of releases"),
        "id": N_("Identifier"),
        "username": N_("User name"),
        "name": N_("Name"),
        "name_zh": N_("Name in Chinese"),
        "name_en": N_("Name in English"),
        "parent_id": N_("Part of"),
        "roles": N_("Roles"),
        "agreement_until": N_("Agreement until"),
        "jurisdiction": N_("Country or region"),
        "route": N_("Legal route"),
        "purposes": N_("Purposes"),
        "classes": N_("Data"),
        "authority_approval": N_("Approval for a foreign court or police (PIPL 41)"),
        "jwks": N_("Public keys (JWK Set)"),
        "jwks_uri": N_("Address of its public keys"),
        "redirect_uris": N_("Addresses to send people back to"),
        "number": N_("Number"),
        "text": N_("In your words"),
        "until": N_("Valid until"),
        "notice": N_("Notice"),
        "purpose_met": N_("Purpose met"),
        "examinations_avoided": N_("Examinations not repeated"),
        "data_problems": N_("Problems with the data"),
        "comment": N_("Remarks"),
        "starts": N_("Begins"),
        "starts_at": N_("Begins"),
        "ends_at": N_("Ends"),
        "minutes": N_("Minutes"),
        "consultant": N_("Consultant"),
        "application": N_("Exchange"),
        "method": N_("How was the patient's identity checked?"),
        "follow_up_due": N_("Follow-up due"),
        "licence.practice": N_("Licence to practise"),
        "training.telemedicine": N_("Training in telemedicine"),
        "office": N_("Office"),
        "person": N_("Office"),
        "role": N_("Office"),
        "to": N_("Lent to"),
        "since": N_("First day"),
        "address": N_("Address"),
        "title_zh": N_("Title in Chinese"),
        "title_en": N_("Title in English"),
        "text_zh": N_("Text in Chinese"),
        "text_en": N_("Text in English"),
        "holder": N_("Holder"),
        "code": N_("Certificate"),
        "issued_on": N_("Issued"),
        "scope": N_("Scope of practice"),
        "issuer": N_("Issued by"),
        "file": N_("File"),
        "owner": N_("Owner"),
        "organization": N_("Organisation"),
        "role_organization": N_("Held for another organisation"),
        "due_on": N_("Done by"),
        "title": N_("What is to be done"),
        "severity": N_("Severity"),
        "finding": N_("Finding"),
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
    if found.code in ("required", "missing") and found.path in EMPTY:
        return said(language, EMPTY[found.path])
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


def anchor(found: Problem) -> str:
    """The id of the field that is meant, for a link to it; "" where a page has none. Fields are named by the last part of the path."""
    if not found.path.strip("/"):
        return ""
    patient = re.match(r"/patients/([0-9]+)", found.path)
    return f"pv{int(patient[1]) + 1}" if patient else f"f-{found.path.rsplit('/', 1)[-1]}"


def of_validation(error: ValidationError, language: str) -> Invalid:
    """What pydantic found wrong with a form, in our words; what was typed is not repeated."""
    found = error.errors(include_input=False)[:50]
    return Invalid(problems=tuple(_problem(one, language) for one in found))


def _problem(one: Any, language: str) -> Problem:
    return Problem("/" + "/".join(map(str, one["loc"])), one["type"], field_sentence(one["type"], one.get("ctx", {}), language))
