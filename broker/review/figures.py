"""The document of a quarter from what happened in it. Pure: the same inputs give the same document, in whatever order they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from broker.review.rules import Quarter, agrees, counted, median, ratio, suppressed

#: What the breakdowns count, column by column.
COLUMNS = ("applications", "approved", "refused", "releases", "resources")

#: Purposes of emergency access (HL7 v3 PurposeOfUse).
EMERGENCY_PURPOSES = frozenset({"ETREAT", "BTG"})

#: The state in which each step leaves an application.
_STATE = {
    "submit": "submitted",
    "endorse": "endorsed",
    "return": "returned",
    "refuse": "refused",
    "withdraw": "withdrawn",
    "approve": "approved",
    "narrow": "approved",
}
#: Steps that end an application's way.
FINAL = ("approve", "narrow", "refuse")


@dataclass(frozen=True)
class Step:
    """One decision on an application."""

    action: str
    at: datetime
    assessed: str | None
    code: str | None


@dataclass(frozen=True)
class Case:
    """An application with its steps up to the end of the quarter, in their order."""

    number: str
    department: str
    recipient: str
    purpose: str
    urgency: str
    data: tuple[str, ...]  #: data classes, and resource types as ``type:Observation``
    steps: tuple[Step, ...]

    @property
    def emergency(self) -> bool:
        """Whether it asked for emergency use."""
        return self.urgency == "emergency" or self.purpose in EMERGENCY_PURPOSES

    def submitted_at(self) -> datetime | None:
        """When it was first submitted."""
        return next((step.at for step in self.steps if step.action == "submit"), None)


@dataclass(frozen=True)
class Sent:
    """Releases of one application with one outcome: how many, and how many resources left or were held back."""

    number: str
    outcome: str
    releases: int
    items: int
    held_back: int


@dataclass(frozen=True)
class Report:
    """One feedback."""

    used: bool
    purpose_met: str | None
    examinations_avoided: int
    onward_disclosure: bool
    deletion_done: bool
    data_problems: tuple[str, ...]


@dataclass(frozen=True)
class Inputs:
    """Everything a review is made of. ``overdue``: grants whose feedback was overdue when the quarter ended."""

    cases: Sequence[Case]
    sent: Sequence[Sent]
    reports: Sequence[Report]
    overdue: int
    unexplained: int  #: releases begun in the quarter of which no outcome is known; they count as disclosed
    refused_releases: Mapping[str, int]  #: by reason code of policy
    names: Mapping[str, Mapping[str, str]]  #: of organisations, zh and en


def document(quarter: Quarter, inputs: Inputs) -> dict[str, Any]:
    """The review of a quarter (RS-7.1), ready to be written as JSON. Only the quarter's own dates are in it."""
    within = _within(quarter)
    new = [case for case in inputs.cases if within(case.submitted_at())]
    decided = [(case, step) for case in inputs.cases for step in case.steps if step.action in FINAL and within(step.at)]
    judged = [(case, step) for case in inputs.cases for step in case.steps if within(step.at) and agrees(step.assessed, step.action) is not None]
    agreed = sum(bool(agrees(step.assessed, step.action)) for _, step in judged)
    left = [sent for sent in inputs.sent if sent.outcome != "failed"]
    items, held_back = sum(sent.items for sent in left), sum(sent.held_back for sent in left)
    emergencies = {case.number for case in inputs.cases if case.emergency}
    return {
        "quarter": str(quarter),
        "since": quarter.since.date().isoformat(),
        "until": quarter.until.date().isoformat(),
        "applications": {
            "submitted": len(new),
            "by_state": counted(_STATE.get(case.steps[-1].action) for case in new),
            "decided": len(decided),
            "approved": sum(step.action != "refuse" for _, step in decided),
            "narrowed": sum(step.action == "narrow" for _, step in decided),
            "refused": sum(step.action == "refuse" for _, step in decided),
            "median_hours_to_decision": _hours(decided),
            "refused_by_reason": counted(step.code for _, step in decided if step.action == "refuse"),
            "returned_by_reason": counted(step.code for case in inputs.cases for step in case.steps if step.action == "return" and within(step.at)),
        },
        "assessment": {
            "compared": len(judged),
            "agreed": agreed,
            "agreement": ratio(agreed, len(judged)),
            "by_opinion": {
                opinion: counted(step.action for _, step in judged if step.assessed == opinion)
                for opinion in sorted({step.assessed for _, step in judged if step.assessed})
            },
        },
        "releases": {
            "by_outcome": _summed((sent.outcome, sent.releases) for sent in inputs.sent),
            "unexplained": inputs.unexplained,
            "resources_sent": items,
            "resources_held_back": held_back,
            "minimisation": ratio(items, items + held_back),
            "refused": sum(inputs.refused_releases.values()),
            "refused_by_reason": dict(sorted(inputs.refused_releases.items())),
        },
        "emergency": {
            "applications": sum(case.emergency for case in new),
            "releases": sum(sent.releases for sent in left if sent.number in emergencies),
        },
        "feedback": {
            "reports": len(inputs.reports),
            "used": sum(report.used for report in inputs.reports),
            "purpose_met": counted(report.purpose_met for report in inputs.reports),
            "examinations_avoided": sum(report.examinations_avoided for report in inputs.reports),
            "onward_disclosures": sum(report.onward_disclosure for report in inputs.reports),
            "deletions_done": sum(report.deletion_done for report in inputs.reports),
            "data_problems": counted(problem for report in inputs.reports for problem in report.data_problems),
            "overdue": inputs.overdue,
        },
        "breakdowns": {
            "department": _broken_down(inputs, new, decided, left, lambda case: (case.department,)),
            "recipient": _broken_down(inputs, new, decided, left, lambda case: (case.recipient,)),
            "purpose": _broken_down(inputs, new, decided, left, lambda case: (case.purpose,)),
            "data": _broken_down(inputs, new, decided, left, lambda case: case.data),
        },
    }


