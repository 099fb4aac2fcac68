"""Who is at the page, and whether a form was really sent from one of ours.

The session is a row in the database; the browser holds its secret in a cookie that scripts can't read. A form that changes
something must come from this origin, by what the browser says of it (Fetch Metadata, or Origin), and carry the token of its session.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from fastapi import Depends, Request
from fastapi.responses import Response
from starlette.datastructures import UploadFile

from broker.applications import service as applications
from broker.console.errors import NotFromHere, SignInFirst
from broker.crypto import Keys
from broker.database import Database
from broker.errors import Forbidden, Malformed
from broker.identity import service as identity
from broker.identity.access import Action, PersonCaller, Role
from broker.identity.models import Organization
from broker.notifications import service as notifications
from broker.settings import Settings

#: Fields that one form may have; a list of 500 patients has four each.
MAX_FIELDS = 4000


@dataclass(frozen=True)
class Visitor:
    """Somebody who is signed in at the console. ``csrf`` is the token that forms of this session carry."""

    caller: PersonCaller
    name: str
    home: Organization
    secret: str = field(repr=False)
    csrf: str = field(repr=False)
    unread: int = 0  #: messages that they have not read
    lack: identity.Lack | None = None  #: what keeps them from doing anything yet
    lent: frozenset[Role] = frozenset()  #: offices that they hold for a colleague who is away


@dataclass(frozen=True)
class Form:
    """What a form sent: each field with its values, in their order, without surrounding space."""

    fields: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[str]:
        """Every value of a field that isn't empty."""
        return [value for key, value in self.fields if key == name and value]

    def column(self, name: str) -> list[str]:
        """Every value of a field, the empty ones too: one column of several that belong together."""
        return [value for key, value in self.fields if key == name]

    def one(self, name: str) -> str:
        """The value of a field, or "". Raises Malformed where it stands more than once."""
        found = [value for key, value in self.fields if key == name]
        if len(found) > 1:
            raise Malformed("A field is given more than once.")
        return found[0] if found else ""

    def has(self, name: str) -> bool:
        """Whether a field was sent, such as the button that was pressed or a box that was ticked."""
        return any(key == name for key, _ in self.fields)


def cookie_name(settings: Settings) -> str:
    """``__Host-`` binds a cookie to this very host and path (RFC 6265bis 4.1.3.2), which browsers do over https alone."""
    return "__Host-broker" if settings.base_url.startswith("https:") else "broker"


def device_name(settings: Settings) -> str:
    """The cookie by which a browser is known in which somebody signed in before."""
    return "__Host-broker-device" if settings.base_url.startswith("https:") else "broker-device"


def csrf_token(keys: Keys, secret: str) -> str:
    """The token of a session's forms: nobody who doesn't hold its secret can make it."""
    return base64.urlsafe_b64encode(keys.blind("console-form", secret)).decode().rstrip("=")


def arriving(request: Request) -> Visitor:
    """Who is at the page, whatever they still lack. Raises SignInFirst where nobody is, or the session has ended."""
    database: Database = request.app.state.database
    settings: Settings = request.app.state.settings
    secret = request.cookies.get(cookie_name(settings), "")
    if secret:
        with database.transaction() as session:
            caller = identity.caller_of_session(session, secret, identity.limits_of(settings))
            if caller is not None:
                name, home = identity.person(session, caller.person_id).name, identity.organization(session, caller.organization_id)
                token = csrf_token(request.app.state.keys, secret)
                lent = applications.lent_offices(session, caller.person_id)
                found = Visitor(caller, name, home, secret, token, notifications.unread(session, caller), identity.lack(settings, caller), lent)
                request.state.visitor = found  # The error page has a menu too.
                return found
    raise SignInFirst


#: Whoever has a session: for the few pages by which what is lacking is mended.
Arriving = Annotated[Visitor, Depends(arriving)]


def visitor(request: Request, who: Arriving) -> Visitor:
    """Who is at the page, with all that their role asks for. Raises SignInFirst, and what ``assurance.demand`` does."""
    identity.demand(request.app.state.settings, who.caller)
    return who


