"""``broker minimise``: a release plan applied to a Bundle in a file, with no database, no client and no release.

For writers of least-necessary profiles, who want to see what a plan leaves of real resources. It does what a release does: labels,
period, codes, keep-lists, transforms, and the checker at the end. What it can't do is ask consents; a plan that carries consent rules
is therefore refused.
"""

from __future__ import annotations

import hmac
import re
import secrets
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import orjson
import typer

from broker import clock
from broker.errors import BrokerError
from broker.fhir import definitions
from broker.fhir.checker import checker
from broker.fhir.minimise import REASONS, Minimiser, Withheld, compiled
from broker.fhir.parse import read_json
from broker.fhir.plan import CONFIDENTIALITY, ReleasePlan, TypePlan
from broker.fhir.validate import problems
from broker.records import service as records
from broker.settings import settings

#: Exit codes of every command: the answer is no, or wrong use.
NO, WRONG_USE = 1, 2

MAX_BYTES = 500_000_000
MAX_DEPTH = 200

_CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
_ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_URN = re.compile(rb'("reference"\s*:\s*")(urn:[^"\\]+)"')

#: Why a resource stays behind before it is reduced, in English and Chinese. The rest: ``fhir.withheld.REASONS``.
_HELD_BACK = {
    "not-in-plan": REASONS["type-not-in-plan"],
    "invalid": ("It is no valid FHIR R4 resource.", "不是合规的 FHIR R4 资源。"),
    "denied-label": ("A label that the plan denies, or more confidential than it allows.", "带有释放方案禁止的标签，或保密级别超出方案。"),
    "outside-period": ("Its clinical date lies outside the period, or none can be read.", "临床日期不在期间内，或无法识别。"),
    "no-match": ("None of the codes or categories that the plan names.", "不含释放方案所列的编码或类别。"),
}


class _Entry(msgspec.Struct):
    resource: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    fullUrl: str | msgspec.UnsetType = msgspec.UNSET  # noqa: N815  # The JSON name.


class _Bundle(msgspec.Struct):
    entry: list[_Entry] = []


def register(app: typer.Typer) -> None:
    """Put the command into the command line."""
    app.command(name="minimise")(minimise)


def minimise(
    plan: Annotated[Path, typer.Option("--plan", help="Release plan as JSON.")],
    file: Annotated[Path | None, typer.Argument(help="Bundle as JSON; without it, standard input.")] = None,
    patient: Annotated[str | None, typer.Option("--patient", help="FHIR id of the patient, if the bundle doesn't tell.")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="File with the secret behind pseudonyms; without it, a new one each time.")] = None,
) -> None:
    """Apply a release plan to a Bundle and print the Bundle that would leave. What stays behind, and why, goes to standard error."""
    try:
        wanted = ReleasePlan.from_json(read_json(_read(plan), max_bytes=MAX_BYTES))
        minimiser = compiled(wanted)
        data = sys.stdin.buffer.read() if file is None else _read(file)
        read_json(data, max_bytes=MAX_BYTES, max_depth=MAX_DEPTH)
    except BrokerError as error:
        lines = [f"{error.title('zh')} {error.title('en')}", error.detail, *(f"{each.path}: {each.message}" for each in error.problems)]
        _fail("\n".join(lines), NO)
    if wanted.consent:
        _fail("方案含知情同意规则，须由登记库判断。 The plan carries consent rules; only the registry can judge them.", NO)
    try:
        entries = [(each.resource, each.fullUrl) for each in msgspec.json.decode(data, type=_Bundle).entry]
    except msgspec.ValidationError:
        _fail("不是 FHIR Bundle。 This is no FHIR Bundle.", NO)
    secret = secrets.token_bytes(32) if key is None else _read(key)
    given = [(bytes(resource), url) for resource, url in entries if isinstance(resource, msgspec.Raw)]
    if minimiser.pseudonymous:
        given = _resolved(given)
    subject = patient or _patient([body for body, _ in given])
    held_back: Counter[tuple[str, str]] = Counter()
    kept = [(url, out) for body, url in given if (out := _one(wanted, minimiser, body, secret, held_back)) is not None]
    shown = _pseudonym(secret, "Patient", subject) if minimiser.pseudonymous else subject
    wrong = checker(wanted).problems([out for _, out in kept], patient=shown)
    for problem in wrong:
        typer.echo(f"{problem.path}: {problem.message}", err=True)
    if wrong:
        _fail("检查未通过，未输出。 The check failed; nothing is printed.", NO)
    _report(held_back)
    typer.echo(_assembled(kept, pseudonymous=minimiser.pseudonymous).decode())


