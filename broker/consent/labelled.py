"""Whether a denial of sensitive data can find what it denies: which topics the records here are labelled with. Pure.

A consent may deny what no label here ever says. Where such data are found under another label, that label is denied too; where
they are found under none, the denial could not be enforced and is refused.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from broker.consent.codes import CONFIDENTIALITY, SENSITIVITY
from broker.consent.findings import Finding, Outcome
from broker.consent.values import Effect, Provision, Statement

_knowledge = json.loads((Path(__file__).parent / "codes" / "labelled.json").read_text(encoding="utf-8"))
#: Topics that records are labelled with by their content.
ASSIGNED: frozenset[str] = frozenset(_knowledge["assigned"])
#: Topics that are labelled as another one.
FOUND_UNDER: dict[str, str] = _knowledge["found_under"]


def fit(statement: Statement) -> tuple[Statement, tuple[Finding, ...]]:
    """The statement with its denials widened to the labels under which their topics are found, and what to add to the report."""
    findings: list[Finding] = []
    provisions = tuple(_fit(one, findings) for one in statement.provisions)
    refused = any(one.outcome is Outcome.REFUSED for one in findings)
    return replace(statement, provisions=provisions, unenforceable=statement.unenforceable or refused), tuple(findings)


def _fit(provision: Provision, findings: list[Finding]) -> Provision:
    named = provision.when.labels
    if provision.effect is not Effect.DENY or named is None:
        return provision
    path = f"{provision.path}.securityLabel"
    added: set[str] = set()
    for code in sorted(named - CONFIDENTIALITY.keys()):
        if SENSITIVITY.narrower(code) & ASSIGNED:
            continue
        if code in FOUND_UNDER:
            added.add(FOUND_UNDER[code])
            findings.append(Finding(path, Outcome.ENFORCED, "label-found-under"))
        else:
            findings.append(Finding(path, Outcome.REFUSED, "label-not-assigned"))
    return replace(provision, when=replace(provision.when, labels=named | added)) if added else provision
