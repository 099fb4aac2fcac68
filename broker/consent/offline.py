"""What consents say about resources, both given as FHIR JSON: rule by rule, without a registry. Pure.

``broker consent evaluate`` asks this; the release path asks ``residual``. Both rest on ``rules``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from broker.consent import rules
from broker.consent.reading import Reading, read
from broker.consent.related import Related
from broker.consent.resources import facts_of, labels_of, patients_of
from broker.consent.values import Effect, Statement, Use, Verdict

Labeller = Callable[[Mapping[str, Any]], tuple[str, ...]]


def no_labels(_: Mapping[str, Any]) -> tuple[str, ...]:
    """Labels nothing: a resource that carries no label is withheld."""
    return ()


class Offline:
    """Consents, read once, and the question that is asked of them."""

    def __init__(self, consents: Iterable[Mapping[str, Any]], use: Use, related: Related, label: Labeller = no_labels) -> None:
        self.related = related
        self.use = Use(related.presented(use.actors), use.purpose, use.at)
        self.label = label
        self.readings: list[Reading] = []
        names: set[str] = set()
        for number, consent in enumerate(consents, 1):
            name = str(consent.get("id") or f"consent-{number}")
            name = f"{name}#{number}" if name in names else name
            names.add(name)
            actor = partial(related.actor, contained=consent.get("contained"))
            self.readings.append(read(consent, name=name, actor=actor, data=related.data))

    @property
    def replaced(self) -> dict[str, str]:
        """Consents that say nothing any more → the one that took their place."""
        return rules.replaced([one.statement for one in self.readings])

    def verdict(self, resource: Mapping[str, Any]) -> Verdict:
        """What the consents of the resource's patient say. One of several patients needs a permit of each of them."""
        facts = facts_of(resource, labels_of(resource) or self.label(resource), self.related)
        said = [rules.evaluate(self._of(patient), self.use, facts, self.related.referred) for patient in sorted(patients_of(resource, self.related))]
        if any(one.effect is Effect.SILENT for one in said):
            said = [one for one in said if one.effect is Effect.DENY]
        return rules.combine(said)

    def _of(self, patient: str) -> Sequence[Statement]:
        return [one.statement for one in self.readings if one.patient is not None and self.related.one(one.patient) == patient]