def _one(plan: ReleasePlan, minimiser: Minimiser, body: bytes, secret: bytes, held_back: Counter[tuple[str, str]]) -> bytes | None:
    """What leaves of one resource; None, with the reason counted, if nothing does."""
    resource = orjson.loads(body)
    resource_type = str(resource.get("resourceType")) if isinstance(resource, dict) else ""
    known = resource_type if resource_type in definitions.resource_types() else "?"
    labels: tuple[str, ...] = ()
    if resource_type not in plan.types:
        reason: str | None = "not-in-plan"
    elif problems(resource):
        reason = "invalid"
    else:
        labels = tuple(label.code for label in records.labels_for(resource))
        reason = _kept_back(plan, resource, labels)
    if reason is None:
        try:
            out = minimiser.reduce(
                resource_type,
                body,
                security=_security(labels),
                version=1,
                last_updated=clock.now().astimezone(UTC).isoformat(timespec="milliseconds"),
                pseudonym=(lambda kind, name: _pseudonym(secret, kind, name)) if minimiser.pseudonymous else None,
            )
        except Withheld as withheld:
            out, reason = None, withheld.reason_code
        if out is not None:
            return out
    held_back[known, reason or "no-match"] += 1
    return None


def _kept_back(plan: ReleasePlan, resource: Mapping[str, Any], labels: tuple[str, ...]) -> str | None:
    """Why a resource is not even reduced: what the release path asks of the database."""
    too_high = CONFIDENTIALITY[CONFIDENTIALITY.index(plan.ceiling) + 1 :]
    denied = plan.deny_labels | {records.UNCLASSIFIED, *too_high}
    # A label that only free text gives counts as if the code itself gave it: this command can't tell which text a plan keeps.
    if any(label in denied or label.removeprefix("text:") in denied for label in labels):
        return "denied-label"
    return None if _in_period(plan.types[resource["resourceType"]], resource) else "outside-period"


def _in_period(plan: TypePlan, resource: Mapping[str, Any]) -> bool:
    if plan.period_from is None and plan.period_until is None:
        return True
    start, end = records.clinical_dates(resource)
    if start is None and end is None:
        # Types without any clinical date, such as Patient, lie in every period.
        return not definitions.clinical_dates(str(resource["resourceType"]))
    first = datetime.min.replace(tzinfo=UTC) if plan.period_from is None else datetime.fromtimestamp(plan.period_from, UTC)
    last = datetime.max.replace(tzinfo=UTC) if plan.period_until is None else datetime.fromtimestamp(plan.period_until, UTC)
    return (start is None or start <= last) and (end is None or end >= first)


def _security(labels: tuple[str, ...]) -> bytes:
    ordered = sorted((label for label in labels if not label.startswith("text:")), key=lambda code: (code not in CONFIDENTIALITY, code))
    return orjson.dumps([{"system": _CONFIDENTIALITY if code in CONFIDENTIALITY else _ACT_CODE, "code": code} for code in ordered])


def _pseudonym(secret: bytes, kind: str, name: str) -> str:
    return hmac.digest(secret, f"{kind}/{name}".encode(), "sha256")[:16].hex()


def _resolved(entries: list[tuple[bytes, Any]]) -> list[tuple[bytes, Any]]:
    """References by ``urn:`` as ``Type/id``, as a transaction would: a pseudonym needs to know what an id belongs to."""
    known: dict[bytes, bytes] = {}
    for body, url in entries:
        head = orjson.loads(body)
        if isinstance(url, str) and isinstance(head, dict):
            known[url.encode()] = f"{head.get('resourceType')}/{head.get('id')}".encode()
    return [(_URN.sub(lambda found: found[1] + known.get(found[2], found[2]) + b'"', body), url) for body, url in entries]


def _patient(bodies: list[bytes]) -> str:
    """The one patient of the bundle."""
    found = set(_patients(bodies))
    if len(found) != 1:
        _fail("无法确定患者，请用 --patient 指明。 The bundle is not about exactly one patient; say which with --patient.", WRONG_USE)
    return found.pop()


def _patients(bodies: list[bytes]) -> Iterator[str]:
    for body in bodies:
        resource = orjson.loads(body)
        if isinstance(resource, dict) and resource.get("resourceType") == "Patient":
            yield str(resource.get("id"))


def _assembled(kept: list[tuple[Any, bytes]], *, pseudonymous: bool) -> bytes:
    """A Bundle of the reduced resources as they are, byte for byte. A full URL would give a pseudonym away."""
    entries = [
        b'{"fullUrl":' + orjson.dumps(url) + b',"resource":' + body + b"}"
        if isinstance(url, str) and not pseudonymous
        else b'{"resource":' + body + b"}"
        for url, body in kept
    ]
    return b'{"resourceType":"Bundle","type":"collection"' + (b',"entry":[' + b",".join(entries) + b"]" if entries else b"") + b"}"


def _report(held_back: Counter[tuple[str, str]]) -> None:
    chinese = settings().language == "zh"
    for (resource_type, reason), count in sorted(held_back.items()):
        typer.echo(f"{count} × {resource_type}: {(_HELD_BACK.get(reason) or REASONS[reason])[chinese]}", err=True)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        _fail(f"{path}: {error.strerror}", WRONG_USE)


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)
