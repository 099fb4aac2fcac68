"""Makes a page: template, language, menu, headers. One environment for each language, made once."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from importlib.resources import files
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from sqlmodel import Session

from broker.console import language, navigation, problems, words
from broker.console.desk import Desk
from broker.console.door import Form, Visitor
from broker.console.language import N_
from broker.errors import Problem
from broker.identity import service as identity
from broker.identity.models import Organization
from broker.policy.service import Text

#: Nothing but our own style sheet and script; nothing inline; forms to ourselves; in nobody's frame.
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Vary": "Cookie, Accept-Language",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

#: What a page says after something was done, by the code in its address.
DONE = {
    "saved": N_("Saved."),
    "submitted": N_("Submitted. The head of the department endorses it, then the information manager decides."),
    "endorse": N_("Endorsed. The information manager decides next."),
    "return": N_("Returned to the applicant."),
    "refuse": N_("Refused. The applicant sees the reason."),
    "withdraw": N_("Withdrawn."),
    "suspend": N_("Suspended: from now on nothing leaves under this grant until it is resumed."),
    "resume": N_("Resumed."),
    "revoke": N_("Revoked: nothing leaves under this grant any more."),
    "close": N_("Closed. Thank you for saying so."),
    "agree": N_("Agreed for the data of your department."),
    "legality": N_("Found lawful."),
    "necessity": N_("Found necessary."),
    "concur": N_("Concurred."),
    "recuse": N_("Your interest is on record; you take no further step of it."),
    "attached": N_("The document is attached."),
    "approve": N_("Approved. The recipient's system may fetch the data now."),
    "narrow": N_("Approved in part. The recipient's system may fetch what remains."),
    "assess": N_("Assessed again, as consents and policies are now."),
    "accepted": N_("Accepted for your organisation."),
    "concern": N_("Thank you. It has its number and will be answered."),
    "answered": N_("The answer is on record."),
    "consent-filed": N_("The consent is on file and in force."),
    "consent-refused": N_("The refusal is on record. The same is not asked again for a while."),
    "consent-withdrawn": N_("Withdrawn. From this moment nothing is shared under this consent any more."),
    "withdrawal-acknowledged": N_("Acknowledged. Your answer is on record."),
    "feedback": N_("Thank you: your feedback is on record."),
    "booked": N_("Booked. The consultant is asked to confirm."),
    "consultation-confirm": N_("Confirmed."),
    "consultation-identify": N_("The identity check is on record."),
    "consultation-open": N_("The consultation has begun; the data are open."),
    "consultation-close": N_("The consultation has ended; nothing leaves any more."),
    "consultation-follow-up": N_("The follow-up is on record."),
    "consultation-cancel": N_("Cancelled; nothing leaves under this exchange any more."),
    "entered": N_("Entered."),
    "round-asked": N_("Asked for. A worker begins as soon as one is free."),
    "lent": N_("Lent. From the first day on your colleague sees what waits for this office."),
    "taken-back": N_("Taken back, from this moment."),
    "published": N_("Published. Heads are asked to accept it when something is approved for them."),
    "finding": N_("The finding is written down."),
    "action": N_("The corrective action is entered; its owner finds it among their own."),
    "reckoned": N_("Reckoned anew."),
    "signed": N_("Signed. What was signed can't be changed any more."),
    "access-begun": N_("Asked. Heads and information managers are told; what nobody answers for is revoked."),
    "answered-access": N_("Your answers are on record. What is to be revoked goes tonight."),
    "policy-check": N_("Tested, and asked the questions of the past."),
    "policy-approve": N_("Approved. It decides from the moment named below."),
    "policy-withdraw": N_("Given up. It is kept, and decides nothing."),
    "policy-bring-back": N_("Brought back. It decides again in a few seconds."),
    "reported": N_("Thank you. It has its number, and whoever handles incidents is told."),
    "case-opened": N_("Opened. The accused is told and has time to answer; a sanction can be proposed after that."),
    "contained": N_("Frozen. From now on not a byte leaves to or of what was named."),
    "glass": N_("Open. It closes by itself, and is reviewed afterwards."),
    "correction-proposed": N_("Proposed. A colleague compares it and agrees; then it takes its place and past recipients are told."),
    "asked": N_("Thank you. It is on record, with its clock."),
    "transfer-propose": N_("Entered. It counts once a colleague has confirmed it."),
    "transfer-confirm": N_("Confirmed. From now on data may leave by it, as far as policy and the patient's consent allow."),
    "transfer-end": N_("Ended. From now on nothing leaves by it."),
    "signed-out": N_("You are signed out."),
    "password": N_("Your password was changed. Sign in with the new one."),
}

#: Where work goes on after it, by role of whoever did it: the list from which they came, with the words of the link.
_TO_ENDORSE, _TO_DECIDE = ("/console/endorse", N_("On to what else waits for me")), ("/console/decide", N_("On to what else waits for me"))
_MINE = ("/console/applications", N_("To my applications"))
ONWARD = {
    "submitted": (_MINE,), "withdraw": (_MINE,), "feedback": (_MINE,),
    **dict.fromkeys(("endorse", "agree"), (_TO_ENDORSE, _TO_DECIDE)),
    **dict.fromkeys(("return", "refuse", "legality", "necessity", "concur", "approve", "narrow"), (_TO_DECIDE, _TO_ENDORSE)),
}  # fmt: skip

_SCRIPT = "text/javascript; charset=utf-8"
_STATIC = {"console.css": "text/css; charset=utf-8", "console.js": _SCRIPT, "keys.js": _SCRIPT, "icon.svg": "image/svg+xml"}


def static(name: str) -> tuple[bytes, str] | None:
    """A file that pages load, with its media type."""
    kind = _STATIC.get(name)
    return None if kind is None else (files(__package__).joinpath("static", name).read_bytes(), kind)


def _version() -> str:
    """Part of the address of static files, so that browsers may keep them for ever."""
    return sha256(b"".join(found[0] for name in _STATIC if (found := static(name)))).hexdigest()[:12]


class Pages:
    """The environments, and what every page is given."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.version = _version()
        self.environments = {spoken: self._environment(spoken) for spoken in language.LANGUAGES}

    def _environment(self, spoken: str) -> Environment:
        environment = Environment(
            loader=PackageLoader("broker.console"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.i18n"],
            auto_reload=False,
        )
        environment.install_gettext_translations(language.translations(spoken), newstyle=True)  # type: ignore[attr-defined]
        zone = self.desk.settings.time_zone
        environment.globals |= {
            "language": spoken,
            "tag": language.TAGS[spoken],
            "word": lambda kind, code: words.word(spoken, kind, code),
            "tone": lambda code: words.TONES.get(code or "", "quiet"),
            "text": lambda found, otherwise="–": text(found, spoken, otherwise),
            "named": lambda row: named(row, spoken),
            "country": lambda code: language.country(spoken, code),
            "said": lambda sentence: language.said(spoken, sentence),
            "title_of": lambda error: problems.title(spoken, error),
            "help_of": lambda error: problems.help_(spoken, error),
            "sentence_of": lambda found: problems.sentence(spoken, found),
            "field_of": lambda path: problems.place(spoken, Problem(path, "", "")) or path,
            "anchor_of": problems.anchor,
            "place_of": lambda found: problems.place(spoken, found),
        }
        environment.filters |= {
            "moment": lambda at: language.moment(spoken, zone, at),
            "day": lambda at: language.day(spoken, at),
        }
        return environment

    def language(self, request: Request) -> str:
        """The language of a page for whoever is there."""
        who = visitor_of(request)
        return language.chosen(request, who.caller if who else None)

    def show(self, request: Request, template: str, *, status: int = 200, **context: Any) -> Response:
        """The page. ``context`` is what the template names beside what every page has."""
        who = visitor_of(request)
        nav = context.get("nav") or (navigation.entries(who.caller, who.lent) if who and who.lack is None else [])
        listed, mark = {entry.path for entry in nav}, request.query_params.get("done", "")
        given = {
            "who": who,
            "csrf": who.csrf if who else "",
            "nav": nav,
            "path": request.url.path,
            "standing": navigation.standing(request.url.path, listed, own=bool(context.get("own", True))),
            "onward": next((one for one in ONWARD.get(mark, ()) if one[0] in listed), None),
            "typed": filled(request) if context.get("error") else None,
            "at_patients": False,
            "sso": self.desk.settings.sso_issuer is not None,
            "here": request.url.path + (f"?{request.url.query}" if request.url.query else ""),
            "static_version": self.version,
            "kept": _kept(request) if status >= HTTPStatus.BAD_REQUEST else {},
            "done": DONE.get(mark, ""),
            **context,
        }
        return HTMLResponse(self.environments[self.language(request)].get_template(template).render(given), status, HEADERS)


def _kept(request: Request) -> dict[str, list[str]]:
    """What somebody filled in that was refused, by field: nobody types it twice. Nothing where the request was no form."""
    form = filled(request)
    return {name: form.all(name) for name, _ in form.fields} if form else {}


def filled(request: Request) -> Form | None:
    """The form that this request sent, or None."""
    form: Form | None = getattr(request.state, "posted", None)
    return form


def to(path: str, *, done: str = "") -> Response:
    """The way on after a form (RFC 9110 15.4.4): the browser asks for the next page by itself and can be reloaded."""
    mark = ("&" if "?" in path else "?") + f"done={done}" if done else ""
    return RedirectResponse(path + mark, 303, HEADERS)


def visitor_of(request: Request) -> Visitor | None:
    """Whoever was found at the door of this request."""
    found: Visitor | None = request.scope.get("state", {}).get("visitor")
    return found


def text(found: Text | None, spoken: str, otherwise: str = "–") -> str:
    """A name of policy's in a language."""
    return otherwise if found is None else found.zh if spoken == "zh" else found.en


def named(row: Organization | None, spoken: str) -> str:
    """The name of an organisation in a language."""
    return "–" if row is None else row.name_zh if spoken == "zh" else row.name_en


@dataclass(frozen=True)
class Names:
    """Names of organisations by id, in a language; each is read when it is asked for."""

    session: Session
    spoken: str

    def get(self, organization_id: str, otherwise: str = "–") -> str:
        """The name, or ``otherwise`` where there is no such organisation."""
        row = identity.Directory(self.session).get(organization_id)
        return otherwise if row is None else named(row, self.spoken)

    def __getitem__(self, organization_id: str) -> str:
        """The name. Raises KeyError."""
        if organization_id not in self:
            raise KeyError(organization_id)
        return self.get(organization_id)

    def __contains__(self, organization_id: object) -> bool:
        """Whether there is one of this id."""
        return organization_id in identity.Directory(self.session)


def safe_path(given: str) -> str:
    """An address of this console to go on to, or "" for anything else: a link may not lead out of here (CWE-601)."""
    inside = given.startswith("/console/") and "\\" not in given and given.isascii() and given.isprintable() and "//" not in given.partition("?")[0]
    return given if inside else ""