def _within(quarter: Quarter) -> Callable[[datetime | None], bool]:
    since, until = quarter.since, quarter.until
    return lambda at: at is not None and since <= at < until


def _hours(decided: Iterable[tuple[Case, Step]]) -> float | None:
    """Median time from the first submission to the decision, the applicant's own delays included, as they wait all the same."""
    waited = [(step.at - at).total_seconds() / 3600 for case, step in decided if (at := case.submitted_at()) is not None]
    middle = median(waited)
    return None if middle is None else round(middle, 2)


def _summed(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for name, value in pairs:
        sums[name] = sums.get(name, 0) + value
    return dict(sorted(sums.items()))


def _broken_down(
    inputs: Inputs,
    new: Sequence[Case],
    decided: Sequence[tuple[Case, Step]],
    left: Sequence[Sent],
    keys: Callable[[Case], Iterable[str]],
) -> list[dict[str, Any]]:
    """Rows by key with every column of COLUMNS, small numbers left out column by column."""
    by_number = {case.number: case for case in inputs.cases}
    sent = [(by_number[one.number], one) for one in left if one.number in by_number]
    columns = {
        "applications": _summed((key, 1) for case in new for key in keys(case)),
        "approved": _summed((key, 1) for case, step in decided if step.action != "refuse" for key in keys(case)),
        "refused": _summed((key, 1) for case, step in decided if step.action == "refuse" for key in keys(case)),
        "releases": _summed((key, one.releases) for case, one in sent for key in keys(case)),
        "resources": _summed((key, one.items) for case, one in sent for key in keys(case)),
    }
    rows = sorted({key for column in columns.values() for key in column})
    shown = {name: suppressed({key: column.get(key, 0) for key in rows}) for name, column in columns.items()}
    return [
        {"key": key, **({"name": dict(inputs.names[key])} if key in inputs.names else {}), **{name: shown[name][key] for name in COLUMNS}}
        for key in rows
    ]
