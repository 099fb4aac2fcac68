"""The compiled rules as IHE PCF writes them for whoever enforces a token: ``extensions.ihe_pcf.residual``. Pure.

An ordered list of ``forbid`` and ``permit`` (PCF ITI-71): what no rule names flows, and of the rules that match, the last one decides.
PCF knows labels, dates and named data. A rule that also asks for something else is written so that it can only withhold more: such a
permit is left out, such a denial stands without its further condition.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from broker.consent.codes import CONFIDENTIALITY, CONFIDENTIALITY_SYSTEM, SENSITIVITY
from broker.consent.residual import Applicable, Residual, Use, applicable
from broker.consent.times import Span
from broker.consent.values import Conditions, Effect, Meaning, Provision

FORBID_ALL: dict[str, Any] = {"type": "forbid"}
_MEANINGS = {Meaning.INSTANCE: "instance", Meaning.REFERS_TO: "related", Meaning.BELONGS_TO: "dependents", Meaning.AUTHORED_BY: "authoredby"}


def residual_of(residuals: Sequence[Residual], use: Use) -> list[dict[str, Any]]:
    """What is left to enforce for a use; ``[{"type": "forbid"}]`` where nothing may flow."""
    speaking = applicable(residuals, use)
    if not any(one.may_permit for one in speaking) or any(one.denies_all for one in speaking):
        return [FORBID_ALL]
    found: list[dict[str, Any]] = [] if any(_flows(one) for one in speaking) else [FORBID_ALL]
    if len(speaking) == 1:
        for provision in sorted(speaking[0].provisions, key=lambda one: (one.depth, one.effect is Effect.DENY)):
            found += _rule(provision)
        return _shortened(found)
    # A denial of one consent goes before the permits of every other, so that what is nested in a denial is not lifted here.
    every = [provision for one in speaking for provision in one.provisions]
    lifted = {id(provision) for one in speaking for provision in _within_denials(one.provisions)}
    found += [rule for one in every if one.effect is Effect.PERMIT and id(one) not in lifted for rule in _rule(one)]
    return _shortened(found + [rule for one in every if one.effect is Effect.DENY for rule in _rule(one)])


def _shortened(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without what a later rule without conditions overrules anyway."""
    last = max((place for place, rule in enumerate(rules) if rule.keys() == {"type"}), default=-1)
    return rules[last:] if last >= 0 and rules[last] == FORBID_ALL else rules[last + 1 :]


def _flows(consent: Applicable) -> bool:
    """Whether a consent lets everything flow that it does not deny."""
    return any(one.effect is Effect.PERMIT and not one.when.about_resources and one.depth <= 1 for one in consent.provisions)


def _within_denials(provisions: Iterable[Provision]) -> list[Provision]:
    denied: set[int] = set()
    found = []
    for one in provisions:
        if one.depth > 1 and one.parent in denied:
            found.append(one)
        if one.effect is Effect.DENY or (one.parent in denied and one.depth > 1):
            denied.add(one.number)
    return found


def _rule(provision: Provision) -> list[dict[str, Any]]:
    """One provision as a rule; none where a permit can't be said exactly, or flows without saying."""
    when = provision.when
    more = when.classes is not None or when.codes is not None
    if provision.effect is Effect.PERMIT and (more or (provision.depth == 0 and not when.about_resources)):
        return []
    rule: dict[str, Any] = {"type": "permit" if provision.effect is Effect.PERMIT else "forbid", **_conditions(when, provision.effect)}
    # A parent's conditions hold for what is nested in it below the first level; PCF nests no deeper, so that such permits are not said.
    return [] if provision.depth > 1 and provision.effect is Effect.PERMIT else [rule]


def _conditions(when: Conditions, effect: Effect) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if when.labels is not None:
        named = when.labels if effect is Effect.PERMIT else frozenset(code for one in when.labels for code in _covered(one))
        found["securityLabel"] = [
            {"system": CONFIDENTIALITY_SYSTEM if code in CONFIDENTIALITY else SENSITIVITY.system, "code": code} for code in sorted(named)
        ]
    if when.data_period is not None:
        found["dataPeriod"] = _period(when.data_period)
    if when.data is not None:
        found["data"] = [{"meaning": _MEANINGS[one.meaning], "reference": {"reference": one.reference}} for one in when.data]
    return found


def _covered(label: str) -> frozenset[str]:
    """Every label that a denial of this one covers, written out for whoever compares codes without knowing their order."""
    rank = CONFIDENTIALITY.get(label)
    return SENSITIVITY.narrower(label) if rank is None else frozenset(code for code, height in CONFIDENTIALITY.items() if height >= rank)


def _period(span: Span) -> dict[str, str]:
    ends = (("start", span.start), ("end", span.end))
    return {name: datetime.fromtimestamp(second, UTC).isoformat() for name, second in ends if second is not None}
