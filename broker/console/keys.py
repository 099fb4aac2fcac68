"""The page of the house's keys: which there are, how far the change of each is, and what is done next. Never a key itself (decision 0021)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker import clock
from broker.audit import service as audit
from broker.console.desk import Desk
from broker.console.door import Visitor, require
from broker.console.language import N_
from broker.console.pages import Pages
from broker.database import SessionDep
from broker.identity import service as identity
from broker.identity.access import Action
from broker.keyring import rotation
from broker.keyring import service as keyring
from broker.keyring.rotation import Known, Next, Standing, Step, Use
from broker.records import service as records

Reader = Annotated[Visitor, Depends(require(Action.KEY_READ))]

LOG_SIGNING = "log-signing"
#: What each kind of key is called, and what it is for.
KINDS = {
    keyring.TOKEN_SIGNING: (
        N_("Keys of tokens and releases"),
        N_("Sign access tokens and what is sent. The public halves are published for everybody to check with."),
    ),
    LOG_SIGNING: (
        N_("Keys of the log"),
        N_("Sign the log's checkpoints. What an older key signed stays good for ever; auditors check with the names below."),
    ),
    keyring.KEY_ENCRYPTION: (
        N_("Key-encryption keys"),
        N_("Wrap the key of every patient, which encrypts the patient's data. Whoever loses them can read no patient's data again."),
    ),
}
#: What is done next, said in a sentence, with the command's last words where there is a command.
NEXT = {
    Step.SETTLED: (N_("Nothing is under way. To change the key, an operator begins with:"), "rotate"),
    Step.HAND_OUT: (N_("A key that is in use was not given to the process that answers here. Give every process all keys that are not retired."), ""),
    Step.START_ANEW: (N_("Start every process anew, one by one: some do not hold the new key yet, or do not use it."), ""),
    Step.WRAP: (N_("Every process holds the new key. Patients' keys are still under another; an operator goes on with:"), "rotate"),
    Step.PUT_FIRST: (N_("Every process holds the new key. To use it for what is new, an operator goes on with:"), "rotate"),
    Step.RETIRE: (N_("Nothing needs the old key any more. An operator ends it with:"), "retire"),
}
#: What a key is now, with the tone of its badge.
USES = {
    Use.IN_USE: (N_("In use"), "good"),
    Use.NEXT: (N_("Comes next"), "waiting"),
    Use.FORMER: (N_("Still opens older things"), "waiting"),
    Use.ELSEWHERE: (N_("Missing here"), "bad"),
    Use.RETIRED: (N_("Ended"), "quiet"),
}


@dataclass(frozen=True)
class Line:
    """A key as the page shows it. ``days``: how old it is, or how long it was used."""

    kid: str
    use: str
    tone: str
    since: datetime | None
    retired_at: datetime | None
    days: int | None
    due: bool


@dataclass(frozen=True)
class Part:
    """The keys of one kind. ``command``: what an operator types next; ``left``: patients' keys that are not under the newest one."""

    kind: str
    title: str
    about: str
    lines: list[Line]
    step: str
    command: str
    left: int


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """One page."""
    router = APIRouter()

    @router.get("/console/keys")
    def keys(request: Request, _who: Reader, session: SessionDep) -> Response:
        parts = [_tokens(session, desk), _log(session), _wrapping(session, desk)]
        others = [
            (N_("Names patients without naming them, and seals what people write. It stays for ever."), desk.keys.fingerprint, True),
            (N_("Signs the policies that the policy server loads."), "", desk.settings.bundle_signing_key is not None),
            (N_("Shows other hospitals' servers that it is we who ask."), "", desk.settings.upstream_signing_key is not None),
        ]
        names = (N_("Blinding key"), N_("Key of the policies"), N_("Key for other servers"))
        return pages.show(request, "keys.html", parts=parts, others=[(name, *one) for name, one in zip(names, others, strict=True)])

    return router


def _tokens(session: Session, desk: Desk) -> Part:
    held = [one["kid"] for one in identity.public_jwks(desk.keys)["keys"]]
    found = rotation.standing([Known(row.kid, row.since, row.retired_at) for row in keyring.keys_of(session, keyring.TOKEN_SIGNING)], held)
    newest = _newest(found)
    lacking, behind = _processes(session, found, token=newest)
    return _part(keyring.TOKEN_SIGNING, found, rotation.next_step(found, lacking=lacking, behind=behind))


def _wrapping(session: Session, desk: Desk) -> Part:
    held = [one.hex() for one in desk.keys.keks]
    found = rotation.standing([Known(row.kid, row.since, row.retired_at) for row in keyring.keys_of(session, keyring.KEY_ENCRYPTION)], held)
    newest, changing = _newest(found), sum(one.use is not Use.RETIRED for one in found) > 1
    # Counting goes through every patient: only while a change is under way, when it is the progress that one wants to see.
    counts = records.wrapped_in(session) if changing else {}
    left = sum(count for kid, count in counts.items() if kid not in (newest, "destroyed"))
    lacking, behind = _processes(session, found, kek=newest)
    return _part(keyring.KEY_ENCRYPTION, found, rotation.next_step(found, left=left, lacking=lacking, behind=behind), left)


def _log(session: Session) -> Part:
    """The log's keys are held by whoever seals it, not here: each that has not stopped signs."""
    rows = audit.signed_by(session)
    found = [Standing(one.vkey, Use.RETIRED if one.last_at else Use.IN_USE, one.first_at, one.last_at) for one in rows]
    signing = [one for one in found if one.use is Use.IN_USE]
    return _part(LOG_SIGNING, found, Next(Step.RETIRE, signing[0].kid) if len(signing) > 1 else Next(Step.SETTLED))


def _newest(found: list[Standing]) -> str | None:
    """The key to which the others give way, while there is more than one that is good."""
    live = [one for one in found if one.use is not Use.RETIRED]
    coming = [one for one in live if one.use is Use.NEXT]
    using = [one for one in live if one.use is Use.IN_USE]
    return None if len(live) < 2 else (coming or using or live)[-1].kid


def _processes(session: Session, found: list[Standing], *, kek: str | None = None, token: str | None = None) -> tuple[int, int]:
    """How many processes lack the newest key, and how many use another first; none where nothing is under way."""
    if (kek or token) is None:
        return 0, 0
    lacking = len(keyring.strangers(session, kek=kek, token=token))
    changing = any(one.use is Use.NEXT for one in found)
    return lacking, 0 if changing else len(keyring.strangers(session, kek=kek, token=token, using=True))


def _part(kind: str, found: list[Standing], step: Next, left: int = 0) -> Part:
    title, about = KINDS[kind]
    words, verb = NEXT[step.step]
    command = f"broker keys {verb} {kind}" + (f" {step.kid}" if verb == "retire" else "") if verb else ""
    return Part(kind, title, about, [_line(one) for one in reversed(found)], words, command, left)


def _line(one: Standing) -> Line:
    now = clock.now()
    words, tone = USES[one.use]
    days = None if one.since is None else ((one.retired_at or now) - one.since).days
    return Line(one.kid, words, tone, one.since, one.retired_at, days, rotation.is_due(one, now))
