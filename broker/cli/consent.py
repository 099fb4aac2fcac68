"""``broker consent evaluate`` and ``check``: what consents say about resources, and whether a consent can be enforced. Offline."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from typer.core import TyperCommand

from broker import clock
from broker.consent import days, times
from broker.consent.codes import PURPOSES
from broker.consent.enforceability import examine
from broker.consent.findings import SENTENCES
from broker.consent.offline import Offline
from broker.consent.references import canonical
from broker.consent.related import Related
from broker.consent.values import Reason, Use, Verdict
from broker.errors import BrokerError
from broker.fhir.parse import read_json
from broker.records import service as records
from broker.settings import settings

#: Exit codes of every command: the answer is no or something failed, or wrong use.
NO, WRONG_USE = 1, 2

MAX_BYTES = 500_000_000
MAX_DEPTH = 200

app = typer.Typer(no_args_is_help=True, help="知情同意的离线判定与检查 · What consents say, and whether they can be enforced.")


class _SeveralValues(TyperCommand):
    """An option that may stand once with several values, as in ``--resource a.json b.json``."""

    several = frozenset({"--consent", "--resource", "--actor", "--related"})

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option before each of its values."""
        spread: list[str] = []
        option = ""
        for index, one in enumerate(args):
            if one.startswith("--"):
                option = one if one in self.several else ""
            elif option and args[index - 1] != option:
                spread.append(option)
            spread.append(one)
        return super().parse_args(ctx, spread)


@dataclass
class _Files:
    """Resources out of files, with the other names that Bundles give them."""

    resources: list[dict[str, Any]] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)

    def add(self, path: Path) -> None:
        """Read a resource, a Bundle or NDJSON, plain or gzip."""
        try:
            data = path.read_bytes()
            data = gzip.decompress(data) if path.suffix == ".gz" else data
        except (OSError, EOFError) as error:
            _fail(f"{path}: 无法读取 · can't be read ({type(error).__name__})")
        lines = ".ndjson" in path.suffixes or ".jsonl" in path.suffixes
        for number, part in enumerate([line for line in data.splitlines() if line.strip()] if lines else [data], 1):
            try:
                value = read_json(part, max_bytes=MAX_BYTES, max_depth=MAX_DEPTH)
            except BrokerError as error:
                place = f"{path}:{number}" if lines else str(path)
                _fail(f"{place}: {'; '.join(problem.message for problem in error.problems) or error.detail}")
            if not isinstance(value, dict) or not isinstance(value.get("resourceType"), str):
                _fail(f"{path}: 不是 FHIR 资源 · not a FHIR resource")
            self._take(value)

    def _take(self, value: dict[str, Any]) -> None:
        if value["resourceType"] != "Bundle":
            self.resources.append(value)
            return
        entries = value.get("entry")
        for entry in entries if isinstance(entries, list) else []:
            resource = entry.get("resource") if isinstance(entry, dict) else None
            if isinstance(resource, dict) and isinstance(resource.get("resourceType"), str):
                self.resources.append(resource)
                if isinstance(entry.get("fullUrl"), str) and canonical(f"{resource['resourceType']}/{resource.get('id')}"):
                    self.aliases[entry["fullUrl"]] = f"{resource['resourceType']}/{resource['id']}"


def _fail(message: str, code: int = NO) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)


def _read(paths: Sequence[Path]) -> _Files:
    found = _Files()
    for path in paths:
        found.add(path)
    return found


