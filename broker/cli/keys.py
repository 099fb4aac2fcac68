"""``broker keys``: which keys there are, and how one follows another while everything goes on.

``rotate`` does the next step of a change and says what comes after it; it may be run as often as one likes. Between two steps every process is
started anew, one by one, so that each holds the new key before anything needs it.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from typing import Annotated, Any, NoReturn
from uuid import UUID

import psycopg
import typer
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from sqlmodel import Session

from broker import crypto
from broker.audit import service as audit
from broker.audit.events import Event
from broker.audit.note import NoteInvalid, Verifier, open_note
from broker.crypto import Keys, load_keys
from broker.database import Database, server_url
from broker.identity import service as identity
from broker.keyring import service as keyring
from broker.keyring.files import PLACES, KeyFile, file_of
from broker.keyring.models import KEY_ENCRYPTION, TOKEN_SIGNING
from broker.records import service as records
from broker.retention import service as retention
from broker.settings import Settings, settings

app = typer.Typer(name="keys", help="The installation's keys: list, rotate, retire.", no_args_is_help=True)

NO, WRONG_USE = 1, 2
LOG_SIGNING = "log-signing"

_Kind = Annotated[str, typer.Argument(help="key-encryption, token-signing or log-signing.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
_Json = Annotated[bool, typer.Option("--json", help="Print as JSON.")]


@app.callback()
def _keys() -> None:
    """The installation's keys: list, rotate, retire."""


@app.command("list")
def list_keys(as_json: _Json = False) -> None:
    """Every key by its name: what it is for, since when, what it still opens, and clients' keys. Never a secret."""
    chosen = settings()
    keys = load_keys(chosen, seals=_has_log_key(chosen))
    with _owner(chosen).transaction() as session:
        found = _listing(session, chosen, keys)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, default=str))
        return
    for one in found:
        typer.echo("  ".join(str(value) for value in one.values() if value is not None))


@app.command()
def rotate(kind: _Kind, dry_run: _DryRun = False, batch: Annotated[int, typer.Option(min=1, max=10_000)] = 200) -> None:
    """Do the next step of a change of this key, and say what comes after it."""
    chosen = settings()
    _known(kind)
    keys = load_keys(chosen, seals=kind == LOG_SIGNING)
    file = file_of(chosen, kind)
    held = _held(chosen, keys, kind)
    with _owner(chosen).transaction() as session:
        if kind == KEY_ENCRYPTION:
            keyring.check(session, keys)
        newest = _newest(session, kind, held)
    if kind == KEY_ENCRYPTION and keys.blinding_secret is None:
        _fail("BROKER_BLINDING_KEY: 盲化密钥仍与主密钥相同，请先将其单独设置。 Give the present key-encryption key as BROKER_BLINDING_KEY first.", NO)
    if len(held) == 1:
        _introduce(chosen, kind, file, dry_run=dry_run)
        return
    if newest is None:
        _fail("请先逐一重启各进程。 Start every process anew first, so that each holds the new key.", NO)
    if kind == KEY_ENCRYPTION:
        _wrap_anew(chosen, keys, newest, batch, dry_run=dry_run)
    if held[0] == newest:
        typer.echo(f"下一步 · next: broker keys retire {kind} {held[-1]}")
        return
    if kind == TOKEN_SIGNING:
        _all_hold(chosen, token=newest)
    _put_first(kind, file, held, newest, dry_run=dry_run)


@app.command()
def retire(
    kind: _Kind,
    kid: Annotated[str, typer.Argument(help="The key's name, as `broker keys list` shows it.")],
    dry_run: _DryRun = False,
    scrub: Annotated[bool, typer.Option(help="Write the rows anew, so that no old page holds what the old key opens.")] = True,
) -> None:
    """Take an old key out of use for ever, once nothing needs it any more."""
    chosen = settings()
    _known(kind)
    keys = load_keys(chosen, seals=kind == LOG_SIGNING)
    held = _held(chosen, keys, kind)
    if held[0] == kid:
        _fail(f"{kid} 仍在使用。 {kid} is the one in use: `broker keys rotate {kind}` first.", NO)
    with _owner(chosen).transaction() as session:
        if left := _needs(session, chosen, keys, kind, kid):
            _fail(left, NO)
    if dry_run:
        typer.echo(f"{kind} {kid}")
        return
    if kind == KEY_ENCRYPTION and scrub:
        try:
            done = retention.scrub(server_url(chosen, "admin"))
        except psycopg.errors.LockNotAvailable:
            _fail("表正被占用，请稍后重试。 A table was in use; run this again.", NO)
        for one in done.left:
            typer.echo(one, err=True)
    with _owner(chosen).transaction() as session:
        if kind == LOG_SIGNING:
            audit.record(session, Event("key.retired", "system", facts={"kind": kind, "kid": kid}))
        else:
            keyring.retire(session, kind, kid)
    file = file_of(chosen, kind)
    position = held.index(kid) if kid in held else None
    if file is not None and position is not None:
        entries = file.read()
        file.write([one for at, one in enumerate(entries) if at != position])
    typer.echo(f"{kind} {kid}")
    _restart("密钥已停用" if chosen.language == "zh" else "It is retired", by_hand=file is None)


