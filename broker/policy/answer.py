"""What an engine answered, read strictly: the shape, the echo of the question, the revision. Anything else is no answer.

On the wire a plan is compact, since the embedded engine pays for each node of its answer: elements are one string, windows of
time are named once, and a type as the profile has it is one text of JSON. Here it becomes the release plan of the interface (``fhir.plan``
reads it): lists sorted, a period at each type.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from broker.policy.decision import Decision, Effect, Reason

#: Epoch seconds of the years 1 to 9999; a whole number from nothing to what JSON holds exactly; a name.
_Moment = Annotated[int, msgspec.Meta(ge=-62_135_596_800, le=253_402_300_799)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=9_007_199_254_740_991)]
_Name = Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9-]*$")]


#: The obligation without which nothing leaves: to delete after use (HL7 v3 ActCode).
_DELETE = "DELAU"


class AnswerUnusable(Exception):
    """The engine's answer is not one that may be acted on."""


class _Wire(msgspec.Struct, forbid_unknown_fields=True):
    """A part of the answer; a field too many is as suspicious as one that is missing."""


class _Type(_Wire):
    elements: str
    categories: list[str]
    codes: list[str]
    window: Literal["undated", "standing", "recent", "latest"]
    transforms: list[dict[str, Any]]


class _Windows(_Wire):
    standing: _Moment | None
    recent: _Moment
    latest: _Moment
    end: _Moment | None


class _Labels(_Wire):
    deny: list[str]
    ceiling: Literal["U", "L", "M", "N", "R", "V"]


class _Limits(_Wire):
    retention_days: _Count
    releases: _Count | None


class _Plan(_Wire):
    profile: _Name
    types: dict[str, _Type | str]
    windows: _Windows
    labels: _Labels
    limits: _Limits
    #: What each resource needs of the patient's consents. Policies that were written before it said so let go what a consent permits.
    consent: Literal["required", "unless-refused", "overridden"] = "required"


class _Reason(_Wire):
    code: str
    message: str


class _Obligation(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    code: str
    days: int | None = None


class _Answer(_Wire):
    allow: bool
    reasons: list[_Reason]
    plan: _Plan | None
    obligations: list[_Obligation]
    necessity: dict[str, Any]
    input_hash_echo: str
    revision: str


def read(document: Any, *, input_hash: str, revision: str, engine: str, also: frozenset[str] = frozenset()) -> Decision:
    """The decision in an answer. Raises AnswerUnusable when it is not exactly what policies of this revision say about this input.

    ``also``: revisions that count as well, for the moments in which one takes the place of another.
    """
    try:
        answer = msgspec.convert(document, _Answer)
    except msgspec.ValidationError as error:
        raise AnswerUnusable(f"it has the wrong shape: {error}") from error
    if answer.input_hash_echo != input_hash:
        raise AnswerUnusable("it answers another input")
    if answer.revision != revision and answer.revision not in also:
        raise AnswerUnusable("it comes from policies of another revision")
    obligations: tuple[dict[str, Any], ...] = tuple(msgspec.to_builtins(answer.obligations))
    if not answer.allow:
        if answer.plan is not None or not answer.reasons:
            raise AnswerUnusable("a refusal must give reasons and no plan")
        reasons = tuple(Reason(reason.code, reason.message) for reason in answer.reasons)
        return Decision(Effect.DENY, reasons, None, (), input_hash, answer.revision, engine, answer.necessity)
    if answer.plan is None or not answer.plan.types or answer.reasons:
        raise AnswerUnusable("a permit must give a plan with types, and no reasons against it")
    deleted = [each.days for each in answer.obligations if each.code == _DELETE]
    if deleted != [answer.plan.limits.retention_days]:
        raise AnswerUnusable("a permit must say once after how many days the data are deleted, and that as its limit")
    return Decision(Effect.PERMIT, (), _plan(answer.plan, obligations), obligations, input_hash, answer.revision, engine, answer.necessity)


def _plan(plan: _Plan, obligations: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """The plan as the interface has it; the same plan whichever order an engine answered in."""
    return {
        "types": {name: _type(name, plan.types[name], plan.windows) for name in sorted(plan.types)},
        "labels": {"deny": sorted(set(plan.labels.deny)), "ceiling": plan.labels.ceiling},
        "consents": plan.consent,
        "obligations": list(obligations),
        "limits": {name: value for name, value in msgspec.to_builtins(plan.limits).items() if value is not None},
        "profile": plan.profile,
    }


def _type(name: str, given: _Type | str, windows: _Windows) -> dict[str, Any]:
    try:
        kept = msgspec.json.decode(given, type=_Type) if isinstance(given, str) else given
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise AnswerUnusable(f"the plan of {name} has no readable row") from error
    elements = sorted(set(kept.elements.split(" ")))
    if "" in elements or "id" not in elements:
        raise AnswerUnusable(f"the plan of {name} has no readable list of elements")
    start: int | None = None if kept.window == "undated" else getattr(windows, kept.window)
    return {
        "elements": elements,
        "codes": sorted(set(kept.codes)),
        "categories": sorted(set(kept.categories)),
        "period": {"start": start, "end": None if kept.window == "undated" else windows.end},
        "transforms": kept.transforms,
    }