def read_resources(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """The resources of files, Bundles opened. Ends the command where one can't be read."""
    return _read(paths).resources


def _labels(resource: Mapping[str, Any]) -> tuple[str, ...]:
    """The labels that the records would give; none for a resource that they could not judge."""
    try:
        return tuple(label.code for label in records.labels_for(resource))
    except (KeyError, TypeError, AttributeError, ValueError):
        return ()


Files = list[Path]


@app.command(cls=_SeveralValues)
def evaluate(
    consent: Annotated[Files, typer.Option("--consent", metavar="FILE…", help="Consents of one or several patients; Bundles and NDJSON too.")],
    resource: Annotated[Files, typer.Option("--resource", metavar="FILE…", help="Resources, Bundles or NDJSON, plain or gzip.")],
    actor: Annotated[
        list[str], typer.Option("--actor", metavar="REF…", help="By whom: Organization/x, Practitioner/y … One caller may have several.")
    ],
    purpose: Annotated[str, typer.Option("--purpose", metavar="CODE", help="HL7 v3 PurposeOfUse code, such as TREAT.")],
    at: Annotated[str | None, typer.Option("--at", metavar="TIME", help="FHIR date or dateTime; without it, now.")] = None,
    related: Annotated[
        Files | None, typer.Option("--related", metavar="FILE…", help="Groups, organisations and others that references point to.")
    ] = None,
    zone: Annotated[str, typer.Option("--zone", metavar="NAME", help="Whose days are meant where a period names no zone (IANA name).")] = "UTC",
    as_json: Annotated[bool, typer.Option("--json", help="A JSON array with one object for each resource.")] = False,
) -> None:
    """What these consents say about these resources: one line each, permit, deny or silent, with the provision that decided.

    A resource that carries no label in meta.security is labelled as at ingest. ``silent`` is no permit.
    """
    moment = times.read(at) if at is not None else times.Span(clock.epoch(clock.now()))
    if moment is None or moment.start is None:
        _fail("--at: 应为 FHIR 日期或时间 · must be a FHIR date or dateTime", WRONG_USE)
    if purpose not in PURPOSES:
        _fail("--purpose: 不是 PurposeOfUse 编码 · not a code of HL7 v3 PurposeOfUse", WRONG_USE)
    if not all(canonical(one) for one in actor):
        _fail("--actor: 应为引用，如 Organization/x · must be references such as Organization/x", WRONG_USE)
    try:
        where = ZoneInfo(zone)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        _fail("--zone: 应为 IANA 时区名，如 Asia/Shanghai · must be a name of a time zone, such as Asia/Shanghai", WRONG_USE)
    consents, resources, others = _read(consent), _read(resource), _read(related or [])
    if wrong := next((one for one in consents.resources if one["resourceType"] != "Consent"), None):
        _fail(f"--consent: {wrong['resourceType']} 不是 Consent · is not a Consent")
    everything = Related([*others.resources, *resources.resources], {**others.aliases, **resources.aliases}, at=moment.start)
    offline = Offline([days.placed(one, where) for one in consents.resources], Use(frozenset(actor), purpose, moment.start), everything, _labels)
    for older, newer in sorted(offline.replaced.items()):
        typer.echo(f"Consent/{older} 已被 Consent/{newer} 取代 · is replaced by it", err=True)
    verdicts = [(f"{one['resourceType']}/{one.get('id', '?')}", offline.verdict(one)) for one in resources.resources]
    if as_json:
        typer.echo(json.dumps([_entry(name, verdict, offline) for name, verdict in verdicts], ensure_ascii=False, indent=1))
        return
    for name, verdict in verdicts:
        typer.echo(f"{verdict.effect.value:<6}  {name}  {_why(verdict, offline)}")


def _entry(name: str, verdict: Verdict, offline: Offline) -> dict[str, Any]:
    return {
        "resource": name,
        "verdict": verdict.effect.value,
        "reason": verdict.reason.value,
        "consent": f"Consent/{verdict.consent}" if verdict.consent else None,
        "provision": verdict.provision or None,
        "not_understood": _not_understood(verdict, offline),
    }


def _not_understood(verdict: Verdict, offline: Offline) -> list[dict[str, str]]:
    if verdict.reason is not Reason.UNENFORCEABLE:
        return []
    reading = next(one for one in offline.readings if one.statement.consent == verdict.consent)
    return [{"path": one.path, "code": one.code, "message": one.sentence(settings().language)} for one in reading.refused]


def _why(verdict: Verdict, offline: Offline) -> str:
    match verdict.reason:
        case Reason.PROVISION:
            return f"Consent/{verdict.consent} {verdict.provision}"
        case Reason.UNLABELLED:
            return f"Consent/{verdict.consent} 资源无标签且无法标注 · no label, and none could be given"
        case Reason.UNENFORCEABLE:
            places = ", ".join(f"{one['path']} ({one['code']})" for one in _not_understood(verdict, offline))
            return f"Consent/{verdict.consent} 无法理解 · not understood: {places}"
        case Reason.NOTHING_SAID:
            return "没有同意涉及 · no consent speaks of it"


@app.command(cls=_SeveralValues)
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A FHIR Consent, R4 or R5.")],
    related: Annotated[Files | None, typer.Option("--related", metavar="FILE…", help="Groups and others that references point to.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
) -> None:
    """The enforceability report of a consent: each element, enforced or refused with the reason. Exit code 1 if any is refused."""
    found, others = _read([file]).resources, _read(related or [])
    if len(found) != 1:
        _fail(f"{file}: {len(found)} 个资源，应为一个 · resources, one is expected")
    everything = Related(others.resources, others.aliases, at=clock.epoch(clock.now()))
    report = examine(found[0], actor=lambda reference: everything.actor(reference, found[0].get("contained")), data=everything.data)
    language = settings().language
    if as_json:
        typer.echo(json.dumps(report.to_json(language), ensure_ascii=False, indent=1))
    else:
        typer.echo(str(report.detected))
        for path, sentence in report.structure:
            typer.echo(f"refused   {path}  {sentence}")
        for one in report.findings:
            typer.echo(f"{one.outcome.value:<8}  {one.path}  {SENTENCES[one.code][1]} · {one.sentence('en')}")
        typer.echo("可以执行 · can be enforced" if report.enforceable else "无法执行，将拒绝登记 · can't be enforced; filing it would be refused")
    raise typer.Exit(0 if report.enforceable else NO)