def _listing(session: Session, chosen: Settings, keys: Keys) -> list[dict[str, Any]]:
    wrapped = _wrapped(chosen)
    found: list[dict[str, Any]] = []
    here = {kind: _held(chosen, keys, kind) for kind in (KEY_ENCRYPTION, TOKEN_SIGNING)}
    for kind in (KEY_ENCRYPTION, TOKEN_SIGNING):
        for row in keyring.keys_of(session, kind):
            use = "retired" if row.retired_at else "not held here" if row.kid not in here[kind] else "in use" if row.kid == here[kind][0] else "held"
            patients = wrapped.pop(row.kid, 0) if kind == KEY_ENCRYPTION else None
            found.append({"kind": kind, "kid": row.kid, "use": use, "since": row.since, "retired": row.retired_at, "patients": patients})
    for kid, patients in wrapped.items():
        found.append({"kind": KEY_ENCRYPTION, "kid": kid, "use": None, "since": None, "retired": None, "patients": patients})
    own = "a key of its own" if keys.blinding_secret is not None else "the first key-encryption key"
    found.append({"kind": "blinding", "kid": keys.fingerprint, "use": own})
    found += [
        {"kind": LOG_SIGNING, "kid": one.vkey, "use": "in use" if one.last_at is None else "retired", "since": one.first_at, "retired": one.last_at}
        for one in audit.signed_by(session)
    ]
    found += [
        {"kind": "client", "kid": f"{client.id}/{jwk['kid']}", "use": client.status, "until": jwk.get("exp")}
        for client in identity.clients(session)
        for jwk in client.jwks.get("keys", [])
    ]
    return found


def _wrapped(chosen: Settings) -> dict[str, int]:
    with psycopg.connect(_owner(chosen).conninfo) as connection:
        return records.wrapped_with(connection)


def _held(chosen: Settings, keys: Keys, kind: str) -> list[str]:
    """Names of the keys that this process was given, the one it uses for what is new first."""
    if kind == KEY_ENCRYPTION:
        return [one.hex() for one in keys.keks]
    if kind == TOKEN_SIGNING:
        return [one["kid"] for one in identity.public_jwks(keys)["keys"]]
    return [Verifier.of(chosen.log_origin, one).vkey for one in keys.log_signers]


def _newest(session: Session, kind: str, held: list[str]) -> str | None:
    """The one of them that the others give way to; None while no process has started with it."""
    known = [one.vkey for one in audit.signed_by(session)] if kind == LOG_SIGNING else [row.kid for row in keyring.keys_of(session, kind)]
    fresh = [one for one in held if one not in known]
    if fresh:
        # Nobody enters a key-encryption key before it is used; the others are told of by whoever starts with them.
        return fresh[-1] if kind == KEY_ENCRYPTION else None
    return max(held, key=known.index)


def _all_hold(chosen: Settings, *, kek: str | None = None, token: str | None = None) -> None:
    """Fail while a process that serves lacks the key."""
    with _owner(chosen).transaction() as session:
        others = keyring.strangers(session, kek=kek, token=token)
    if others:
        names = ", ".join(f"{one.process} ({one.name})" for one in others)
        _fail(f"以下进程尚无新密钥，请逐一重启。 These processes do not hold the new key; start them anew: {names}", NO)


def _introduce(chosen: Settings, kind: str, file: KeyFile | None, *, dry_run: bool) -> None:
    """First step: a new key that everybody holds and nobody uses."""
    if kind == KEY_ENCRYPTION:
        new = os.urandom(crypto.KEY_BYTES).hex().encode() + b"\n"
    else:
        new = crypto.private_pem(ec.generate_private_key(ec.SECP256R1()) if kind == TOKEN_SIGNING else ed25519.Ed25519PrivateKey.generate())
    if file is None:
        setting = PLACES[kind][0].upper()
        _fail(f"BROKER_{setting}: 请在原密钥之后加入一把新密钥。 Add a new key behind the present one, where BROKER_{setting} comes from.", NO)
    if not dry_run:
        file.write([*file.read(), new])
    typer.echo(str(file.path))
    _restart("已加入新密钥" if chosen.language == "zh" else "A new key was added")


