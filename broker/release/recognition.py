"""Mutual recognition (检查检验结果互认, RS-2.2): is there a result, young enough and free to be shared, so that nobody examines again?

The question goes through the whole release path; what leaves is where the result is, not the result. "No" is one answer,
whether there is no result, an old one, or one that may not be shared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from broker import errors
from broker.crypto import digest
from broker.release import filters, query
from broker.release.answers import Item, Ready
from broker.release.query import Wanted

#: Types whose resources are results.
TYPES = ("DiagnosticReport", "Observation")

#: States in which a result counts: R4 ObservationStatus and DiagnosticReportStatus, without those that are not final or were taken back.
FINAL = frozenset({"final", "amended", "corrected", "appended"})

_CODE = re.compile(r"[^|\s,\x00-\x1f\x7f]{1,255}\|[^|,\s\x00-\x1f\x7f]{1,128}")


class UnknownExamination(errors.Invalid):
    """No rule says how long the result of this examination may be taken over."""

    code = "examination-unknown"
    zh = "该检查检验项目没有互认规则。"
    help_en = "Ask for an examination of policies/data/recognition.json, or have the information manager add it there."
    help_zh = "请查询 policies/data/recognition.json 中的项目，或请信息管理员在其中添加。"


@dataclass(frozen=True)
class Examination:
    """One examination, all of whose codes count as equal, and for how many days its result may be taken over."""

    id: str
    zh: str
    en: str
    codes: frozenset[str]  #: ``system|code``
    days: int


def examinations(rules: Mapping[str, Any]) -> tuple[Examination, ...]:
    """The rules of policies/data/recognition.json."""
    return tuple(Examination(name, one["name"]["zh"], one["name"]["en"], frozenset(one["codes"]), one["days"]) for name, one in rules.items())


@dataclass(frozen=True)
class Question:
    """Whether there is such a result of this patient at a moment."""

    examination: Examination
    patient: str
    at: datetime

    @property
    def wanted(self) -> Wanted:
        """What is collected to answer it."""
        codes = ",".join(sorted(self.examination.codes))
        return Wanted(patient=self.patient, types=TYPES, filters=(("code", codes),), everything=True, path="recognition")


def question(pairs: Sequence[tuple[str, str]], known: Iterable[Examination], at: datetime) -> Question:
    """``GET /api/v1/recognition?patient=…&code=system|code``. Raises Invalid naming the parameter, or UnknownExamination."""
    given: dict[str, str] = {}
    problems = []
    for name, value in pairs:
        if name not in ("patient", "code"):
            problems.append(errors.Problem("/", "unknown", "only patient and code are parameters of this question"))
        elif name in given:
            problems.append(errors.Problem(f"/{name}", "repeated", "must be given once"))
        given.setdefault(name, value)
    if not query.ID.fullmatch(given.get("patient", "")):
        problems.append(errors.Problem("/patient", "required", "must be the id of a patient"))
    if not _CODE.fullmatch(given.get("code", "")):
        problems.append(errors.Problem("/code", "required", "must be system|code, such as http://loinc.org|4548-4"))
    if problems:
        raise errors.Invalid(f"{len(problems)} parameter(s) are not valid.", problems=tuple(problems))
    for one in known:
        if given["code"] in one.codes:
            return Question(one, given["patient"], at)
    raise UnknownExamination(problems=(errors.Problem("/code", "unknown", "is not an examination with a rule for mutual recognition"),))


def newest(asked: Question, bodies: Iterable[bytes]) -> tuple[int, dict[str, Any], datetime] | None:
    """Place, resource and first possible moment of the newest result that counts, of reduced resources; None if there is none.

    A result counts if it is final, dated, not in the future, and no older than the rule allows. A period counts by its end.
    """
    found: list[tuple[datetime, int, dict[str, Any]]] = []
    for place, body in enumerate(bodies):
        resource = json.loads(body)
        done = filters.date_range(resource.get("effectiveDateTime") or (resource.get("effectivePeriod") or {}).get("end") or "")
        if done is None or done[0] != "eq" or resource.get("status") not in FINAL:
            continue
        if done[1] <= asked.at < done[2] + timedelta(days=asked.examination.days):
            found.append((done[1], place, resource))
    if not found:
        return None
    moment, place, resource = max(found, key=lambda one: (one[0], -one[1]))
    return place, resource, moment


def ready(asked: Question, release: UUID, resources: Sequence[tuple[str, str, bytes]], items: Sequence[Item], held_back: int) -> Ready:
    """The answer, and as its manifest the one result that it speaks of."""
    found = newest(asked, [body for _, _, body in resources])
    examination = asked.examination
    answer: dict[str, Any] = {
        "recognised": found is not None,
        "examination": {"id": examination.id, "zh": examination.zh, "en": examination.en, "days": examination.days},
    }
    left: tuple[Item, ...] = ()
    if found is not None:
        place, resource, moment = found
        kind, name, _ = resources[place]
        answer["result"] = {
            "reference": f"{kind}/{name}",
            "effective": moment.isoformat(),
            "status": resource["status"],
            "recognised_until": (moment + timedelta(days=examination.days)).isoformat(),
        }
        left = (items[place],)
    body = json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()
    return Ready(release, body, left, held_back, digest(body), media="application/json", answered="yes" if left else "no")