def remember(answer: Response, settings: Settings, secret: str) -> Response:
    """Give the browser the secret of a session: in a cookie that scripts can't read and other sites don't send along."""
    secure = settings.base_url.startswith("https:")
    answer.set_cookie(cookie_name(settings), secret, path="/", secure=secure, httponly=True, samesite="lax")
    return answer


def renewed(request: Request, who: Visitor, secret: str) -> None:
    """The session has another secret: the page that answers must carry the token of that one."""
    request.state.visitor = replace(who, secret=secret, csrf=csrf_token(request.app.state.keys, secret), lack=None)


#: Anybody who is signed in.
SignedIn = Annotated[Visitor, Depends(visitor)]


@cache
def require(action: Action) -> Callable[[Request, Visitor], Visitor]:
    """A dependency that lets through whoever may do the action, and raises Forbidden for everybody else.

    A change under a dangerous action asks for a fresh proof beside: StepUpFirst.
    """

    def permitted_visitor(request: Request, who: SignedIn) -> Visitor:
        if not who.caller.may(action):
            raise Forbidden
        identity.demand_for(request.app.state.settings, who.caller, action, request.method)
        return who

    return permitted_visitor


def check_origin(request: Request) -> None:
    """Raises NotFromHere unless the browser says that the form came from a page of ours.

    ``Sec-Fetch-Site`` can't be set by scripts (W3C Fetch Metadata 2.4); older browsers send ``Origin`` with a POST. Neither: refused.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site not in ("same-origin", "none"):
            raise NotFromHere
        return
    ours = urlsplit(request.app.state.settings.base_url)
    origin = urlsplit(request.headers.get("origin", ""))
    if (origin.scheme, origin.netloc) != (ours.scheme, ours.netloc):
        raise NotFromHere


async def sent(request: Request) -> Form:
    """A form of somebody who need not be signed in. Raises NotFromHere, Malformed."""
    check_origin(request)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise Malformed("A form is sent as application/x-www-form-urlencoded.")
    try:
        raw = (await request.body()).decode("ascii")
        pairs = parse_qsl(raw, keep_blank_values=True, strict_parsing=bool(raw), max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError:  # UnicodeDecodeError is one.
        raise Malformed("The form can't be read.") from None
    form = Form(tuple((name, value.replace("\r\n", "\n").strip()) for name, value in pairs))
    request.state.posted = form  # A page that says what was wrong shows it again as it was filled in.
    return form


async def posted(request: Request, who: SignedIn) -> Form:
    """A form of somebody who is signed in. Raises NotFromHere also where it lacks the session's token."""
    return await posted_on_arrival(request, who)


async def posted_on_arrival(request: Request, who: Arriving) -> Form:
    """The same of somebody who still lacks something."""
    form = await sent(request)
    if not hmac.compare_digest(form.one("csrf").encode(), who.csrf.encode()):
        raise NotFromHere
    return form


@dataclass(frozen=True)
class Sending:
    """A form with one file in it; ``content`` is empty where none was chosen."""

    form: Form
    name: str
    media_type: str
    content: bytes


async def posted_file(request: Request, who: SignedIn) -> Sending:
    """A form with a file, of somebody who is signed in. Raises NotFromHere, Malformed."""
    check_origin(request)
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Malformed("A form with a file is sent as multipart/form-data.")
    async with request.form(max_files=1, max_fields=200) as parts:
        plain = Form(tuple((name, value.strip()) for name, value in parts.multi_items() if isinstance(value, str)))
        file = parts.get("file")
        if not hmac.compare_digest(plain.one("csrf").encode(), who.csrf.encode()):
            raise NotFromHere
        if not isinstance(file, UploadFile) or not file.filename:
            return Sending(plain, "", "", b"")
        return Sending(plain, file.filename, (file.content_type or "").partition(";")[0].strip().lower(), await file.read())


#: A form with a file, of a page that only people who are signed in see.
PostedFile = Annotated[Sending, Depends(posted_file)]
#: The form of a page that only people who are signed in see.
Posted = Annotated[Form, Depends(posted)]
#: The form of a page by which what is lacking is mended.
PostedOnArrival = Annotated[Form, Depends(posted_on_arrival)]
#: The form of the login page.
Sent = Annotated[Form, Depends(sent)]