def _put_first(kind: str, file: KeyFile | None, held: list[str], newest: str, *, dry_run: bool) -> None:
    """Second step: the new key is used for what is new."""
    if file is not None and not dry_run:
        entries = file.read()
        entries.insert(0, entries.pop(held.index(newest)))
        file.write(entries)
    typer.echo(f"{kind} {newest}")
    _restart("新密钥现居首位" if settings().language == "zh" else "The new key stands first", by_hand=file is None)


def _wrap_anew(chosen: Settings, keys: Keys, kid: str, batch: int, *, dry_run: bool) -> None:
    """Wrap what is not wrapped by this key, while releases go on. Broken off, it goes on where it stopped."""
    ordered = [keys.keks[bytes.fromhex(kid)], *(kek for name, kek in keys.keks.items() if name.hex() != kid)]
    ring = replace(keys, kek=ordered[0], former_keks=tuple(ordered[1:]))
    with psycopg.connect(_owner(chosen).conninfo) as connection:
        counts = records.wrapped_with(connection)
        waiting = sum(count for name, count in counts.items() if name not in {kid, "destroyed"})
        typer.echo(f"{waiting} / {sum(counts.values())}")
        if dry_run:
            return
        _all_hold(chosen, kek=kid)
        with _owner(chosen).transaction() as session:
            keyring.announce(session, KEY_ENCRYPTION, kid)
        start: UUID | None = records.FIRST_PATIENT
        done, unreadable, began = 0, 0, time.monotonic()
        while start is not None:
            with connection.transaction():
                step = records.rewrap(connection, ring, start=start, limit=batch)
            done, unreadable, start = done + step.wrapped, unreadable + len(step.unreadable), step.onwards
            if time.monotonic() - began > 1:
                began = time.monotonic()
                typer.echo(f"{done} / {waiting}", err=True)
    with _owner(chosen).transaction() as session:
        audit.record(session, Event("key.wrapped-anew", "system", facts={"kid": kid, "patients": done, "unreadable": unreadable}))
    typer.echo(f"{done} / {waiting}")
    if unreadable:
        _fail(f"{unreadable} 把患者密钥无法打开，未作改动。 {unreadable} patients' keys open with none of these keys and were left alone.", NO)


def _needs(session: Session, chosen: Settings, keys: Keys, kind: str, kid: str) -> str | None:
    """Why this key can't be retired yet."""
    if kind == KEY_ENCRYPTION:
        counts = _wrapped(chosen)
        left = counts.get(kid, 0) + counts.get("bare", 0)
        if left:
            return f"{left} 名患者的密钥仍由其包裹。 {left} patients' keys still need it: `broker keys rotate {kind}`."
        if others := keyring.strangers(session, kek=next(iter(keys.keks)).hex(), using=True):
            return f"仍有进程使用旧密钥。 Processes still wrap with another key; start them anew: {', '.join(str(one.process) for one in others)}"
    elif kind == TOKEN_SIGNING:
        if others := keyring.strangers(session, token=_held(chosen, keys, kind)[0], using=True):
            return f"仍有进程使用旧密钥。 Processes still sign with another key; start them anew: {', '.join(str(one.process) for one in others)}"
    elif kind == LOG_SIGNING:
        published = audit.published_checkpoint(session)
        signing = Verifier.of(chosen.log_origin, keys.log_signer)
        if published is None or not _signed(published, signing):
            return f"最新检查点尚无新密钥签名。 The newest checkpoint does not carry the signature of {signing.vkey} yet."
    return None


def _signed(note: str, verifier: Verifier) -> bool:
    try:
        open_note(note, verifier)
    except NoteInvalid:
        return False
    return True


def _known(kind: str) -> None:
    if kind not in PLACES:
        _fail(f"KIND: {', '.join(PLACES)}", WRONG_USE)


def _has_log_key(chosen: Settings) -> bool:
    return chosen.log_signing_key is not None or (chosen.var / "keys" / crypto.LOG_SIGNING).exists()


def _owner(chosen: Settings) -> Database:
    return Database(server_url(chosen, "admin"), "owner", pool=0)


def _restart(what: str, *, by_hand: bool = False) -> None:
    if by_hand:
        typer.echo("请在密钥来源处作同样改动。 Do the same where the key comes from.")
    typer.echo(f"{what}。请逐一重启各进程，再次运行本命令。 Start every process anew, one by one, then run this again.")


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)
