"""Labels that a resource has because of what it consists of: a report is as sensitive as the results in it. Pure.

Only where the content is the same in other words: a report and its results, a panel and its members, a score and what it was derived
from. That a prescription names a sensitive diagnosis as its reason, or happens in the same encounter, hands nothing on: its own codes say
whether it gives the diagnosis away, and whoever labelled by acquaintance would hide ordinary care.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from broker.records.labelling import IN_TEXT, LEVELS, UNCLASSIFIED, Label

#: Type → the elements whose references it takes labels over from.
FROM: Mapping[str, tuple[str, ...]] = {
    "DiagnosticReport": ("result", "imagingStudy"),
    "Observation": ("hasMember", "derivedFrom"),
    "ClinicalImpression": ("problem", "supportingInfo"),
    "RiskAssessment": ("basis",),
}
#: Types from which labels are taken over.
SOURCES = frozenset({"Condition", "DiagnosticReport", "ImagingStudy", "Observation", "QuestionnaireResponse"})
#: Before the name of the rule that labelled the source.
INHERITED = "inherited:"

Reference = tuple[str, str]
Labels = Mapping[Reference, tuple[Label, ...]]


def sources_of(resource: Mapping[str, Any]) -> tuple[Reference, ...]:
    """(type, id) of the resources that this one takes labels over from."""
    found: dict[Reference, None] = {}
    for name in FROM.get(str(resource.get("resourceType")), ()):
        listed = resource.get(name)
        for one in listed if isinstance(listed, list) else ():
            reference = one.get("reference") if isinstance(one, dict) else None
            kind, _, rest = reference.partition("/") if isinstance(reference, str) else ("", "", "")
            if kind in SOURCES and rest:
                found[kind, rest.partition("/")[0]] = None
    return tuple(found)


def with_inherited(own: tuple[Label, ...], sources: Iterable[tuple[Label, ...]]) -> tuple[Label, ...]:
    """A resource's labels and the topics of its sources, at the strictest level of them all; ordered by code, each once.

    What a note alone speaks of, and what could not be judged, is not handed on.
    """
    found = {label.code: label for label in own}
    given = [label for labels in sources for label in labels]
    for label in given:
        if label.code in LEVELS or label.code == UNCLASSIFIED or label.code.startswith(IN_TEXT) or label.code in found:
            continue
        found[label.code] = label._replace(rule=label.rule if label.rule.startswith(INHERITED) else INHERITED + label.rule)
    if found.keys() == {label.code for label in own}:
        return own
    level = max((label for label in (*own, *given) if label.code in LEVELS), key=lambda one: LEVELS[one.code])
    for code in LEVELS:
        found.pop(code, None)
    found[level.code] = level
    return tuple(found[code] for code in sorted(found))


def settled(labels: Labels, sources: Mapping[Reference, tuple[Reference, ...]], elsewhere: Labels) -> dict[Reference, tuple[Label, ...]]:
    """Everybody's labels once nothing more is handed on. ``elsewhere``: those of sources that are not among them."""
    found = dict(labels)
    changed = True
    while changed:
        changed = False
        for reference, named in sources.items():
            after = with_inherited(found[reference], [found.get(one) or elsewhere.get(one, ()) for one in named])
            if after != found[reference]:
                found[reference], changed = after, True
    return found
